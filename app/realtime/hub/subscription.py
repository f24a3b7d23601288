"""A subscription: one streaming client as the hub sees it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.realtime.contract.compact import PriceFormat
from app.realtime.contract.event import ORIGIN, Event
from app.realtime.hub.delivery import Direct, Fetching
from app.realtime.hub.frames import Framing
from app.realtime.hub.outbox import Outbox
from app.realtime.hub.statistics import CutReason, Statistics
from app.realtime.wire.wire import Way

Wrap = Callable[[bytes], bytes]
"""Turns a frame of one transport into a frame of another."""


@dataclass(frozen=True, slots=True)
class Interest:
    """What a client wants: the events of these pairs, and the events that concern everyone.

    ``max_hz`` limits the prices of each pair to that many a second, ``format`` is their form. ``follows`` is false for a
    client that has never subscribed: it has no place in the stream to resume from, so its events carry no id.
    """

    pairs: frozenset[str] = field(default_factory=frozenset)
    max_hz: float | None = None
    follows: bool = True
    format: PriceFormat = PriceFormat.FULL

    def wants(self, event: Event) -> bool:
        """Return whether the event concerns this client."""
        return not event.pairs or not self.pairs.isdisjoint(event.pairs)


NOTHING_YET = Interest(follows=False)
"""The interest of a client that has connected and not subscribed."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of what may wait for one client.

    ``send_buffer_bytes`` may be unsent before the client lags, which it may do for ``lagging_timeout`` seconds. Meanwhile
    ``alert_lane_events`` alerts and answers are kept for it, of ``alert_lane_bytes`` in all.
    """

    send_buffer_bytes: int = 65_536
    alert_lane_events: int = 1000
    lagging_timeout: float = 120
    alert_lane_bytes: int = 1_048_576


class Subscription:
    """A client's interest, its position in the log, and the delivery of frames to it.

    A *direct* client is written to at once; it has an outbox only while its connection is full. A *fetching* client has
    every frame put into its outbox. A client may change from fetching to direct, once, and keeps all else.

    Attributes are read-only to other classes; methods change them.

    - ``interest``: what it wants; ``joined``: the order of the event after which it began to hear that live.
    - ``seen``: the order of the newest event that it has got with its id, as far as its audience does not know better.
    - ``position``: the cursor to resume from while events wait for it or are replayed to it. Otherwise it is where the
      hub is. A replay is behind what comes live meanwhile, so only ``replayed_to`` moves the position then.
    - ``since``: when the hub began to serve it, by the monotonic clock.
    """

    __slots__ = (
        "_cut_by", "_delivery", "_drained", "_end", "_finish", "_lagging_since", "_outbox", "_statistics", "_transport", "bounds",
        "closed", "framing", "interest", "joined", "name", "position", "replaying", "seen", "since",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        transport: str,
        framing: Framing,
        bounds: Bounds,
        delivery: Direct | Fetching,
        *,
        cut: Callable[[str], None],
        finish: Callable[[], None],
    ) -> None:
        """``transport`` is ``websocket``, ``polling``, ``sse`` or ``plain``.

        ``cut`` ends the connection at once and takes the reason; ``finish`` ends it politely, because the gateway stops.
        """
        self.name = name
        self._transport = transport
        self.framing = framing
        self.bounds = bounds
        self.interest = NOTHING_YET
        self.position = ORIGIN
        self.seen = self.joined = (0, 0)
        self.since = 0.0
        self.replaying = False
        self.closed = False
        self._delivery = delivery
        self._end = cut
        self._finish = finish
        self._cut_by: Callable[[Subscription, str], None] | None = None
        self._statistics: Statistics | None = None
        self._lagging_since: float | None = None
        self._outbox: Outbox | None = None
        self._drained: asyncio.Future[None] | None = None

    # -------------------------------------------------------- coming and going

    def enter(self, statistics: Statistics) -> None:
        """Count the client, and what is sent to it, from now on."""
        self._statistics = statistics
        statistics.enter(self._transport)

    def leave(self) -> None:
        """Stop counting the client."""
        if self._statistics is not None:
            self._statistics.leave(self._transport)
            self._statistics = None

    def begin(self, now: float, cut_by: Callable[["Subscription", str], None]) -> None:
        """Note that the client is served from ``now`` on, and that ``cut_by`` does the work of ``cut``."""
        self.since = now
        self._cut_by = cut_by

    def cut(self, reason: str) -> None:
        """Cut the client off, through the hub while the hub serves it."""
        if self._cut_by is None:
            self._end(reason)
        else:
            self._cut_by(self, reason)

    def end(self, reason: str) -> None:
        """End the connection at once."""
        self._end(reason)

    def finish(self) -> None:
        """End the connection politely."""
        self._finish()

    def close(self) -> None:
        """Mark the client as gone: it is not counted, and nothing is sent to it any more."""
        self.leave()
        self._cut_by = None
        self.closed = True
        self._outbox = None
        self._notify_drained()

    # ------------------------------------------------------------- what it wants

    def follow(self, interest: Interest) -> None:
        """Change the interest, and drop what waits of the pairs that the client leaves."""
        dropped = self.interest.pairs - interest.pairs
        self.interest = interest
        self.framing = self.framing.in_format(interest.format)
        if self._outbox is not None and dropped:
            self._outbox.drop(lambda event: not dropped.isdisjoint(event.pairs) and not interest.wants(event))

    def join(self, interest: Interest, since: tuple[int, int]) -> None:
        """Hear an interest live, from after the event of the order ``since``."""
        self.joined = since
        if self.interest == interest:
            # One object for the whole audience: the set of pairs takes more memory than the rest of a client.
            self.interest = interest

    def mark_seen(self, order: tuple[int, int]) -> None:
        """Note that the client has got the event of this order with its id."""
        self.seen = max(self.seen, order)

    def start_replay(self, cursor: str) -> None:
        """Note that the events after the cursor are being replayed to the client."""
        self.replaying = True
        self.position = cursor

    def replayed_to(self, cursor: str) -> None:
        """Note that the client has been sent all that it wants up to the cursor."""
        self.position = cursor

    def end_replay(self, order: tuple[int, int]) -> None:
        """Note that the replay has reached the hub, whose newest event is of this order."""
        self.replaying = False
        self.mark_seen(order)

    # ----------------------------------------------------------------- how it does

    @property
    def transport(self) -> str:
        """How frames travel: ``websocket``, ``polling``, ``sse`` or ``plain``."""
        return self._transport

    @property
    def is_direct(self) -> bool:
        """True where frames are written to the connection, false where the client fetches them."""
        return isinstance(self._delivery, Direct)

    @property
    def paused(self) -> bool:
        """True while the connection of a direct client is full."""
        return self._delivery.paused

    @property
    def has_waiting_events(self) -> bool:
        """True while an event waits in the outbox, so that the client stands at ``position``."""
        return self._outbox is not None and self._outbox.has_events

    @property
    def is_behind(self) -> bool:
        """True while past events are replayed to the client, its connection is full, or events wait for it."""
        return self.replaying or self.paused or self.has_waiting_events

    @property
    def may_have_backlog(self) -> bool:
        """False only where nothing waits and the client does not lag; cheap, for the many clients of which that is true."""
        return self._outbox is not None or self._lagging_since is not None

    @property
    def conflating(self) -> bool:
        """True while prices are being conflated for the client."""
        return self._outbox is not None and self._outbox.conflating

    @property
    def is_lagging(self) -> bool:
        """True while the client does not take what is sent at its pace."""
        return self._lagging_since is not None

    def lag(self, now: float) -> float:
        """Return for how many seconds the client has lagged, 0 where it keeps up."""
        return 0.0 if self._lagging_since is None else max(0.0, now - self._lagging_since)

    def check_lag(self, now: float) -> None:
        """Look whether a fetching client lags, which it does while its outbox conflates.

        Nothing reports that, unlike the full connection of a direct client. Call this regularly.
        """
        if not self.is_direct and self.conflating != self.is_lagging:
            self._lagging_since = now if self.conflating else None

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait in the outbox and, while the client lags, in its connection."""
        waiting = 0 if self._outbox is None else self._outbox.size
        return waiting + self._delivery.unsent if self._delivery.paused else waiting

    def way(self) -> Way | None:
        """Return the shortest way to the connection, for ``write_to_all``; None where frames have to wait."""
        connection = self._connection()
        return None if connection is None else connection.way()

    # ------------------------------------------------------------------- sending

    def send_message(self, name: str, body: bytes) -> None:
        """Send an answer or a notice that is no event of the log; ``body`` is JSON."""
        self.send_frame(self.framing.message(name, body))

    def send_frame(self, frame: bytes) -> None:
        """Send a frame of this transport, after everything that was sent before."""
        if (connection := self._connection()) is not None:
            piece = self.framing.join([frame])
            connection.write(piece)
            self._count(0, len(piece))
        else:
            self._waiting().put_message(frame)
            self._waiting_grew()

    def send_history(self, events: Sequence[Event]) -> None:
        """Send a snapshot or a page of past events, whole. Await ``drained`` before the next page."""
        if not events:
            return
        if (connection := self._connection()) is not None:
            piece = self.framing.join([self.framing.event(event) for event in events])
            connection.write(piece)
            self._count(len(events), len(piece))
        elif self.is_direct:
            self._keep(events)
        else:
            self._waiting().put_history(events)
            self._waiting_grew()

    def keep(self, events: Sequence[Event], position: str) -> None:
        """Put live events into the outbox, which conflates them as it fills.

        ``position`` is the cursor before these events. The client stands there, or further back if it is behind already.
        """
        if not self.replaying and not self.has_waiting_events:
            self.position = position
        self._keep(events)

    def take(self) -> list[bytes]:
        """Return everything that waits, as frames in order, for a client that fetches it."""
        frames, events = self._unpack()
        self._count_waited(events, sum(map(len, frames)))
        return frames

    def discard(self) -> None:
        """Drop everything that waits."""
        self._outbox = None
        self._notify_drained()

    def pause(self, now: float, position: str) -> None:
        """Note that the connection of a direct client is full: from now on it lags, behind the event at ``position``."""
        if isinstance(self._delivery, Direct) and not self._delivery.paused:
            self._delivery.pause()
            self._lagging_since = now
            if not self.replaying:
                self.position = position

    def resume(self) -> None:
        """Note that the connection has room again and write what waits. That may fill it again."""
        if isinstance(self._delivery, Direct) and self._delivery.paused:
            self._delivery.resume()
            self._lagging_since = None
            frames, events = self._unpack()
            self._outbox = None  # a client that keeps up costs none
            self._write_waited(self.framing.join(frames), events)
            if not self.paused:
                self._notify_drained()

    def become_direct(self, framing: Framing, wrap: Wrap, connection: asyncio.WriteTransport, transport: str) -> bool:
        """Go on over a connection that can be written to; return whether it is full already.

        What waits goes first, in frames of the old transport that ``wrap`` turns into frames of the new one.
        """
        frames, events = self._unpack()
        self._outbox = None
        self._delivery = delivery = Direct(connection)
        self._lagging_since = None
        self.framing = framing.in_format(self.interest.format)
        self.change_transport(transport)
        self._write_waited(b"".join(map(wrap, frames)), events)
        return delivery.is_full

    def change_transport(self, transport: str) -> None:
        """Count the client under another transport from now on."""
        if self._statistics is not None:
            self._statistics.leave(self._transport)
            self._statistics.enter(transport)
        self._transport = transport

    async def drained(self) -> None:
        """Wait until nothing waits for the client, or the client is gone."""
        while not self.closed and (self.paused or (not self.is_direct and bool(self._outbox))):
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)  # others may wait for the same future

    def _connection(self) -> Direct | None:
        """Return the connection, None where it cannot be written to now."""
        delivery = self._delivery
        return delivery if isinstance(delivery, Direct) and not delivery.paused else None

    def _waiting(self) -> Outbox:
        if self._outbox is None:
            # The connection of a direct client holds a buffer full of unsent events already: conflate at once.
            lossless = 0 if self.is_direct else self.bounds.send_buffer_bytes
            self._outbox = Outbox(lossless, self.bounds.alert_lane_events, self.bounds.alert_lane_bytes)
        return self._outbox

    def _keep(self, events: Sequence[Event]) -> None:
        conflated = self._waiting().put(events)
        if conflated and self._statistics is not None:
            self._statistics.conflated.add(conflated)
        self._waiting_grew()

    def _waiting_grew(self) -> None:
        if self._outbox is not None and self._outbox.overflowed:
            self.cut(CutReason.LANE_FULL)
        else:
            self._delivery.wake()

    def _unpack(self) -> tuple[list[bytes], list[Event]]:
        """Take everything that waits, as frames, and return the events among them as well."""
        if self._outbox is None:
            return [], []
        messages, events = self._outbox.take()
        self._notify_drained()
        return messages + [self.framing.event(event) for event in events], events

    def _write_waited(self, piece: bytes, events: Sequence[Event]) -> None:
        if piece and (connection := self._connection()) is not None:
            connection.write(piece)
            self._count_waited(events, len(piece))

    def _count(self, events: int, size: int) -> None:
        if self._statistics is not None:
            self._statistics.deliver(self._transport, events, 1, size)

    def _count_waited(self, events: Sequence[Event], size: int) -> None:
        self._count(len(events), size)
        if events and self._statistics is not None:
            # Replayed events are from before the client joined. Their age says nothing about the gateway.
            live = [event for event in events if event.order > self.joined]
            self._statistics.time(self._transport, live, 1)

    def _notify_drained(self) -> None:
        """Let the replay to this client go on."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
