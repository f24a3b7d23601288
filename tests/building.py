"""Small events for tests: number 7 has the id ``1764000000007-0`` and the sequence number 7."""

from datetime import UTC, datetime
from decimal import Decimal

from app.market.alert import Alert, Severity
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.realtime.contract.alert import draft_of
from app.realtime.contract.event import Draft, Event, data_ready, gap, price_update

MOMENT = datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=UTC)

_FIRST = 1_764_000_000_000


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def cursor(number: int) -> str:
    """The id of an event by its number; ``cursor(0)`` belongs to no event and stands before all of them."""
    return f"{_FIRST + number}-0"


def quote(pair: str = "EUR_USD", bid: str = "1.09450", ask: str = "1.09470", source: str = "replay") -> Quote:
    """A quote at ``MOMENT``."""
    return Quote(CurrencyPair.parse(pair), Decimal(bid), Decimal(ask), MOMENT, source)


def price_draft(pair: str = "EUR_USD", bid: str = "1.09450", ask: str = "1.09470") -> Draft:
    """A price on its way to the log."""
    return price_update(quote(pair, bid, ask), MOMENT)


def alert_draft(pair: str = "EUR_USD") -> Draft:
    """A volatility alert on its way to the log."""
    return draft_of(Alert("volatility_alert", (pair,), 0.03, 0.02, Severity.WARNING, "moves much", MOMENT))


def correlation_draft(pair1: str = "EUR_USD", pair2: str = "GBP_USD") -> Draft:
    """A correlation alert on its way to the log."""
    return draft_of(Alert("correlation_alert", (pair1, pair2), -0.8, 0.7, Severity.INFO, "moved apart", MOMENT))


def ready_draft(count: int = 1) -> Draft:
    """A ``data_ready`` event on its way to the log."""
    return data_ready("prices", count, MOMENT)


def event(number: int, of: Draft) -> Event:
    """A draft as the log returns it."""
    return Event.from_entry(cursor(number), number, of.type, of.data)


def price_event(number: int, pair: str = "EUR_USD", bid: str = "1.09450") -> Event:
    """A price of a pair."""
    return event(number, price_draft(pair, bid, str(Decimal(bid) + Decimal("0.00020"))))


def alert_event(number: int, pair: str = "EUR_USD") -> Event:
    """A volatility alert of a pair."""
    return event(number, alert_draft(pair))


def correlation_event(number: int, pair1: str = "EUR_USD", pair2: str = "GBP_USD") -> Event:
    """A correlation alert of two pairs."""
    return event(number, correlation_draft(pair1, pair2))


def ready_event(number: int) -> Event:
    """A ``data_ready`` event, which goes to every client."""
    return event(number, ready_draft(number))


def gap_event(before: int, missed: int | None = 3) -> Event:
    """The gap that stands before event number ``before``."""
    return gap(cursor(before - 4), cursor(before), missed)


def numbers(events: list[Event]) -> list[int]:
    """The numbers of these events."""
    return [event.order[0] - _FIRST for event in events]
