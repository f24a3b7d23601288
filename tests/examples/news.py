"""What the tests publish: prices that can be told apart, and alerts with all their fields."""

from decimal import Decimal

from app.market.pair import DEFAULT_PAIRS, CurrencyPair, TrackedPairs
from app.market.quote import Quote
from app.realtime.contract.event import Draft, price_update
from app.realtime.contract.publication import publication
from tests.building import MOMENT

_PAIRS = TrackedPairs(DEFAULT_PAIRS)


def quote(pair: str, number: int = 0, source: str = "replay") -> Quote:
    """A price of the pair: another number is another price."""
    bid = Decimal("1.10000") + Decimal(number) / 1000
    return Quote(CurrencyPair.parse(pair), bid, bid + Decimal("0.00020"), MOMENT, source)


def price(pair: str, number: int = 0, source: str = "replay") -> Draft:
    """The event of that price."""
    return price_update(quote(pair, number, source), MOMENT)


def mid(pair: str, number: int = 0) -> str:
    """Its mid, as it is published."""
    published = quote(pair, number)
    return str(published.pair.round_mid((published.pair.round(published.bid) + published.pair.round(published.ask)) / 2))


def volatility(pair: str, severity: str = "warning", message: str | None = None) -> Draft:
    """A volatility alert."""
    body = {"instrument": pair, "volatility": 0.0234, "threshold": 0.02, "severity": severity, "message": message}
    return publication("volatility_alert", body, _PAIRS)


def correlation(pair1: str, pair2: str, value: float = -0.82) -> Draft:
    """A correlation alert."""
    return publication("correlation_alert", {"pair1": pair1, "pair2": pair2, "correlation": value, "threshold": 0.7}, _PAIRS)


def data_ready(count: int = 20) -> Draft:
    """News for everyone."""
    return publication("data_ready", {"data_type": "prices", "count": count}, _PAIRS)
