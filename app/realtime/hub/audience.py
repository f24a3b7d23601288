"""Audiences: the clients with the same framing and interest, which are sent the same bytes."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import Protocol

from app.market.clock import rfc3339, utc_now
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import Event, cursor_order
from app.realtime.hub.frames import Framing
from app.realtime.hub.pacer import Pacer
from app.realtime.hub.statistics import Statistics, Transport
from app.realtime.hub.subscription import Interest, Subscription
from app.realtime.wire.wire import Way, write_to_all


class Reader(Protocol):
    """What reads the log."""

    @property
    def cursor(self) -> str:
        """The id of the newest event read."""
        ...


class Audience:
    """Clients with the same framing and interest.

    They are kept in two groups: those that are written to, each with the way to its connection, and those for which events
    wait in an outbox. ``last`` is the order of the newest event delivered.
    """

    def __init__(self, framing: Framing, interest: Interest, clock: Callable[[], float], statistics: Statistics) -> None:
        self.framing = framing
        self.interest = interest
        self.pacer = None if interest.max_hz is None else Pacer(interest.max_hz, clock)
        self.last = (0, 0)
        self.timer: asyncio.TimerHandle | None = None
        self._statistics = statistics
        self._direct: dict[Subscription, Way] = {}
        self._waiting: dict[Subscription, None] = {}

    def __len__(self) -> int:
        return len(self._direct) + len(self._waiting)

    def add(self, client: Subscription) -> None:
        """Deliver to a client from now on."""
        way = client.way()
        if way is None:
            self._waiting[client] = None
        else:
            self._direct[client] = way

    def remove(self, client: Subscription) -> None:
        """Stop delivering to a client."""
        self._direct.pop(client, None)
        self._waiting.pop(client, None)

    @property
    def held(self) -> Set[str]:
        """The pairs that ``max_hz`` holds a price of."""
        return frozenset() if self.pacer is None else self.pacer.held

    def select(self, events: Sequence[Event]) -> list[Event]:
        """Return the events that this audience gets now, in order; ``max_hz`` may hold prices."""
        # This is interest.wants inlined: in the worst case there are as many audiences as clients.
        pairs = self.interest.pairs
        wanted = [event for event in events if not event.pairs or not pairs.isdisjoint(event.pairs)]
        if not self.interest.follows:
            return [event.without_cursor() for event in wanted]
        return self.pacer.admit(wanted) if self.pacer is not None else wanted

    def release(self) -> list[Event]:
        """Return the held prices that are due. Those older than what was delivered meanwhile carry no id: ids only rise."""
        assert self.pacer is not None
        return [event if event.order > self.last else event.without_cursor() for event in self.pacer.release()]

    def release_later(self, reader: Reader) -> None:
        """Set the timer for the prices that ``max_hz`` holds back, if any; ``reader`` knows how far the log was read."""
        waits = None if self.pacer is None else self.pacer.waits
        if waits is not None and self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(waits, self._release_due, reader)

    def _release_due(self, reader: Reader) -> None:
        self.timer = None
        # All clients may have left meanwhile. The audience is no longer in the table then, and holds nothing for anyone.
        if self and (events := self.release()):
            self.deliver(events, {event: self.framing.event(event) for event in events}, reader.cursor, held_back=True)
        self.release_later(reader)

    def deliver(self, events: Sequence[Event], frames: Mapping[Event, bytes], position: str, *, held_back: bool = False) -> None:
        """Send the events: in one write to each client that can be written to, into the outbox of the others.

        ``frames`` has the frame of each event, ``position`` is the cursor before them. Events that ``max_hz`` ``held_back``
        have no meaningful latency.
        """
        self.last = max(self.last, events[-1].order)
        # Copy both groups: a write may fill a connection, which moves its client to the other group, or end it. A client
        # that moves would get the events twice.
        waiting = list(self._waiting)
        if self._direct:
            piece = self.framing.join([frames[event] for event in events])
            ways, transport = list(self._direct.values()), next(iter(self._direct)).transport
            write_to_all(ways, piece)
            self._statistics.deliver(transport, len(events), len(ways), len(piece))
            if not held_back:
                self._statistics.time(transport, events, len(ways))
        for client in waiting:
            client.keep(events, position)


class Audiences:
    """The clients of a process and their audiences."""

    def __init__(self, clock: Callable[[], float], statistics: Statistics) -> None:
        self._clock = clock
        self._statistics = statistics
        self._of: dict[Subscription, Audience | None] = {}
        self._audiences: dict[tuple[Framing, Interest], Audience] = {}

    def __contains__(self, client: Subscription) -> bool:
        return client in self._of

    @property
    def clients(self) -> Collection[Subscription]:
        """Every client."""
        return self._of.keys()

    @property
    def all(self) -> Collection[Audience]:
        """The audiences, none of which is empty."""
        return self._audiences.values()

    def of(self, client: Subscription) -> Audience | None:
        """Return the audience of a client, None while it gets no live events."""
        return self._of.get(client)

    def join(self, client: Subscription, interest: Interest, since: tuple[int, int]) -> None:
        """Deliver an interest to a client from now on, which is after the event of the order ``since``."""
        self.leave(client)
        key = (client.framing, interest)
        audience = self._audiences.get(key)
        if audience is None:
            audience = self._audiences[key] = Audience(client.framing, interest, self._clock, self._statistics)
        client.join(audience.interest, since)
        audience.add(client)
        self._of[client] = audience

    def leave(self, client: Subscription) -> None:
        """Deliver nothing to a client for now."""
        audience = self._of.get(client)
        if audience is not None:
            client.mark_seen(self.seen(client))  # until now its audience knew
            audience.remove(client)
            if not audience:
                del self._audiences[audience.framing, audience.interest]
            self._of[client] = None

    def rejoin(self, client: Subscription) -> None:
        """Move a client to the other group of its audience: its connection is full, or has room again."""
        audience = self._of.get(client)
        if audience is not None:
            audience.remove(client)
            audience.add(client)

    def forget(self, client: Subscription) -> None:
        """Remove a client that has left."""
        self.leave(client)
        del self._of[client]

    def held_back(self, client: Subscription) -> Set[str]:
        """Return the pairs that ``max_hz`` holds a price of for this client."""
        audience = self._of.get(client)
        return frozenset() if audience is None else audience.held

    def seen(self, client: Subscription) -> tuple[int, int]:
        """Return the order of the newest event that the client may have got with its id.

        While a client is in an audience, the audience's ``last`` stands for it, so that a delivery need not note anything
        for each client.
        """
        audience = self._of.get(client)
        heard = (0, 0) if audience is None or not audience.interest.follows else audience.last
        return max(client.seen, heard if heard > client.joined else (0, 0))

    def send_heartbeats(self, cursor: str) -> None:
        """Send a heartbeat with the hub's cursor to each event stream and plain websocket that is up to date.

        A client resumes from the cursor of a heartbeat, so one that has not got all events up to it must not get it.
        """
        body = b'{"cursor":"%s","timestamp":"%s"}' % (cursor.encode(), rfc3339(utc_now()).encode())
        beat = Event(cursor, cursor_order(cursor), 1, EventType.HEARTBEAT, (), body)
        for client in list(self._of):
            listens = client.transport in (Transport.SSE, Transport.PLAIN) and self._of[client] is not None
            if listens and not client.is_behind:
                client.send_frame(client.framing.event(beat))

    def send_snapshot(self, client: Subscription, newest: Sequence[Event]) -> None:
        """Send the newest prices, oldest first, with their ids where the client has seen nothing newer: ids only rise.

        A price that ``max_hz`` holds for the audience that the client is about to join comes again, with its id, and so
        goes without one now.
        """
        audience = self._audiences.get((client.framing, client.interest))
        held: Set[str] = frozenset() if audience is None else audience.held
        seen = self.seen(client)
        snapshot = []
        for event in newest:
            if event.order > seen and event.pairs[0] not in held:
                client.mark_seen(event.order)
                snapshot.append(event)
            else:
                snapshot.append(event.without_cursor())
        client.send_history(snapshot)
