"""Reports on single clients, for operators: which lag most, and how many follow each pair.

Each process writes its report to the board that all of them share, once a second and only while reports are being read.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from heapq import nlargest

from pydantic import Field

from app.market.clock import rfc3339
from app.realtime.contract.event import cursor_order
from app.realtime.contract.fields import Message, TimeText
from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import Transport
from app.realtime.hub.subscription import Subscription
from app.realtime.monitoring.board import Board, Place

MOST_LAGGARDS = 10
"""Clients listed in a report."""

_EVERY = 1.0
_FRESH = 5.0
"""Seconds after which a report is out of date."""

_SHOWN_OF_NAME = 8
_LARGEST_LAGGARD = 400  # bytes of JSON
_LARGEST_COUNT = 12


class Laggard(Message):
    """A streaming client that is behind the log, or is being sent what it missed."""

    client: str = Field(
        description="The start of its name in the gateway's log. The whole name would give access to a Socket.IO session",
        examples=["Zt4kXh0a"],
    )
    transport: Transport
    worker: int = Field(ge=1, description="The worker that serves it", examples=[1])
    lagging_ms: int = Field(
        ge=0, description="Milliseconds for which it has read more slowly than events are sent; 0 if it keeps up", examples=[5400]
    )
    behind_ms: int = Field(ge=0, description="Milliseconds of the log between its position and the newest event", examples=[5210])
    behind_events: int | None = Field(
        description="Events of the log between the two; null if its position is too far back to know", examples=[104]
    )
    queued_bytes: int = Field(ge=0, description="Bytes buffered for it in the gateway", examples=[81920])
    pairs: int = Field(ge=0, description="Number of pairs that it follows", examples=[20])
    replaying: bool = Field(description="True while past events are replayed to it")
    connected: TimeText


class Report(Message):
    """The clients of one process, as operators see them."""

    laggards: list[Laggard] = Field(description="The worst first")
    followers: list[int] = Field(description="Number of clients that follow each tracked pair, in the order of the pairs")

    @classmethod
    def of(cls, hub: Hub, worker: int) -> "Report":
        """Return a report on the clients that a hub serves now."""
        now, newest = time.monotonic(), cursor_order(hub.cursor)[0]
        behind = [client for client in hub.clients if client.is_behind]
        worst = nlargest(MOST_LAGGARDS, behind, key=lambda client: (client.lag(now), _behind_ms(hub, client, newest)))
        return cls(laggards=[_laggard(hub, client, worker, now, newest) for client in worst], followers=_followers(hub))

    @staticmethod
    def capacity(pairs: int) -> int:
        """Return the most bytes that a report on ``pairs`` pairs can take."""
        return MOST_LAGGARDS * _LARGEST_LAGGARD + pairs * _LARGEST_COUNT


def _followers(hub: Hub) -> list[int]:
    # Clients with the same interest share one frozenset, which caches its hash: this is cheap even for many clients.
    sets = Counter(client.interest.pairs for client in hub.clients)
    followers = dict.fromkeys(hub.pairs.names, 0)
    for pairs, clients in sets.items():
        for pair in pairs:
            followers[pair] += clients
    return list(followers.values())


def _laggard(hub: Hub, client: Subscription, worker: int, now: float, newest: int) -> Laggard:
    return Laggard(
        client=client.name.rpartition(".")[2][:_SHOWN_OF_NAME],
        transport=Transport(client.transport),
        worker=worker,
        lagging_ms=int(client.lag(now) * 1000),
        behind_ms=_behind_ms(hub, client, newest),
        behind_events=hub.events_since(hub.position_of(client)),
        queued_bytes=client.waiting_bytes,
        pairs=len(client.interest.pairs),
        replaying=client.replaying,
        connected=rfc3339(datetime.fromtimestamp(time.time() - (now - client.since), UTC)),
    )


def _behind_ms(hub: Hub, client: Subscription, newest: int) -> int:
    """Return the milliseconds of the log between where a client stands and the newest event."""
    return max(0, newest - cursor_order(hub.position_of(client))[0])


class Reports:
    """The reports of all gateway processes that share a port."""

    def __init__(self, hub: Hub, place: Place | None = None) -> None:
        """``place`` is where this process writes. Without one it has a board of its own."""
        self._hub = hub
        self._place = place or Board.alone(Report.capacity(len(hub.pairs))).place()

    @property
    def board(self) -> Board:
        """The board that the reports are written to."""
        return self._place.board

    async def run(self) -> None:
        """Write a report every second while reports are being read, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            if self.board.is_asked_for:
                self._write()

    def read(self) -> Mapping[int, Report]:
        """Return the newest reports by worker number. Other workers take a second to write their first one."""
        self.board.ask()
        if not self._place.holds_since(_EVERY):
            self._write()
        texts = {worker + 1: self.board.read(worker, _FRESH) for worker in range(self.board.workers)}
        return {worker: Report.model_validate_json(text) for worker, text in texts.items() if text is not None}

    def _write(self) -> None:
        self._place.write(Report.of(self._hub, self._place.worker + 1).model_dump_json().encode())
