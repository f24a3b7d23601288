"""An audience: all clients of one transport with the same interest, who share every byte."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from app.realtime.event import Event
from app.realtime.frames import Framing
from app.realtime.pacer import Pacer
from app.realtime.subscription import Interest, Subscription


class Audience:
    """The clients that get the same bytes, split into those who can take them now and those for whom they wait."""

    def __init__(self, framing: Framing, interest: Interest, clock: Callable[[], float]) -> None:
        self.framing = framing
        self.interest = interest
        self.pacer = None if interest.max_hz is None else Pacer(interest.max_hz, clock)
        self.last = (0, 0)
        self.timer: asyncio.TimerHandle | None = None
        self._direct: dict[Subscription, Callable[[bytes], None]] = {}
        self._waiting: dict[Subscription, None] = {}

    def __len__(self) -> int:
        return len(self._direct) + len(self._waiting)

    def add(self, client: Subscription) -> None:
        """Let a client hear what comes from now on."""
        if client.takes_now:
            assert client.write is not None
            self._direct[client] = client.write
        else:
            self._waiting[client] = None

    def remove(self, client: Subscription) -> None:
        """Let a client hear nothing more."""
        self._direct.pop(client, None)
        self._waiting.pop(client, None)

    def select(self, events: Sequence[Event]) -> list[Event]:
        """Those of the events that concern this audience, in order and as it may see them."""
        wanted = [event for event in events if self.interest.wants(event)]
        if not self.interest.follows:
            return [event.without_cursor() for event in wanted]
        return self.pacer.admit(wanted) if self.pacer is not None else wanted

    def release(self) -> list[Event]:
        """The prices that ``max_hz`` held back and that may go now; without an id where newer events have gone before."""
        assert self.pacer is not None
        return [event if event.order > self.last else event.without_cursor() for event in self.pacer.release()]

    def deliver(self, events: Sequence[Event], frames: Mapping[Event, bytes], position: str) -> None:
        """Send the events to everyone: one write for each client that can take them, the outbox for the rest."""
        self.last = max(self.last, events[-1].order)
        waiting = list(self._waiting)  # taken first: a client that this write fills is not to get the events twice
        if self._direct:
            piece = self.framing.join([frames[event] for event in events])
            for write in list(self._direct.values()):
                write(piece)
        for client in waiting:
            if not client.has_waiting_events:
                client.position = position
            client.keep(events)
