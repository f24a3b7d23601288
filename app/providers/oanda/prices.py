"""Prices of OANDA's v20 API, and the order in which they may be passed on.

Source: the definition of ``ClientPrice`` and the endpoints for pricing in OANDA's v20 documentation, developer.oanda.com.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.market.check import MOST_AHEAD
from app.market.pair import CurrencyPair
from app.market.quote import Quote, QuoteKind
from app.providers.exact_json import read_objects
from app.providers.oanda import TRAITS
from app.providers.oanda.values import moment, read_price, read_time
from app.providers.passed_over import PassedOver


@dataclass(frozen=True, slots=True)
class OandaPrice:
    """A quote, and its time in nanoseconds since 1970, finer than that of the quote."""

    quote: Quote
    nanoseconds: int


def read_client_price(message: Mapping[str, object], pair: CurrencyPair) -> OandaPrice:
    """Return the price of this pair in a ``ClientPrice``. Raises ValueError if it cannot be read.

    The price is the best bid and ask. When either side of the book is empty, it is the prices at which positions would be closed
    out. Then, and when OANDA does not trade the pair, the quote is indicative.
    """
    nanoseconds = read_time(message.get("time"))
    bids, asks = read_objects(message.get("bids", [])), read_objects(message.get("asks", []))
    if bids and asks:
        bid, ask = read_price(bids[0].get("price")), read_price(asks[0].get("price"))
    else:
        bid, ask = read_price(message.get("closeoutBid")), read_price(message.get("closeoutAsk"))
    # ``status`` says the same, but OANDA plans to drop it. Both are optional; without them only the book counts.
    dealt = bool(bids and asks) and message.get("tradeable") is not False
    kind = QuoteKind.QUOTED if dealt else QuoteKind.INDICATIVE
    return OandaPrice(Quote(pair, bid, ask, moment(nanoseconds), TRAITS.name, kind), nanoseconds)


class PriceOrder:
    """Admits prices that are newer, to the nanosecond, than every earlier one of their pair.

    Each connection to the stream starts with the last price of every pair; only this tells what a reconnect repeats from what is
    new. The others are noted in ``passed_over``.
    """

    def __init__(self, passed_over: PassedOver) -> None:
        self._newest: dict[CurrencyPair, int] = {}
        self._passed_over = passed_over

    def admits(self, price: OandaPrice, now: datetime) -> bool:
        """Return True if the price may be passed on. ``now`` is the present time, aware."""
        reason = self._fault(price, now)
        if reason is not None:
            self._passed_over.note(reason)
            return False
        self._newest[price.quote.pair] = price.nanoseconds
        return True

    def _fault(self, price: OandaPrice, now: datetime) -> str | None:
        newest = self._newest.get(price.quote.pair)
        if newest is not None and price.nanoseconds <= newest:
            return "repeated" if price.nanoseconds == newest else "out of order"
        # A single one would block all that follow.
        return "from the future" if price.quote.time > now + MOST_AHEAD else None
