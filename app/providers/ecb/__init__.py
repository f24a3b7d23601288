"""The European Central Bank: one reference rate a day."""

from app.market.source import SourceTraits

TRAITS = SourceTraits(name="ecb", daily=True, has_history=True)
"""What is known of the European Central Bank as a source of prices."""
