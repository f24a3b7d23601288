"""A subscription: one streaming client as the hub sees it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.realtime.contract.compact import PriceFormat
from app.realtime.contract.event import Event
from app.realtime.hub.backlog import Backlog
from app.realtime.hub.delivery import Direct, Fetching, Wired
from app.realtime.hub.frames import Framing
from app.realtime.hub.outbox import Bounds as Bounds
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


class Subscription(Backlog):
    """A client's interest, its backlog, and the delivery of frames to it.

    A *direct* client is written to at once; it has an outbox only while its connection is full, which drains in pieces as
    the line has room. A *fetching* client has every frame put into its outbox. Where more waits than the outbox may hold, the
    client *falls back*: it gets the rest from the log, at its pace, as in a replay. A client may change from fetching to
    direct, once, and keeps all else.

    Attributes are read-only to other classes; methods change them. Those of the backlog are described there.

    - ``interest``: what it wants; ``joined``: the order of the event after which it began to hear that live.
    - ``since``: when the hub began to serve it, by the monotonic clock.
    """

    __slots__ = (
        "_cut_by", "_delivery", "_end", "_fall_back", "_finish", "_transport", "framing", "interest",
        "joined", "name", "since",
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
        super().__init__(bounds)
        self.name = name
        self._transport = transport
        self.framing = framing
        self.interest = NOTHING_YET
        self.joined = (0, 0)
        self.since = 0.0
        self._delivery = delivery
        self._end = cut
        self._finish = finish
        self._cut_by: Report | None = None
        self._fall_back: Report | None = None

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

    def begin(self, now: float, cut_by: "Report", fall_back: "Report | None" = None) -> None:
        """Note that the client is served from ``now`` on, and that ``cut_by`` does the work of ``cut``.

        ``fall_back`` is called with a cursor after which events do not fit into the outbox.
        """
        self.since = now
        self._cut_by = cut_by
        self._fall_back = fall_back

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
        self._cut_by = self._fall_back = None
        self.closed = True
        self.discard()

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
    def is_behind(self) -> bool:
        """True while past events are replayed to the client, its connection is full, or events wait for it."""
        return self.replaying or self.paused or self.has_waiting_events

    @property
    def rate(self) -> float | None:
        """Bytes a second that the client's line drains, None where it is not known to be slow."""
        return self._delivery.rate

    @property
    def fetching(self) -> Fetching | None:
        """How the client fetches; None for a direct client."""
        return self._delivery if isinstance(self._delivery, Fetching) else None

    @property
    def direct(self) -> Direct | None:
        """How the client is written to; None for a fetching client."""
        return self._delivery if isinstance(self._delivery, Direct) else None

    def has_stalled(self, now: float) -> bool:
        """Return whether the client has lagged for too long without a sign that it takes anything."""
        longest = self.bounds.lagging_timeout
        return self.lag(now) > longest and now - self._delivery.progressed_at > longest

    def check_lag(self, now: float) -> None:
        """Look whether a fetching client lags, which it does while its outbox conflates.

        Nothing reports that, unlike the full connection of a direct client. Call this regularly.
        """
        if (fetching := self.fetching) is not None:
            if self._outbox:
                fetching.look(now, self.bounds.fetch_within)
                if fetching.is_slow:
                    self.thin()
            if self.conflating != self.is_lagging:
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
        """Send a snapshot. Where it has to wait, newer prices may replace those in it."""
        if events and not self._write_history(events):
            self._merge(self._waiting().put(events))
            self._waiting_grew()

    def send_page(self, events: Sequence[Event]) -> None:
        """Send a page of past events, whole. Await ``drained`` before the next page."""
        if events and not self._write_history(events):
            self._waiting().put_whole(events)
            self._waiting_grew()

    def keep(self, events: Sequence[Event], position: str) -> None:
        """Put events into the outbox: those that have just come, or those of a replay that ``thins``.

        ``position`` is the cursor before these events. The client stands there, or further back if it is behind already.
        """
        outbox = self._waiting()
        if not outbox.has_events and (self.thins or not self.replaying):
            self._stand_at(position)
        if self._fits(outbox, events):
            self._put(outbox, events, position)
            self._waiting_grew()
        elif self._fall_back is not None and self.interest.follows and not self.replaying:
            self._fall_back(self, position)
        else:
            self.cut(CutReason.LANE_FULL)

    def take(self, room: int | None = None, most: int | None = None) -> list[bytes]:
        """Return what waits, as frames in order, for a client that fetches it: by default all, else as ``Outbox.take``."""
        frames, events = self._frames(room, most)
        self._count_waited(events, sum(map(len, frames)))
        return frames

    def fetch(self, now: float, left: int, most: int | None) -> list[bytes]:
        """Return the answer to a client that asks, as its line can carry it; ``left`` events of a replay are yet to come."""
        fetching = self.fetching
        if fetching is None:
            return []
        fetching.ask(now)
        if fetching.is_slow:
            self.thin()
        frames = self.take(fetching.room(), most)
        fetching.judge(now, left + self.waiting)
        if frames:
            fetching.answer(sum(map(len, frames)), now)
        return frames

    def pause(self, now: float, position: str) -> None:
        """Note that the connection of a direct client is full: from now on it lags, behind the event at ``position``."""
        if isinstance(self._delivery, Direct) and not self._delivery.paused:
            self._delivery.pause()
            self._lagging_since = now
            if not self.replaying:
                self._stand_at(position)

    def resume(self, notice: Callable[[], bytes | None] = lambda: None) -> None:
        """Write as much of what waits as the connection has room for. That may fill it again.

        Where nothing waits any more, ``notice`` is called for the body of a ``conflated`` that comes last.
        """
        delivery = self._delivery
        if isinstance(delivery, Direct) and delivery.paused:
            frames, events = self._frames(delivery.room())
            if not self._outbox:  # a client that keeps up costs none
                delivery.resume()
                self._lagging_since = None
                if (body := notice()) is not None:
                    frames.append(self.framing.message("conflated", body))
            if frames:
                self._write_waited(delivery, self.framing.join(frames), events)
            self._notify()

    def become_direct(
        self, framing: Framing, wrap: Wrap, connection: asyncio.WriteTransport, transport: str, wire: Wired | None = None
    ) -> bool:
        """Go on over a connection that can be written to; return whether it is full already.

        What waits goes first, in frames of the old transport that ``wrap`` turns into frames of the new one.
        """
        frames, events = self._frames()
        self._delivery = delivery = Direct(connection, wire)
        self._lagging_since = None
        self.framing = framing.in_format(self.interest.format)
        self.change_transport(transport)
        if frames:
            self._write_waited(delivery, b"".join(map(wrap, frames)), events)
        return delivery.is_full

    def change_transport(self, transport: str) -> None:
        """Count the client under another transport from now on."""
        if self._statistics is not None:
            self._statistics.leave(self._transport)
            self._statistics.enter(transport)
        self._transport = transport

    async def drained(self) -> None:
        """Wait until nothing waits for the client, its replay ``thins``, or the client is gone.

        A full connection is waited for as well, but not a slow line, which is full most of the time.
        """
        while not self.closed and not self.thins and (bool(self._outbox) or (self.paused and self.rate is None)):
            await self.changed()

    def _frames(self, room: int | None = None, most: int | None = None) -> tuple[list[bytes], list[Event]]:
        """Take what is to be sent now, as frames, and return the events among it as well."""
        messages, events = self._unpack(room, most)
        return messages + [self.framing.event(event) for event in events], events

    def _connection(self) -> Direct | None:
        """Return the connection, None where it cannot be written to now."""
        delivery = self._delivery
        return delivery if isinstance(delivery, Direct) and not delivery.paused else None

    def _write_history(self, events: Sequence[Event]) -> bool:
        """Write past events to the connection; return False where it cannot be written to now."""
        connection = self._connection()
        if connection is None or self._outbox:
            return False
        piece = self.framing.join([self.framing.event(event) for event in events])
        connection.write(piece)
        self._count(len(events), len(piece))
        return True

    def _waiting(self) -> Outbox:
        if self._outbox is not None:
            return self._outbox
        # The connection of a direct client holds a buffer full of unsent events already: conflate at once.
        return self._open_outbox(conflating=not isinstance(self._delivery, Fetching) or self._delivery.is_slow)

    def _fits(self, outbox: Outbox, events: Sequence[Event]) -> bool:
        """Return whether the outbox can take the events. It conflates for that where a fetching client cannot fall back."""
        if not outbox.conflating:
            if outbox.size + sum(len(event.payload) for event in events) <= self.bounds.send_buffer_bytes:
                return True
            if self.interest.max_hz is None and self.interest.follows and not self.replaying:
                return False
            self._merge(outbox.conflate())
        return outbox.has_place(events)

    def _waiting_grew(self) -> None:
        if self._outbox is not None and self._outbox.overflowed:
            self.cut(CutReason.LANE_FULL)
        else:
            self._delivery.wake()

    def _write_waited(self, connection: Direct, piece: bytes, events: Sequence[Event]) -> None:
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


Report = Callable[[Subscription, str], None]
"""Takes a client and what concerns it: the reason to cut it off, or a cursor."""
