"""Bars: their lengths, how they are built, and history."""
