"""Files of historical bars and ticks, in every layout that is understood."""
