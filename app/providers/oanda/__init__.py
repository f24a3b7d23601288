"""OANDA's v20 API: streamed prices and candles."""

from datetime import timedelta

from app.market.source import SourceTraits

TRAITS = SourceTraits(
    name="oanda",
    has_history=True,
    # OANDA quotes from 17:03 to 16:58 in New York.
    pause_before_turn=timedelta(minutes=2),
    pause_after_turn=timedelta(minutes=3),
)
"""What is known of OANDA as a source of prices."""
