"""Rows that were read, checked and made into bars, a column at a time."""
