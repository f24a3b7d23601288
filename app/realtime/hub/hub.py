"""The hub: reads the log once and hands every event to every client it concerns, without ever waiting for one."""

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from app.errors import InvalidCursor, NotReady, TooManyClients
from app.market.clock import parse_time, rfc3339, utc_now
from app.market.pair import TrackedPairs
from app.realtime.contract.event import ORIGIN, VISIBLE, Event, EventType, canonical_cursor, cursor_order
from app.realtime.hub.audience import Audience, Audiences
from app.realtime.hub.book import PriceBook
from app.realtime.hub.follower import Follower
from app.realtime.hub.frames import Framing
from app.realtime.hub.replay import Replays
from app.realtime.hub.ring import Ring
from app.realtime.hub.signs import Signs
from app.realtime.hub.statistics import CutReason, Refusal, Resume, Statistics, StatisticsTable
from app.realtime.hub.subscription import NOTHING_YET, Bounds, Interest, Subscription, Wrap
from app.realtime.log.log import EventLog

_logger = logging.getLogger(__name__)

_TIME = b'"time":"'
"""What the market time of a price stands behind: decoding all of it takes four times as long."""


@dataclass(frozen=True, slots=True)
class Held:
    """A cursor that can be resumed from, with the sequence number that what follows must continue."""

    cursor: str
    seq: int


class Hub:
    """Every streaming client of this process, the ring, the book, and the one reader that feeds them."""

    def __init__(
        self,
        log: EventLog,
        pairs: TrackedPairs,
        *,
        max_clients: int = 1000,
        bounds: Bounds | None = None,
        heartbeat_interval: float = 15,
        ring_size: int = 4096,
        statistics: Statistics | None = None,
    ) -> None:
        """``heartbeat_interval`` is in seconds, ``ring_size`` in events.

        ``max_clients`` are those of all processes that ``statistics`` are shared with; without any this process is alone.
        """
        self.log = log
        self.pairs = pairs
        self.book = PriceBook(pairs.names)
        self.max_clients = max_clients
        self.bounds = bounds or Bounds()
        self.statistics = statistics or StatisticsTable.alone().row()
        self.signs = Signs()
        self.seq = 0
        self._heartbeat_interval = heartbeat_interval
        self._clock = time.monotonic
        self._ring = Ring(ring_size)
        self._follower = Follower(log, self.dispatch, heartbeat_interval, self.statistics)
        self._audiences = Audiences(self._clock, self.statistics)
        self._replays = Replays(log, self._ring, self._follower, self._audiences, self.sees, self._go_live)
        self._stopping = False
        self._tasks: asyncio.TaskGroup | None = None

    # ---------------------------------------------------------------- running

    async def run(self) -> None:
        """Follow the log until cancelled. Loss of Redis is survived; any other failure ends the hub and is raised."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._follower.run(), name="hub follower")
                tasks.create_task(self._keep_house(), name="hub housekeeping")
        finally:
            _logger.info("so far: %s", self.statistics)

    @property
    def cursor(self) -> str:
        """The id of the newest event this process has read."""
        return self._follower.cursor

    @property
    def log_fault(self) -> str | None:
        """Why the log cannot be followed at the moment, None while it can."""
        return self._follower.fault

    @property
    def unready(self) -> str | None:
        """Why this process should get no new clients, None where it should."""
        if self._stopping:
            return "the gateway is stopping"
        if not self._follower.is_caught_up:
            return "the gateway is catching up with the log"
        return self._follower.fault

    async def caught_up(self) -> None:
        """Wait until every event the log retained at the start has been read."""
        await self._follower.caught_up()

    def stop(self) -> None:
        """Take no more clients and let those who are here finish politely."""
        self._stopping = True
        for client in list(self.clients):
            client.finish()

    async def _keep_house(self) -> None:
        heartbeat_at = self._clock() + self._heartbeat_interval
        while True:
            due = self._clock() + min(1.0, self._heartbeat_interval)
            await asyncio.sleep(due - self._clock())
            now = self._clock()
            self.statistics.loop_lag.set(max(0.0, now - due))
            self._look_after(now)
            self.statistics.take_process()
            if now >= heartbeat_at:
                heartbeat_at = now + self._heartbeat_interval
                self._send_heartbeats()

    def _look_after(self, now: float) -> None:
        """Cut off who has lagged for too long, and take in how many lag and what waits for them."""
        lagging = buffered = 0
        for client in list(self.clients):
            if not client.may_have_backlog:
                continue
            client.check_lag(now)
            if client.lag(now) > client.bounds.lagging_timeout:
                self.cut(client, CutReason.LAGGING)
            else:
                lagging += client.is_lagging
                buffered += client.waiting_bytes
        self.statistics.lagging.set(lagging)
        self.statistics.buffered.set(buffered)

    def _send_heartbeats(self) -> None:
        """Tell every event stream that it lives and where it stands. One that lags stands further back: it hears nothing."""
        body = b'{"cursor":"%s","timestamp":"%s"}' % (self.cursor.encode(), rfc3339(utc_now()).encode())
        beat = Event(self.cursor, cursor_order(self.cursor), 1, EventType.HEARTBEAT, (), body, body)
        for client in list(self.clients):
            up_to_date = self._audiences.of(client) is not None and not client.is_behind
            if client.transport == "sse" and up_to_date:
                client.send_frame(client.framing.event(beat))

    # --------------------------------------------------------------- dispatch

    def dispatch(self, events: Sequence[Event]) -> None:
        """Hand the next events of the log to everyone they concern. One synchronous step; nobody is waited for."""
        position = self._ring.cursor
        visible = [event for event in events if self._take_in(event)]
        if visible and self.clients:
            frames: dict[object, dict[Event, bytes]] = {}
            for audience in list(self._audiences.all):
                wanted = audience.select(visible)
                if wanted:
                    framed = frames.setdefault(audience.framing, {})
                    for event in wanted:
                        if event not in framed:
                            framed[event] = audience.framing.event(event)
                    audience.deliver(wanted, framed, position)
                self._release_later(audience)
            self._time_price(visible)
        self.statistics.take_batch(events, late=self._follower.is_caught_up)

    def _time_price(self, events: Sequence[Event]) -> None:
        """Take in how old the newest price of a batch is on the market, now that it is sent."""
        for event in reversed(events):
            if event.type == EventType.PRICE_UPDATE:
                try:
                    start = event.bare.index(_TIME) + len(_TIME)
                    at = parse_time(event.bare[start : event.bare.index(b'"', start)].decode())
                except ValueError:
                    return  # written by somebody else, it may have no time, or not as we write it
                self.statistics.take_price(at.timestamp())
                return

    def _release_later(self, audience: Audience) -> None:
        """Set the timer for prices that ``max_hz`` holds back, one timer for the whole audience."""
        waits = None if audience.pacer is None else audience.pacer.waits
        if waits is not None and audience.timer is None:
            audience.timer = asyncio.get_running_loop().call_later(waits, self._release, audience)

    def _release(self, audience: Audience) -> None:
        audience.timer = None
        if audience and (events := audience.release()):
            frames = {event: audience.framing.event(event) for event in events}
            audience.deliver(events, frames, self.cursor, held_back=True)
        self._release_later(audience)

    def _take_in(self, event: Event) -> bool:
        """Remember an event; True where clients may see it."""
        self._ring.append(event)
        self.seq = event.seq or self.seq
        if event.is_price:
            self.book.apply(event)
        elif event.type == EventType.GAP:
            self.statistics.gaps.add()
            _logger.warning("events were lost: %s", event.payload.decode())
        elif event.type in (EventType.FEED_STATUS, EventType.HEARTBEAT):
            self.signs.hear(event)
        return self.sees(event)

    def sees(self, event: Event) -> bool:
        """True for the events that clients of this gateway may see: no heartbeats, and only pairs that are tracked."""
        if event.type not in VISIBLE:
            return False
        return not event.pairs or any(pair in self.pairs for pair in event.pairs)

    # ---------------------------------------------------------------- clients

    @property
    def clients(self) -> Collection[Subscription]:
        """Every streaming client of this process."""
        return self._audiences.clients

    @property
    def client_count(self) -> int:
        """How many streaming clients this process serves."""
        return len(self.clients)

    def connect(self, client: Subscription) -> None:
        """Take a client in; until it subscribes it hears only what concerns everyone. Raises TooManyClients, NotReady."""
        statistics = self.statistics
        if not self._follower.is_caught_up or self._stopping:
            statistics.refused[Refusal.NOT_READY].add()
            raise NotReady(f"Try again shortly: {self.unready}")
        # The place is taken before it is known to be there, so that no two processes give the last one away.
        client.enter(statistics)
        if statistics.table.total_clients > self.max_clients:
            client.leave()
            statistics.refused[Refusal.FULL].add()
            raise TooManyClients(f"Max clients reached: this gateway serves {self.max_clients} at once")
        statistics.connections[client.transport].add()
        client.begin(self._clock(), self.cut)
        self._join(client, NOTHING_YET)

    def disconnect(self, client: Subscription) -> None:
        """Forget a client that is gone."""
        if client in self._audiences:
            self._audiences.forget(client)
            self.statistics.subscriptions.add(-len(client.interest.pairs))
            client.close()

    def cut(self, client: Subscription, reason: str) -> None:
        """End a client's connection at once."""
        if client in self._audiences:
            self.statistics.cut_off[CutReason.of(reason)].add()
            _logger.info("client %s (%s) is cut off: %s", client.name, client.transport, reason)
            self.disconnect(client)
            client.end(reason)

    def pause(self, client: Subscription) -> None:
        """A direct client's connection is full: from here on it lags."""
        client.pause(self._clock(), self.cursor)
        self._audiences.rejoin(client)

    def resume(self, client: Subscription) -> None:
        """A lagging client's connection has room again: it gets what waits, and is live."""
        client.resume()
        if not client.paused:  # what waited may have filled the connection again
            self._audiences.rejoin(client)

    def become_direct(
        self, client: Subscription, framing: Framing, wrap: Wrap, connection: asyncio.WriteTransport, transport: str
    ) -> None:
        """Write to a connection what a client would have fetched, after what waits. It may not have connected yet.

        Whatever reports that the connection has room again must be in place: a connection that is full by then is paused.
        """
        audience = self._audiences.of(client)
        if audience is not None:
            self._audiences.leave(client)
        if client.become_direct(framing, wrap, connection, transport):
            client.pause(self._clock(), self.cursor)
        if audience is not None:
            self._join(client, audience.interest)

    def position_of(self, client: Subscription) -> str:
        """The cursor a client stands at: the hub's own, or an older one where events still wait for it."""
        return client.position if client.replaying or client.has_waiting_events else self.cursor

    def events_since(self, cursor: str) -> int | None:
        """How many events of the log this process has read after a cursor; None where it does not remember that far back."""
        seq = self._ring.seq(cursor)
        return None if seq is None else max(0, self.seq - seq)

    def event_rate(self) -> float:
        """Events of the log a second, over the last ten seconds or as far back as this process remembers."""
        return self._ring.rate(time.time())

    # ---------------------------------------------------------- subscriptions

    async def holds(self, cursor: object) -> Held | None:
        """The place of a cursor that a streaming client comes back with, see ``find``; what becomes of it is counted.

        Raises InvalidCursor, LogUnavailable.
        """
        outcome = Resume.LOST
        try:
            held = await self.find(cursor)
            if held is not None:
                outcome = Resume.LOG if self._ring.seq(held.cursor) is None else Resume.RING
        except InvalidCursor:
            outcome = Resume.REFUSED
            raise
        finally:
            self.statistics.resumes[outcome].add()
        return held

    async def find(self, cursor: object) -> Held | None:
        """The place of a cursor, from which nothing that followed is missing; None where the log does not hold it.

        Raises InvalidCursor, LogUnavailable.
        """
        cursor = canonical_cursor(cursor)
        if (seq := self._ring.seq(cursor)) is not None:
            return Held(cursor, seq)
        if cursor == ORIGIN:
            return Held(cursor, 0) if await self.log.starts_at_the_beginning() else None
        seq = await self.log.sequence_of(cursor)
        return None if seq is None else Held(cursor, seq)

    def follow(
        self,
        client: Subscription,
        interest: Interest,
        *,
        held: Held | None = None,
        snapshot: bool = True,
    ) -> None:
        """Change what a client hears, in one synchronous step.

        With ``held`` (from ``holds``) the client first gets everything since that cursor, then is live. Without it, it gets
        the newest price of each pair that is new to it, unless ``snapshot`` is false, and the next event follows exactly.
        """
        before = client.interest
        added = interest.pairs - before.pairs
        client.follow(interest)
        self.statistics.subscriptions.add(len(interest.pairs) - len(before.pairs))
        if held is not None and not client.replaying:
            client.start_replay(held.cursor)
            if not before.follows:
                self._audiences.leave(client)
            assert self._tasks is not None
            self._tasks.create_task(self._replays.run(client, held.cursor, held.seq), name=f"replay to {client.name}")
            return
        if client.replaying:
            live = self._audiences.of(client)
            if live is not None:
                self._join(client, replace(live.interest, pairs=live.interest.pairs & interest.pairs))
            if snapshot:
                client.send_history([event.without_cursor() for event in self.book.snapshot(added)])
            return
        # A price that ``max_hz`` holds back for the old interest would go out to others only.
        held_back = self._audiences.held_back(client) & interest.pairs
        self._audiences.send_snapshot(client, self.book.snapshot(added | held_back if snapshot else held_back))
        self._join(client, interest)

    def _go_live(self, client: Subscription, lost: bool) -> None:
        client.end_replay(cursor_order(self.cursor))
        if lost or client.interest.max_hz is not None:
            self._audiences.send_snapshot(client, self.book.snapshot(client.interest.pairs))
        self._join(client, client.interest)

    def _join(self, client: Subscription, interest: Interest) -> None:
        self._audiences.join(client, interest, cursor_order(self.cursor))
