"""One streaming client as the hub sees it: what it wants, and how bytes reach it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.realtime.contract.event import ORIGIN, Event
from app.realtime.hub.frames import Framing
from app.realtime.hub.outbox import Outbox
from app.realtime.hub.statistics import CutReason, Statistics

Write = Callable[[bytes], None]
"""Hands bytes to a connection without waiting."""

Wrap = Callable[[bytes], bytes]
"""Makes a frame of one transport into a frame of another."""


@dataclass(frozen=True, slots=True)
class Interest:
    """What a client wants: events of these pairs and those that concern everyone.

    ``max_hz`` limits the prices of each pair to so many a second. A client that never subscribed follows nothing: it
    has no place in the stream to resume from, so what it gets carries no id.
    """

    pairs: frozenset[str] = field(default_factory=frozenset)
    max_hz: float | None = None
    follows: bool = True

    def wants(self, event: Event) -> bool:
        """True where the event concerns this client."""
        return not event.pairs or not self.pairs.isdisjoint(event.pairs)


NOTHING_YET = Interest(follows=False)
"""The interest of a client that has connected and not subscribed."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait for one client: unsent bytes before it counts as lagging, seconds it may lag, and the alerts and answers
    kept for it, as a number and in bytes."""

    send_buffer_bytes: int = 65_536
    alert_lane_events: int = 1000
    lagging_timeout: float = 120
    alert_lane_bytes: int = 1_048_576


class Subscription:
    """A client and the way to it.

    A *direct* client has ``write``: its bytes go to the connection at once, and only while the connection reports itself
    full does an outbox exist. Any other client has ``wake``: it takes from its outbox when it can. ``end`` ends the
    connection at once, with the reason; ``finish`` ends it politely, because the gateway stops. ``on_cut`` is who ends it and
    takes note, from when the client is served, which is ``since``, by the monotonic clock.
    """

    __slots__ = (
        "_drained", "_outbox", "_statistics", "_transport", "bounds", "closed", "conflated", "end", "finish", "framing",
        "interest", "joined", "lagging_since", "name", "on_cut", "paused", "position", "replaying", "seen", "since", "wake",
        "write",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        transport: str,
        framing: Framing,
        bounds: Bounds,
        *,
        cut: Callable[[str], None],
        finish: Callable[[], None],
        write: Write | None = None,
        wake: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self._transport = transport
        self._statistics: Statistics | None = None
        self.framing = framing
        self.bounds = bounds
        self.end = self.on_cut = cut
        self.finish = finish
        self.write = write
        self.wake = wake
        self.interest = NOTHING_YET
        self.position = ORIGIN
        self.seen = self.joined = (0, 0)
        self.since = 0.0
        self.replaying = False
        self.paused = False
        self.closed = False
        self.lagging_since: float | None = None
        self.conflated = 0
        self._outbox: Outbox | None = None
        self._drained: asyncio.Future[None] | None = None

    @property
    def transport(self) -> str:
        """How its bytes reach it: ``websocket``, ``polling`` or ``sse``."""
        return self._transport

    @transport.setter
    def transport(self, transport: str) -> None:
        if self._statistics is not None:
            self._statistics.leave(self._transport)
            self._statistics.enter(transport)
        self._transport = transport

    def enter(self, statistics: Statistics) -> None:
        """It is served from here on, and counted there."""
        self._statistics = statistics
        statistics.enter(self._transport)

    def leave(self) -> None:
        """It is no longer served."""
        if self._statistics is not None:
            self._statistics.leave(self._transport)
            self._statistics = None

    def cut(self, reason: str) -> None:
        """End its connection at once."""
        self.on_cut(reason)

    @property
    def takes_now(self) -> bool:
        """True while bytes can go straight to the connection."""
        return self.write is not None and not self.paused

    @property
    def has_waiting_events(self) -> bool:
        """True while an event waits in the outbox, so that ``position`` is where the client stands."""
        return self._outbox is not None and self._outbox.has_events

    @property
    def has_outbox(self) -> bool:
        """True where something waits, or has waited since this client was last written to."""
        return self._outbox is not None

    @property
    def conflating(self) -> bool:
        """True while prices are being thinned out for this client."""
        return self._outbox is not None and self._outbox.conflating

    @property
    def outbox(self) -> Outbox:
        """What waits for this client. A direct client conflates at once: its connection already holds a buffer full."""
        if self._outbox is None:
            lossless = 0 if self.write is not None else self.bounds.send_buffer_bytes
            self._outbox = Outbox(lossless, self.bounds.alert_lane_events, self.bounds.alert_lane_bytes)
        return self._outbox

    @property
    def waiting_bytes(self) -> int:
        """What waits for this client in its outbox and, while it lags, in its connection."""
        waiting = 0 if self._outbox is None else self._outbox.size
        if self.paused:
            # A direct client is written to by a method of its transport.
            unsent = getattr(getattr(self.write, "__self__", None), "get_write_buffer_size", None)
            waiting += 0 if unsent is None else unsent()
        return waiting

    def send_message(self, name: str, body: bytes) -> None:
        """Send an answer or notice that is no event of the log."""
        self.send_frame(self.framing.message(name, body))

    def send_frame(self, frame: bytes) -> None:
        """Send a frame of this transport after all that was sent before."""
        if self.takes_now:
            assert self.write is not None
            piece = self.framing.join([frame])
            self.write(piece)
            self._sent(len(piece), 0)
        else:
            self.outbox.put_message(frame)
            self._waiting_grew()

    def send_history(self, events: Sequence[Event]) -> None:
        """Send a page of past events or a snapshot, whole. Wait for ``drained`` before the next page."""
        if not events:
            return
        if self.takes_now:
            assert self.write is not None
            piece = self.framing.join([self.framing.event(event) for event in events])
            self.write(piece)
            self._sent(len(piece), len(events))
        elif self.write is not None:
            self.keep(events)
        else:
            self.outbox.put_history(events)
            self._waiting_grew()

    def keep(self, events: Sequence[Event]) -> None:
        """Put live events into the outbox, which thins them out as it fills."""
        outbox = self.outbox
        before = outbox.conflated
        outbox.put(events)
        conflated = outbox.conflated - before
        self.conflated += conflated
        if conflated and self._statistics is not None:
            self._statistics.conflated.add(conflated)
        self._waiting_grew()

    def take(self) -> list[bytes]:
        """Everything that waits, as frames in order, for a client that comes to fetch it."""
        frames, events = self._unpack()
        if self.write is None:
            self._count(events, sum(map(len, frames)))
        return frames

    def flush(self) -> None:
        """Write what waits for a direct client whose connection has room again."""
        frames, events = self._unpack()
        self._outbox = None
        if frames and self.write is not None:
            piece = self.framing.join(frames)
            self.write(piece)
            self._count(events, len(piece))

    def become_direct(self, framing: Framing, wrap: Wrap, write: Write, transport: str) -> None:
        """Go on over a connection that bytes can be written to, after what waited for the old one, wrapped for the new one."""
        waiting, events = self._unpack()
        self._outbox = None
        self.framing, self.write, self.wake, self.transport = framing, write, None, transport
        self.lagging_since = None
        if waiting:
            piece = b"".join(map(wrap, waiting))
            write(piece)
            self._count(events, len(piece))

    def forget(self, dropped: frozenset[str]) -> None:
        """Drop what waits of pairs the client has just left."""
        if self._outbox is not None:
            self._outbox.drop(lambda event: not dropped.isdisjoint(event.pairs) and not self.interest.wants(event))

    async def drained(self) -> None:
        """Wait until nothing waits for this client, or it is gone."""
        while not self.closed and (self.paused or (self.write is None and bool(self._outbox))):
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def close(self) -> None:
        """Mark the client as gone; nothing is sent to it any more."""
        self.closed = True
        self._outbox = None
        self.notify_drained()

    def notify_drained(self) -> None:
        """Let whoever replays to this client go on."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def _unpack(self) -> tuple[list[bytes], list[Event]]:
        """Everything that waits, as frames, and the events among it."""
        if self._outbox is None:
            return [], []
        messages, events = self._outbox.take()
        self.notify_drained()
        return messages + [self.framing.event(event) for event in events], events

    def _sent(self, size: int, events: int) -> None:
        """So many events, and answers, are on their way in so many bytes."""
        if self._statistics is not None:
            self._statistics.deliver(self._transport, events, 1, size)

    def _count(self, events: Sequence[Event], size: int) -> None:
        """What had waited is on its way. Events from before the client followed are past, and took no time."""
        self._sent(size, len(events))
        if events and self._statistics is not None:
            live = [event for event in events if event.order > self.joined]
            self._statistics.time(self._transport, live, 1)

    def _waiting_grew(self) -> None:
        if self._outbox is not None and self._outbox.overflowed:
            self.cut(CutReason.LANE_FULL)
        elif self.wake is not None:
            self.wake()
