"""Invented prices and history, for demonstrations and tests."""
