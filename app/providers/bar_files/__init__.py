"""Files of historical bars and ticks."""
