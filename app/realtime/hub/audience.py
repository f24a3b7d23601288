"""An audience: all clients of one transport with the same interest, who share every byte; and who is in which."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence, Set

from app.realtime.contract.event import Event
from app.realtime.hub.frames import Framing
from app.realtime.hub.pacer import Pacer
from app.realtime.hub.statistics import Statistics
from app.realtime.hub.subscription import Interest, Subscription
from app.realtime.wire.wire import Way, write_to_all


class Audience:
    """The clients that get the same bytes, split into those who can take them now and those for whom they wait."""

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
        """Let a client hear what comes from now on."""
        way = client.way()
        if way is None:
            self._waiting[client] = None
        else:
            self._direct[client] = way

    def remove(self, client: Subscription) -> None:
        """Let a client hear nothing more."""
        self._direct.pop(client, None)
        self._waiting.pop(client, None)

    @property
    def held(self) -> Set[str]:
        """The pairs of which ``max_hz`` holds a price back."""
        return frozenset() if self.pacer is None else self.pacer.held

    def select(self, events: Sequence[Event]) -> list[Event]:
        """Those of the events that concern this audience, in order and as it may see them."""
        # As ``interest.wants``, without a call for each event: there may be as many audiences as clients.
        pairs = self.interest.pairs
        wanted = [event for event in events if not event.pairs or not pairs.isdisjoint(event.pairs)]
        if not self.interest.follows:
            return [event.without_cursor() for event in wanted]
        return self.pacer.admit(wanted) if self.pacer is not None else wanted

    def release(self) -> list[Event]:
        """The prices that ``max_hz`` held back and that may go now; without an id where newer events have gone before."""
        assert self.pacer is not None
        return [event if event.order > self.last else event.without_cursor() for event in self.pacer.release()]

    def deliver(self, events: Sequence[Event], frames: Mapping[Event, bytes], position: str, *, held_back: bool = False) -> None:
        """Send the events to everyone: one write for each client that can take them, the outbox for the rest.

        Events that were ``held_back`` at the clients' wish are counted but not timed.
        """
        self.last = max(self.last, events[-1].order)
        waiting = list(self._waiting)  # taken first: a client that this write fills is not to get the events twice
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
    """Every client of the process, and the audience that it is in."""

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
        """Every audience that somebody is in."""
        return self._audiences.values()

    def of(self, client: Subscription) -> Audience | None:
        """The audience of a client, None where it hears nothing as it happens."""
        return self._of.get(client)

    def join(self, client: Subscription, interest: Interest, since: tuple[int, int]) -> None:
        """Let a client, new or not, hear of this from now on, which is after the event of the order ``since``."""
        self.leave(client)
        key = (client.framing, interest)
        audience = self._audiences.get(key)
        if audience is None:
            audience = self._audiences[key] = Audience(client.framing, interest, self._clock, self._statistics)
        client.join(audience.interest, since)
        audience.add(client)
        self._of[client] = audience

    def leave(self, client: Subscription) -> None:
        """Let a client hear nothing for now."""
        audience = self._of.get(client)
        if audience is not None:
            client.mark_seen(self.seen(client))
            audience.remove(client)
            if not audience:
                del self._audiences[audience.framing, audience.interest]
            self._of[client] = None

    def rejoin(self, client: Subscription) -> None:
        """A client can take things now, or cannot any more."""
        audience = self._of.get(client)
        if audience is not None:
            audience.remove(client)
            audience.add(client)

    def forget(self, client: Subscription) -> None:
        """A client is gone."""
        self.leave(client)
        del self._of[client]

    def held_back(self, client: Subscription) -> Set[str]:
        """The pairs of which a price waits for this client and others of its interest."""
        audience = self._of.get(client)
        return frozenset() if audience is None else audience.held

    def seen(self, client: Subscription) -> tuple[int, int]:
        """The order of the newest event the client can have got with its id."""
        audience = self._of.get(client)
        heard = (0, 0) if audience is None or not audience.interest.follows else audience.last
        return max(client.seen, heard if heard > client.joined else (0, 0))

    def send_snapshot(self, client: Subscription, newest: Sequence[Event]) -> None:
        """Send newest prices, with their ids where the client has seen nothing newer."""
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
