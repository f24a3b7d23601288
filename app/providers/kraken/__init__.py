"""Kraken's WebSocket and REST APIs: prices and candles, without a key."""

from app.market.source import SourceTraits

TRAITS = SourceTraits(name="kraken", always_open=True, has_history=True)
"""What is known of Kraken as a source of prices: an exchange for crypto-assets, it trades around the clock."""
