"""Parsed rows as columns, checked and turned into bars."""
