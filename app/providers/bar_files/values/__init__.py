"""Parsing of prices, volumes and times, single or in columns."""
