"""Recorded quotes, played back."""
