"""Lists of history as files."""
