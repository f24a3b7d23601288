"""Bars, measures, correlations and market sessions in the database."""
