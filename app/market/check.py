"""Admission of quotes: what a quote must satisfy before the gateway passes it on."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

from app.market.clock import utc_now
from app.market.pair import CurrencyPair, TrackedPairs
from app.market.quote import Quote

MOST_AHEAD = timedelta(seconds=60)
"""How far the clock of a source may be ahead of ours."""


class QuoteCheck:
    """Admits quotes in the order they come. ``dropped`` counts the rejected ones by reason."""

    def __init__(self, pairs: TrackedPairs) -> None:
        self._pairs = pairs
        self._newest: dict[CurrencyPair, datetime] = {}
        self.dropped: Counter[str] = Counter()

    def admit(self, quote: Quote) -> Quote | None:
        """Return the quote if it is of a tracked pair, with valid prices, and no older than the last one of its pair; else None.

        A quote whose time is slightly ahead gets the present time instead: nothing is quoted in the future, and the times of a
        pair never go back.
        """
        now = utc_now()
        reason = self._fault(quote, now)
        if reason is not None:
            self.dropped[reason] += 1
            return None
        if quote.time > now:
            quote = replace(quote, time=now)
        self._newest[quote.pair] = quote.time
        return quote

    def _fault(self, quote: Quote, now: datetime) -> str | None:
        if quote.pair.name not in self._pairs:
            return "untracked pair"
        # Comparing a NaN raises, so this comes before the comparisons.
        if not (quote.bid.is_finite() and quote.ask.is_finite()) or quote.bid <= 0 or quote.ask <= 0:
            return "no positive price"
        if quote.bid > quote.ask:
            return "crossed"
        if quote.time > now + MOST_AHEAD:
            return "from the future"
        newest = self._newest.get(quote.pair)
        if newest is not None and quote.time < newest:
            return "out of order"
        return None
