"""The words of foreign exchange: pairs, quotes, calendars, measures. Standard library and numpy only."""
