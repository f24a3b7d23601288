"""Volatility, correlation and other measures of bars."""
