"""Events: what the log holds and every client sees, with their payloads."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import orjson

from app.errors import InvalidCursor
from app.market.clock import rfc3339, utc_now
from app.market.quote import Quote, QuoteKind

_CURSOR = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)
_U64 = 2**64

ORIGIN = "0-0"
"""The cursor before the first event of a log."""


class EventType(StrEnum):
    """The types of event in the log. Clients see all but the heartbeat."""

    PRICE_UPDATE = "price_update"
    VOLATILITY_ALERT = "volatility_alert"
    CORRELATION_ALERT = "correlation_alert"
    PRICE_ALERT = "price_alert"
    DATA_READY = "data_ready"
    SOURCE_CHANGED = "source_changed"
    FEED_STATUS = "feed_status"
    GAP = "gap"
    HEARTBEAT = "heartbeat"


ALERTS = frozenset({EventType.VOLATILITY_ALERT, EventType.CORRELATION_ALERT, EventType.PRICE_ALERT})
"""The types that somebody should look at."""

ALERT_FIGURES = MappingProxyType(
    {
        EventType.VOLATILITY_ALERT: ("volatility", "threshold"),
        EventType.CORRELATION_ALERT: ("correlation", "threshold"),
        EventType.PRICE_ALERT: ("price", "level"),
    }
)
"""The members of an alert's payload that say which figure has gone beyond which threshold."""

VISIBLE = frozenset(type.value for type in EventType if type != EventType.HEARTBEAT)
"""The types that clients see. An entry of any other type is passed over: this gateway does not know what it means."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event on its way to the log: its type, its payload as JSON, and the pair it is the price of, if it is one."""

    type: str
    data: bytes
    price_of: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """An entry of the log, encoded once for everyone.

    ``id`` is the entry's id and the cursor a client resumes from, ``order`` the same as numbers. ``seq`` is the contiguous
    sequence number; 0 marks what no client may resume from. ``bare`` is the payload as published and ``payload`` the same
    with ``id`` as its first member. ``pairs`` are the pairs it concerns; none means that it concerns everyone.
    """

    id: str
    order: tuple[int, int]
    seq: int
    type: str
    pairs: tuple[str, ...]
    bare: bytes
    payload: bytes

    @classmethod
    def from_entry(cls, id: str, seq: int, type: str, data: bytes) -> "Event":
        """The event of a log entry. Raises ValueError, KeyError or TypeError for what no publisher of ours writes.

        A payload that got past this would reach every client as it is: ``data`` has to be one JSON object on one line.
        """
        body = orjson.loads(data)
        if seq < 1 or not type.isidentifier() or not isinstance(body, dict) or not body:
            raise ValueError("not an event")
        if not data.startswith(b"{") or b"\n" in data or b"\r" in data:
            raise ValueError("not JSON on one line")
        payload = b'{"id":"' + id.encode() + b'",' + data[1:]
        return cls(id, cursor_order(id), seq, type, _pairs_of(type, body), data, payload)

    def without_cursor(self) -> "Event":
        """The same news for a client that has seen newer: its payload has no ``id``, so nobody resumes from it."""
        return replace(self, seq=0, payload=self.bare)

    @property
    def is_cursor(self) -> bool:
        """True where a client may resume from this event."""
        return self.seq > 0

    @property
    def is_price(self) -> bool:
        """True where a newer event of the same pair makes this one worthless."""
        return self.type == EventType.PRICE_UPDATE


def cursor_order(cursor: object) -> tuple[int, int]:
    """A cursor as numbers that sort as the log does. Raises InvalidCursor."""
    match = _CURSOR.fullmatch(cursor) if isinstance(cursor, str) else None
    if match is None or (order := (int(match[1]), int(match[2]))) >= (_U64, 0) or order[1] >= _U64:
        raise InvalidCursor("Invalid cursor: the id of an event is needed, like 1764000000000-0")
    return order


def canonical_cursor(cursor: object) -> str:
    """A cursor in the one spelling the log uses. Raises InvalidCursor."""
    return "{}-{}".format(*cursor_order(cursor))


def price_update(quote: Quote, timestamp: datetime) -> Draft:
    """The event of a quote, received by the gateway at ``timestamp``; ``kind`` is left out of one like any other."""
    pair = quote.pair
    kind = {} if quote.kind is QuoteKind.QUOTED else {"kind": quote.kind}
    return _draft(
        EventType.PRICE_UPDATE,
        {
            "instrument": pair.name,
            "price": {
                "bid": str(pair.round(quote.bid)),
                "ask": str(pair.round(quote.ask)),
                "mid": str(pair.round(quote.mid)),
                "time": rfc3339(quote.time),
            },
            "source": quote.source,
            **kind,
            "timestamp": rfc3339(timestamp),
        },
        price_of=pair.name,
    )


def heartbeat(node: str, role: str, **facts: object) -> Draft:
    """A sign of life of a process, written to the log by it."""
    return _draft(EventType.HEARTBEAT, {"node": node, "role": role, **facts, "timestamp": rfc3339(utc_now())})


def source_changed(source: str, previous: str | None, simulated: bool, reason: str, timestamp: datetime) -> Draft:
    """The news that prices come from another source from here on."""
    return _draft(
        EventType.SOURCE_CHANGED,
        {
            "source": source,
            "previous": previous,
            "simulated": simulated,
            "reason": reason,
            "timestamp": rfc3339(timestamp),
        },
    )


def feed_status(source: str, silent: bool, timestamp: datetime) -> Draft:
    """The news that nothing comes from the source of prices any more, or that something does again."""
    status, message = ("silent", f"{source} is silent") if silent else ("live", f"{source} quotes again")
    return _draft(
        EventType.FEED_STATUS,
        {"source": source, "status": status, "message": message, "timestamp": rfc3339(timestamp)},
    )


def gap(after: str, before: str, missed: int | None) -> Event:
    """The notice that events between two cursors are lost to the reader; ``missed`` counts them where that is known.

    It is made by the reader, not held by the log, so it carries no ``id``: a client that is cut off here resumes from
    the last event it had, and is told again.
    """
    data = orjson.dumps(
        {
            "after": after,
            "before": before,
            "missed": missed,
            "message": "Events were lost between these cursors" if missed is None else f"{missed} events were lost",
            "timestamp": rfc3339(utc_now()),
        }
    )
    return Event(before, cursor_order(before), 0, EventType.GAP, (), data, data)


def draft(type: EventType, body: Mapping[str, Any]) -> Draft:
    """The event of a payload that has been checked against its model."""
    return _draft(type, body, price_of=body["instrument"] if type == EventType.PRICE_UPDATE else None)


def _draft(type: EventType, body: Mapping[str, Any], price_of: str | None = None) -> Draft:
    return Draft(type.value, orjson.dumps(body), price_of)


_PAIR_MEMBERS: dict[str, tuple[str, ...]] = {
    EventType.PRICE_UPDATE: ("instrument",),
    EventType.VOLATILITY_ALERT: ("instrument",),
    EventType.CORRELATION_ALERT: ("pair1", "pair2"),
    EventType.PRICE_ALERT: ("instrument",),
}


def _pairs_of(type: str, body: dict[str, Any]) -> tuple[str, ...]:
    pairs = tuple([body[member] for member in _PAIR_MEMBERS.get(type, ())])
    "".join(pairs)  # raises TypeError where a name is no text
    return pairs
