"""Kraken's WebSocket and REST APIs: prices and candles, without a key."""
