"""Columnar bars, for long histories."""
