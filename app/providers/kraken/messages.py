"""Messages of Kraken's WebSocket API, version 2.

Source: the channels ``instrument``, ``ticker``, ``status`` and ``heartbeat`` in Kraken's documentation, docs.kraken.com. Prices
are JSON numbers there, and are read exactly as written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from app.market.clock import parse_time
from app.providers.exact_json import read_object, read_objects, read_price
from app.providers.passed_over import MALFORMED, PassedOver

_DELISTED = frozenset({"delisted", "work_in_progress"})
_DEALT = frozenset({"online", "limit_only"})


@dataclass(frozen=True, slots=True)
class Listing:
    """A pair known to Kraken, by its symbol: whether it is listed, and whether it can be traded now."""

    symbol: str
    listed: bool
    dealt: bool


@dataclass(frozen=True, slots=True)
class Listings:
    """Pairs known to Kraken: all of them in a snapshot, otherwise those that have changed."""

    listings: tuple[Listing, ...]
    snapshot: bool


@dataclass(frozen=True, slots=True)
class Ticker:
    """The best bid and ask of a symbol. The time is Kraken's, None if it gives none."""

    symbol: str
    bid: Decimal
    ask: Decimal
    time: datetime | None


@dataclass(frozen=True, slots=True)
class Tickers:
    """The best prices of one or more symbols."""

    tickers: tuple[Ticker, ...]


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Kraken's answer to a subscription.

    ``symbol`` is None for a channel without symbols; ``error`` is why the subscription failed, None if it did not.
    """

    symbol: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class ExchangeStatus:
    """Whether the exchange as a whole is trading."""

    dealing: bool


@dataclass(frozen=True, slots=True)
class SignOfLife:
    """A message that only shows that the connection is alive: a heartbeat, or a message of an unknown kind."""


Message: TypeAlias = Listings | Tickers | Subscribed | ExchangeStatus | SignOfLife


def read_message(text: str | bytes, passed_over: PassedOver) -> Message | None:
    """Return the message in a text, or None if it cannot be read.

    Notes in ``passed_over`` what it leaves out: unreadable messages and tickers, and messages of channels that were not
    subscribed to.
    """
    try:
        body = read_object(text)
        match body.get("channel"), body.get("method"):
            case "ticker", _:
                return _read_tickers(body, passed_over)
            case "instrument", _:
                return _read_listings(body)
            case "status", _:
                return ExchangeStatus(all(status.get("system") == "online" for status in read_objects(body.get("data"))))
            case _, "subscribe":
                return _read_answer(body)
            case ("heartbeat", _) | (_, "pong"):
                return SignOfLife()
    except ValueError:
        passed_over.note(MALFORMED)
        return None
    passed_over.note("unknown channel")
    return SignOfLife()


def _read_tickers(body: Mapping[str, object], passed_over: PassedOver) -> Tickers:
    tickers = []
    for row in read_objects(body.get("data")):
        try:
            tickers.append(_read_ticker(row))
        # A time at either end of the calendar overflows on conversion to UTC.
        except (ValueError, OverflowError):
            passed_over.note(MALFORMED)
    return Tickers(tuple(tickers))


def _read_ticker(row: Mapping[str, object]) -> Ticker:
    time = row.get("timestamp")
    return Ticker(
        _text(row.get("symbol")),
        read_price(row.get("bid")),
        read_price(row.get("ask")),
        None if time is None else parse_time(_text(time)),
    )


def _read_listings(body: Mapping[str, object]) -> Listings:
    data = body.get("data")
    if not isinstance(data, dict):
        raise ValueError("no listings")
    states = [(_text(row.get("symbol")), row.get("status")) for row in read_objects(data.get("pairs"))]
    listings = (Listing(symbol, state not in _DELISTED, state in _DEALT) for symbol, state in states)
    return Listings(tuple(listings), snapshot=body.get("type") == "snapshot")


def _read_answer(body: Mapping[str, object]) -> Subscribed:
    result = body.get("result")
    # A refusal has the symbol beside the result, a success in it.
    symbol = body.get("symbol") or (result.get("symbol") if isinstance(result, dict) else None)
    error = None if body.get("success") is True else str(body.get("error") or "no reason given")
    return Subscribed(symbol if isinstance(symbol, str) else None, error)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value
