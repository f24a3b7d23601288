"""The order in which Kraken's quotes may be passed on."""

from datetime import datetime
from enum import StrEnum

from app.market.check import MOST_AHEAD
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.providers.passed_over import PassedOver


class Verdict(StrEnum):
    """What a quote is, compared with earlier ones of its pair."""

    NEW = "new"
    REPEATED = "repeated"
    """Equal to the one before, at the same time: a new connection starts with what may be known from the last one."""
    CROSSED = "crossed"
    OUT_OF_ORDER = "out of order"
    FROM_THE_FUTURE = "from the future"


class QuoteOrder:
    """Tells new quotes from those that must not be passed on; notes the latter in ``passed_over``."""

    def __init__(self, passed_over: PassedOver) -> None:
        self._newest: dict[CurrencyPair, Quote] = {}
        self._passed_over = passed_over

    def judge(self, quote: Quote, now: datetime) -> Verdict:
        """Judge the next quote in the order they come. ``now`` is the present time, aware."""
        verdict = self._verdict(quote, now)
        if verdict is Verdict.NEW:
            self._newest[quote.pair] = quote
        else:
            self._passed_over.note(verdict.value)
        return verdict

    def _verdict(self, quote: Quote, now: datetime) -> Verdict:
        if quote.bid > quote.ask:
            return Verdict.CROSSED
        # A single one would block all that follow.
        if quote.time > now + MOST_AHEAD:
            return Verdict.FROM_THE_FUTURE
        newest = self._newest.get(quote.pair)
        if newest is None or quote.time > newest.time:
            return Verdict.NEW
        if quote.time < newest.time:
            return Verdict.OUT_OF_ORDER
        same = (quote.bid, quote.ask, quote.kind) == (newest.bid, newest.ask, newest.kind)
        return Verdict.REPEATED if same else Verdict.NEW
