"""What one client has received."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from app.realtime.contract.event import cursor_order


class Key(NamedTuple):
    """Names a price for good, with its cursor or without: its pair, and its time in milliseconds since 1970."""

    pair: str
    time: int


class Unrecovered(NamedTuple):
    """What a client was told that it has missed: all events after one cursor, up to another."""

    after: str
    up_to: str


@dataclass
class Record:
    """What one client has received, over all its connections."""

    arrivals: list[tuple[Key, float]] = field(default_factory=list)
    """When each price arrived, in order, in seconds since 1970."""
    prices: set[Key] = field(default_factory=set)
    alerts: Counter[int] = field(default_factory=Counter)
    """How often each numbered alert came."""
    cuts: list[str] = field(default_factory=list)
    """Why each connection ended."""
    unrecovered: list[Unrecovered] = field(default_factory=list)
    conflated: int = 0
    """The prices that the client was told were merged into newer ones."""
    repeats: int = 0
    """Events with an id that came before, or that is older than one that came before."""
    began: int | None = None
    """When the gateway opened the first connection, in milliseconds since 1970; before that, nothing counts."""
    bytes: int = 0
    """Of payloads."""
    _last_id: str | None = None
    _opened_at: str | None = None

    @property
    def since(self) -> str | None:
        """The cursor to resume from: the newest id there was, or where the first connection began."""
        return self._last_id or self._opened_at

    def opened(self, body: Mapping[str, Any]) -> None:
        """Take in ``subscription_confirmed`` or ``stream_opened``."""
        if self.began is None:
            self.began = milliseconds(datetime.fromisoformat(body["timestamp"]))
        if body["recovered"] is False and self.since is not None:
            self.unrecovered.append(Unrecovered(self.since, body["cursor"]))
        self._opened_at = self._opened_at or body["cursor"]

    def take(self, type: str, body: Any, *, id: str | None = None, at: float | None = None) -> None:
        """Take in an event that arrived now, or then; ``id`` is that of the transport."""
        arrived = time.time() if at is None else at
        if type == "price_update":
            key, id = _price(body, id)
            self.prices.add(key)
            self.arrivals.append((key, arrived))
        elif type == "volatility_alert":
            self.alerts[int(body["message"].split()[-1])] += 1
        elif type == "conflated":
            self.conflated += body["count"]
            return
        if type != "heartbeat" and isinstance(body, dict):
            id = body.get("id", id)
        if id is not None:
            self._take_id(id, is_event=type != "heartbeat")

    def cut(self, reason: str) -> None:
        """Note that a connection has ended, which the client had not asked for."""
        self.cuts.append(reason)

    def _take_id(self, id: str, *, is_event: bool) -> None:
        if self._last_id is None or cursor_order(id) > cursor_order(self._last_id):
            self._last_id = id
        elif is_event:
            self.repeats += 1


def _price(body: Any, id: str | None) -> tuple[Key, str | None]:
    """Read a price in either form; the compact one may have its id in two more members."""
    if isinstance(body, list):
        return Key(body[0], body[3]), f"{body[3] + body[4]}-{body[5]}" if len(body) > 4 else id
    return Key(body["instrument"], milliseconds(datetime.fromisoformat(body["timestamp"]))), body.get("id", id)


def milliseconds(moment: datetime) -> int:
    """Return a time as milliseconds since 1970."""
    return int(moment.timestamp() * 1000)
