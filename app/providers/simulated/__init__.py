"""Simulated prices and history, for demonstrations and tests."""

from app.market.source import SourceTraits

TRAITS = SourceTraits(name="simulated", simulated=True, invented=True, always_open=True)
"""What is known of the simulation as a source of prices."""
