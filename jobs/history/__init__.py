"""Bars of the past: from files, from shorter bars, or invented for a demonstration."""
