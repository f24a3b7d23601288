"""Recorded quotes, played back."""

from app.market.source import SourceTraits

TRAITS = SourceTraits(name="replay", invented=True, always_open=True)
"""What is known of a replay as a source of prices: real once, but of another day than the one they are dated."""
