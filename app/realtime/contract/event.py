"""Events of the log: how they are read, and how the gateway's own are written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson

from app.errors import InvalidCursor
from app.market.clock import parse_time, rfc3339, utc_now
from app.market.pair import CurrencyPair
from app.market.quote import Quote, QuoteKind
from app.realtime.contract.catalogue import EVENTS, EventKind, EventType
from app.realtime.contract.fields import LARGEST_COUNT, DataType
from app.realtime.contract.payloads import DECIMAL
from app.validation import as_plain_lines

ORIGIN = "0-0"
"""The cursor before the first event of a log."""

LARGEST_SEQUENCE = LARGEST_COUNT
"""The largest sequence number. The script that counts them up does so in doubles, which are exact up to here."""

LARGEST_PAYLOAD = 65_536
"""Bytes of the largest payload that is read from the log."""

_LONGEST_NAME = 100
"""Characters of the longest type and of the longest name of a source."""

_LATEST = 32_503_680_000_000
"""Milliseconds of the latest time that an id may stand for, the year 3000."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_CURSOR = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)
_U64 = 2**64
_I64 = 2**63

_TIME_PATTERN = r"[12]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z"
"""A pattern of times as the gateway writes them; whether there is such a time, ``fromisoformat`` tells faster."""

_TIME = re.compile(_TIME_PATTERN, re.ASCII)

# One match over all members joined takes a third of the time of a match for each.
_POSITIVE = rf"(?!0[.0]* ){DECIMAL}"
_PRICE = re.compile(
    rf"([A-Z]{{3}})_(?!\1)[A-Z]{{3}} {_POSITIVE} {_POSITIVE} {_POSITIVE} {_TIME_PATTERN} {_TIME_PATTERN}", re.ASCII
)
_PRICE_UPDATE = EventType.PRICE_UPDATE.value
_KINDS = frozenset(kind.value for kind in QuoteKind)
_KIND_OF: Mapping[str, EventKind] = {type.value: kind for type, kind in EVENTS.items()}


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to be written to the log: its type and its payload as JSON; of a price, also the name of its pair."""

    type: str
    data: bytes
    price_of: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """An entry of the log, decoded and encoded once for all clients.

    ``id`` is the entry's id and the cursor a client resumes from, ``order`` the same as numbers. ``seq`` is the contiguous
    sequence number; 0 marks an event that no client may resume from. ``pairs`` are the pairs it concerns; without any, it
    concerns every client. ``payload`` is the JSON that was published with ``id`` put in as its first member, and ``body`` what
    was published, decoded; it is not to be changed.
    """

    id: str
    order: tuple[int, int]
    seq: int
    type: str
    pairs: tuple[str, ...]
    payload: bytes
    body: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_entry(cls, id: str, seq: int, type: str, data: bytes) -> "Event":
        """Read an entry of the log. Raises ValueError, KeyError or TypeError for one that no publisher of ours writes.

        What passes here is sent to clients as it is, and read by other processes without another check: ``data`` has to be
        one JSON object on one line and, for a type of the table of events, to match the type's model. Members that the model
        does not declare are let through, so that a newer gateway may add some.
        """
        if not 0 < seq <= LARGEST_SEQUENCE or not type.isidentifier() or len(type) > _LONGEST_NAME:
            raise ValueError("not an event")
        if not data.startswith(b"{") or b"\n" in data or b"\r" in data or len(data) > LARGEST_PAYLOAD:
            raise ValueError("not JSON on one line")
        body = orjson.loads(data)
        if not body or "id" in body:
            raise ValueError("not the payload of an event")
        payload = b'{"id":"' + id.encode() + b'",' + data[1:]
        if type == _PRICE_UPDATE:
            _check_price(body)
            pairs: tuple[str, ...] = (body["instrument"],)
        else:
            kind = _KIND_OF.get(type)
            pairs = () if kind is None else _check(kind, id, body)
        written, _, number = id.partition("-")
        order = (int(written), int(number))
        if order[0] >= _LATEST or order[1] >= _I64:
            raise ValueError("not an id of this era")
        return cls(id, order, seq, type, pairs, payload, body)

    def without_cursor(self) -> "Event":
        """Return the event for a client that has seen newer ones: its payload has no ``id`` to resume from."""
        return replace(self, seq=0, payload=self.bare)

    @property
    def bare(self) -> bytes:
        """The payload as published, without ``id``. It is cut out of ``payload``, as thousands of events are kept."""
        return b"{" + self.payload[len(self.id) + len(b'{"id":"",') :] if self.is_cursor else self.payload

    @property
    def is_cursor(self) -> bool:
        """True where a client may resume from this event."""
        return self.seq > 0

    @property
    def time(self) -> datetime:
        """When it was written, by the log's clock."""
        return _EPOCH + self.order[0] * _MILLISECOND

    @property
    def is_price(self) -> bool:
        """True where a newer event of the same pair supersedes this one."""
        return self.type == _PRICE_UPDATE


def cursor_order(cursor: object) -> tuple[int, int]:
    """Return a cursor as numbers, which sort in the order of the log. Raises InvalidCursor."""
    match = _CURSOR.fullmatch(cursor) if isinstance(cursor, str) else None
    if match is None or (order := (int(match[1]), int(match[2]))) >= (_U64, 0) or order[1] >= _U64:
        raise InvalidCursor("Invalid cursor: the id of an event is needed, like 1764000000000-0")
    return order


def canonical_cursor(cursor: object) -> str:
    """Return a cursor in the spelling that the log uses. Raises InvalidCursor."""
    return "{}-{}".format(*cursor_order(cursor))


def resumed_cursor(since: str | None, *last_event_ids: str | None) -> str | None:
    """Return the cursor that a client resumes from, which it may send under several names; None without any.

    A client only moves forward, so the newest of several is where it stands. Browsers and their substitutes send an empty
    ``last_event_id`` before their first event; an empty ``since`` is no cursor. Raises InvalidCursor, at the latest when the
    cursor is looked up.
    """
    given = [*([] if since is None else [since]), *filter(None, last_event_ids)]
    return max(map(canonical_cursor, given), key=cursor_order) if len(given) > 1 else next(iter(given), None)


def milliseconds(time: datetime) -> int:
    """Return an aware time as ids of events have it."""
    return (time - _EPOCH) // _MILLISECOND


def cursor_at(time: datetime) -> str:
    """Return a cursor before all events that were written after an aware time."""
    return f"{max(milliseconds(time), 0)}-0"


def price_update(quote: Quote, timestamp: datetime) -> Draft:
    """Return the event of a quote that the gateway received at ``timestamp``; ``kind`` is left out of an ordinary one.

    Bid and ask are rounded to the precision of their pair. The mid is exactly between them.
    """
    pair = quote.pair
    bid, ask = pair.round(quote.bid), pair.round(quote.ask)
    kind = {} if quote.kind is QuoteKind.QUOTED else {"kind": quote.kind}
    return draft(
        EventType.PRICE_UPDATE,
        {
            "instrument": pair.name,
            "price": {
                "bid": str(bid),
                "ask": str(ask),
                "mid": str(pair.round_mid((bid + ask) / 2)),
                "time": rfc3339(quote.time),
            },
            "source": quote.source,
            **kind,
            "timestamp": rfc3339(timestamp),
        },
    )


def quote_of(event: Event) -> Quote:
    """Return the quote of a price event."""
    body, price = event.body, event.body["price"]
    return Quote(
        CurrencyPair.parse(body["instrument"]),
        Decimal(price["bid"]),
        Decimal(price["ask"]),
        parse_time(price["time"]),
        body["source"],
        QuoteKind(body.get("kind", QuoteKind.QUOTED)),
    )


def source_changed(source: str, previous: str | None, simulated: bool, reason: str, timestamp: datetime) -> Draft:
    """Return the event that prices come from another source from here on."""
    return draft(
        EventType.SOURCE_CHANGED,
        {
            "source": source,
            "previous": previous,
            "simulated": simulated,
            "reason": as_plain_lines(reason),
            "timestamp": rfc3339(timestamp),
        },
    )


def feed_status(source: str, silent: bool, timestamp: datetime) -> Draft:
    """Return the event that the source of prices has fallen silent, or quotes again."""
    status, message = ("silent", f"{source} is silent") if silent else ("live", f"{source} quotes again")
    return draft(
        EventType.FEED_STATUS,
        {"source": source, "status": status, "message": message, "timestamp": rfc3339(timestamp)},
    )


def data_ready(data_type: DataType, count: int, timestamp: datetime, message: str | None = None) -> Draft:
    """Return the event that ``count`` new records can be fetched."""
    return draft(
        EventType.DATA_READY,
        {
            "data_type": data_type,
            "count": count,
            "message": message or f"{data_type} data updated ({count} records)",
            "timestamp": rfc3339(timestamp),
        },
    )


def gap(after: str, before: str, missed: int | None) -> Event:
    """Return the notice that events between two cursors are lost to the reader; ``missed`` counts them where that is known.

    It is made by the reader, not held by the log, so it carries no ``id``: a client that is cut off here resumes from the
    last event it had, and gets the notice again.
    """
    body = {
        "after": after,
        "before": before,
        "missed": missed,
        "message": "Events were lost between these cursors" if missed is None else f"{missed} events were lost",
        "timestamp": rfc3339(utc_now()),
    }
    data = orjson.dumps(body)
    return Event(before, cursor_order(before), 0, EventType.GAP, (), data, body)


def draft(type: EventType, body: Mapping[str, Any]) -> Draft:
    """Return the event of a payload without its id."""
    return Draft(type.value, orjson.dumps(body), body["instrument"] if type == EventType.PRICE_UPDATE else None)


def _check_price(body: Mapping[str, Any]) -> None:
    """Check a price against its model, cheaply. Raises ValueError, KeyError or TypeError.

    Prices are nearly all of the log, and validating one with pydantic takes longer than all the rest of reading it.
    """
    price, source = body["price"], body["source"]
    time, timestamp = price["time"], body["timestamp"]
    if not _PRICE.fullmatch(" ".join((body["instrument"], price["bid"], price["ask"], price["mid"], time, timestamp))):
        raise ValueError("not a price")
    # The pattern lets 30 February through.
    datetime.fromisoformat(time)
    datetime.fromisoformat(timestamp)
    if not isinstance(source, str) or not 0 < len(source) <= _LONGEST_NAME or not source.isprintable():
        raise ValueError("not a price")
    if "kind" in body and body["kind"] not in _KINDS:
        raise ValueError("not a price")


def _check(kind: EventKind, id: str, body: Mapping[str, Any]) -> tuple[str, ...]:
    """Check the payload of an event other than a price; return its pairs. Raises ValueError, KeyError or TypeError."""
    if kind.model is not None:
        kind.model.model_validate({"id": id, **body}, extra="ignore")
    if not _TIME.fullmatch(body["timestamp"]):
        raise ValueError("not a time")
    datetime.fromisoformat(body["timestamp"])
    return tuple(body[member] for member in kind.pairs)
