"""What a gateway process tells of its clients one by one, for operators: who lags worst, and who follows what.

It is made at most once a second, and only while somebody asks for it; each process writes it on the board that all of them share.
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
from app.realtime.contract.messages import Message, TimeText
from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import Transport
from app.realtime.hub.subscription import Subscription
from app.realtime.monitoring.board import Board, Place

MOST_LAGGARDS = 10
"""How many clients are told of."""

_EVERY = 1.0
_FRESH = 5.0
"""Seconds after which a report says nothing of what is so now."""

_SHOWN_OF_NAME = 8
_LARGEST_LAGGARD = 400
_LARGEST_COUNT = 12


class Laggard(Message):
    """A streaming client that is behind the log, or is being sent what it missed."""

    client: str = Field(
        description="How its name in the gateway's log begins. All of it would be a key to a Socket.IO session, and is not told",
        examples=["Zt4kXh0a"],
    )
    transport: Transport
    worker: int = Field(ge=1, description="The worker that serves it", examples=[1])
    lagging_ms: int = Field(
        ge=0, description="Milliseconds for which it has not taken what is sent at its pace; 0 where it does", examples=[5400]
    )
    behind_ms: int = Field(
        ge=0, description="Milliseconds of the log between where it stands and the newest event", examples=[5210]
    )
    behind_events: int | None = Field(
        description="Events of the log between the two; null where that lies too far back", examples=[104]
    )
    queued_bytes: int = Field(ge=0, description="Bytes that wait for it in the gateway", examples=[81920])
    pairs: int = Field(ge=0, description="How many pairs it follows", examples=[20])
    replaying: bool = Field(description="True while it is sent past events that it asked for")
    connected: TimeText


class Report(Message):
    """What a process tells of its clients."""

    laggards: list[Laggard] = Field(description="The worst first")
    followers: list[int] = Field(description="How many clients follow each of the tracked pairs, in their order")

    @classmethod
    def of(cls, hub: Hub, worker: int) -> "Report":
        """How the clients of a hub stand now."""
        now, newest = time.monotonic(), cursor_order(hub.cursor)[0]
        behind = [client for client in hub.clients if client.is_behind]
        worst = nlargest(MOST_LAGGARDS, behind, key=lambda client: (client.lag(now), _behind_ms(hub, client, newest)))
        return cls(laggards=[_laggard(hub, client, worker, now, newest) for client in worst], followers=_followers(hub))

    @staticmethod
    def capacity(pairs: int) -> int:
        """The bytes that a report on so many pairs takes at most."""
        return MOST_LAGGARDS * _LARGEST_LAGGARD + pairs * _LARGEST_COUNT


def _followers(hub: Hub) -> list[int]:
    # Clients with the same interest share one set of pairs, whose hash is known: this is one step for each of them.
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
    """Milliseconds of the log up to its newest event that a client is behind."""
    return max(0, newest - cursor_order(hub.position_of(client))[0])


class Reports:
    """The reports of all processes that serve this port."""

    def __init__(self, hub: Hub, place: Place | None = None) -> None:
        """``place`` is where this process writes; without one it is alone."""
        self._hub = hub
        self._place = place or Board.alone(Report.capacity(len(hub.pairs))).place()

    @property
    def board(self) -> Board:
        """Where they stand."""
        return self._place.board

    async def run(self) -> None:
        """Report once a second while somebody asks for it, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            if self.board.is_asked_for:
                self._write()

    def read(self) -> Mapping[int, Report]:
        """The newest reports by the number of their worker. A worker that was not asked before has one in a second."""
        self.board.ask()
        if not self._place.holds_since(_EVERY):
            self._write()
        texts = {worker + 1: self.board.read(worker, _FRESH) for worker in range(self.board.workers)}
        return {worker: Report.model_validate_json(text) for worker, text in texts.items() if text is not None}

    def _write(self) -> None:
        self._place.write(Report.of(self._hub, self._place.worker + 1).model_dump_json().encode())
