"""What a quote must be before the gateway passes it on."""

from collections import Counter
from datetime import datetime

from app.market.clock import utc_now
from app.market.pair import CurrencyPair, TrackedPairs
from app.market.quote import Quote


class QuoteCheck:
    """Judges quotes one after the other; ``dropped`` counts those that failed, by the reason in words."""

    def __init__(self, pairs: TrackedPairs) -> None:
        self._pairs = pairs
        self._newest: dict[CurrencyPair, datetime] = {}
        self.dropped: Counter[str] = Counter()

    def passes(self, quote: Quote) -> bool:
        """True for a quote of a tracked pair, with sound prices, no older than the last of its pair that passed."""
        reason = self._fault(quote)
        if reason is not None:
            self.dropped[reason] += 1
            return False
        # A clock that is ahead once must not shut out every quote that comes after with the right time.
        self._newest[quote.pair] = min(quote.time, utc_now())
        return True

    def _fault(self, quote: Quote) -> str | None:
        if quote.pair.name not in self._pairs:
            return "untracked pair"
        # Comparing a NaN raises, so this comes before the comparisons.
        if not (quote.bid.is_finite() and quote.ask.is_finite()) or quote.bid <= 0 or quote.ask <= 0:
            return "no positive price"
        if quote.bid > quote.ask:
            return "crossed"
        newest = self._newest.get(quote.pair)
        if newest is not None and quote.time < newest:
            return "out of order"
        return None
