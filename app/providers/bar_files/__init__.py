"""Files of historical bars and ticks, in every supported layout."""
