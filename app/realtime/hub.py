"""The hub: reads the log once and hands every event to every client it concerns, without ever waiting for one."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import orjson

from app.errors import InvalidCursor, LogUnavailable, NotReady, TooManyClients
from app.market.clock import rfc3339, utc_now
from app.market.pair import TrackedPairs
from app.realtime.audience import Audience
from app.realtime.book import PriceBook
from app.realtime.event import ORIGIN, VISIBLE, Event, EventType, canonical_cursor, cursor_order
from app.realtime.follower import Follower
from app.realtime.frames import Framing
from app.realtime.log import EventLog
from app.realtime.ring import Ring
from app.realtime.subscription import NOTHING_YET, Bounds, Interest, Subscription, Wrap, Write

_logger = logging.getLogger(__name__)

_PAGE = 64


@dataclass(frozen=True, slots=True)
class FeedSign:
    """What the feed last said of itself: its source, and what each of several sources is (``active``, ``standby`` …)."""

    source: str
    simulated: bool
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RecorderSign:
    """What the recorder last said of itself: how far in the log it had come, and how many events it could not record."""

    order: tuple[int, int]
    seq: int
    lost: int


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
    ) -> None:
        """``heartbeat_interval`` is in seconds, ``ring_size`` in events."""
        self.log = log
        self.pairs = pairs
        self.book = PriceBook(pairs.names)
        self.max_clients = max_clients
        self.bounds = bounds or Bounds()
        self.gaps = 0
        self.cut_off: Counter[str] = Counter()
        self.feed: FeedSign | None = None
        self.silent: frozenset[str] = frozenset()  # sources from which nothing comes, as the feed says
        self.recorder: RecorderSign | None = None
        self.seq = 0
        self._heartbeat_interval = heartbeat_interval
        self._clock = time.monotonic
        self._ring = Ring(ring_size)
        self._follower = Follower(log, self.dispatch, heartbeat_interval)
        self._clients: dict[Subscription, Audience | None] = {}
        self._audiences: dict[tuple[object, Interest], Audience] = {}
        self._stopping = False
        self._tasks: asyncio.TaskGroup | None = None

    # ---------------------------------------------------------------- running

    async def run(self) -> None:
        """Follow the log until cancelled. Loss of Redis is survived; any other failure ends the hub and is raised."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._follower.run(), name="hub follower")
            tasks.create_task(self._keep_house(), name="hub housekeeping")

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
        for client in list(self._clients):
            client.finish()

    async def _keep_house(self) -> None:
        heartbeat_at = self._clock() + self._heartbeat_interval
        while True:
            await asyncio.sleep(min(1.0, self._heartbeat_interval))
            now = self._clock()
            for client in list(self._clients):
                if client.write is None and client.conflating != (client.lagging_since is not None):
                    client.lagging_since = now if client.conflating else None
                if client.lagging_since is not None and now - client.lagging_since > client.bounds.lagging_timeout:
                    self.cut(client, "lagging for too long")
            if now >= heartbeat_at:
                heartbeat_at = now + self._heartbeat_interval
                self._send_heartbeats()

    def _send_heartbeats(self) -> None:
        """Tell every event stream that it lives and where it stands. One that lags stands further back: it hears nothing."""
        body = b'{"cursor":"%s","timestamp":"%s"}' % (self.cursor.encode(), rfc3339(utc_now()).encode())
        beat = Event(self.cursor, cursor_order(self.cursor), 1, EventType.HEARTBEAT, (), body, body)
        for client, audience in list(self._clients.items()):
            up_to_date = audience is not None and not client.replaying and not client.paused and not client.has_waiting_events
            if client.transport == "sse" and up_to_date:
                client.send_frame(client.framing.event(beat))

    # --------------------------------------------------------------- dispatch

    def dispatch(self, events: Sequence[Event]) -> None:
        """Hand the next events of the log to everyone they concern. One synchronous step; nobody is waited for."""
        position = self._ring.cursor
        visible = [event for event in events if self._take_in(event)]
        if visible and self._clients:
            frames: dict[object, dict[Event, bytes]] = {}
            for audience in list(self._audiences.values()):
                wanted = audience.select(visible)
                if wanted:
                    framed = frames.setdefault(audience.framing, {})
                    for event in wanted:
                        if event not in framed:
                            framed[event] = audience.framing.event(event)
                    audience.deliver(wanted, framed, position)
                self._release_later(audience)

    def _release_later(self, audience: Audience) -> None:
        """Set the timer for prices that ``max_hz`` holds back, one timer for the whole audience."""
        waits = None if audience.pacer is None else audience.pacer.waits
        if waits is not None and audience.timer is None:
            audience.timer = asyncio.get_running_loop().call_later(waits, self._release, audience)

    def _release(self, audience: Audience) -> None:
        audience.timer = None
        if audience and (events := audience.release()):
            audience.deliver(events, {event: audience.framing.event(event) for event in events}, self.cursor)
        self._release_later(audience)

    def _take_in(self, event: Event) -> bool:
        """Remember an event; True where clients may see it."""
        self._ring.append(event)
        self.seq = event.seq or self.seq
        if event.is_price:
            self.book.apply(event)
        elif event.type == EventType.GAP:
            self.gaps += 1
            _logger.warning("events were lost: %s", event.payload.decode())
        elif event.type == EventType.FEED_STATUS:
            status = orjson.loads(event.bare)
            others = self.silent - {status.get("source")}
            self.silent = others | {str(status.get("source"))} if status.get("status") == "silent" else others
        elif event.type == EventType.HEARTBEAT:
            self._hear(event)
        return self.sees(event)

    def sees(self, event: Event) -> bool:
        """True for the events that clients of this gateway may see: no heartbeats, and only pairs that are tracked."""
        if event.type not in VISIBLE:
            return False
        return not event.pairs or any(pair in self.pairs for pair in event.pairs)

    def _hear(self, event: Event) -> None:
        facts = orjson.loads(event.bare)
        try:
            match facts.get("role"):
                case "feed":
                    source, simulated = str(facts["source"]), bool(facts["simulated"])
                    self.feed = FeedSign(source, simulated, dict(facts.get("sources") or {source: "active"}))
                    self.silent = frozenset(name for name, state in self.feed.sources.items() if state == "silent")
                case "recorder":
                    self.recorder = RecorderSign(cursor_order(facts["cursor"]), int(facts["seq"]), int(facts["lost"]))
        except (KeyError, TypeError, ValueError, InvalidCursor):
            _logger.warning("heartbeat %s says nothing that can be understood", event.id)

    # ---------------------------------------------------------------- clients

    @property
    def clients(self) -> Iterable[Subscription]:
        """Every streaming client of this process."""
        return self._clients.keys()

    @property
    def client_count(self) -> int:
        """How many streaming clients this process serves."""
        return len(self._clients)

    def connect(self, client: Subscription) -> None:
        """Take a client in; until it subscribes it hears only what concerns everyone. Raises TooManyClients, NotReady."""
        if not self._follower.is_caught_up or self._stopping:
            raise NotReady(f"Try again shortly: {self.unready}")
        if len(self._clients) >= self.max_clients:
            raise TooManyClients(f"Max clients reached: this gateway serves {self.max_clients} at once")
        self._clients[client] = None
        client.overflow = lambda reason: self.cut(client, reason)
        self._join(client, NOTHING_YET)

    def disconnect(self, client: Subscription) -> None:
        """Forget a client that is gone."""
        if client in self._clients:
            self._leave(client)
            del self._clients[client]
            client.close()

    def cut(self, client: Subscription, reason: str) -> None:
        """End a client's connection at once."""
        if client in self._clients:
            self.cut_off[reason] += 1
            _logger.info("client %s (%s) is cut off: %s", client.name, client.transport, reason)
            self.disconnect(client)
            client.cut(reason)

    def pause(self, client: Subscription) -> None:
        """A direct client's connection is full: from here on it lags."""
        client.paused = True
        client.lagging_since = self._clock()
        client.position = self.cursor
        self._rejoin(client)

    def resume(self, client: Subscription) -> None:
        """A lagging client's connection has room again: it gets what waits, and is live."""
        client.paused = False
        client.lagging_since = None
        client.flush()
        if not client.paused:
            client.notify_drained()
            self._rejoin(client)

    def become_direct(self, client: Subscription, framing: Framing, wrap: Wrap, write: Write, transport: str) -> None:
        """A client's bytes go to a connection from here on; what waited goes first. It may not have connected yet."""
        audience = self._clients.get(client)
        if audience is not None:
            self._leave(client)
        client.become_direct(framing, wrap, write, transport)
        if audience is not None:
            self._join(client, audience.interest)

    def position_of(self, client: Subscription) -> str:
        """The cursor a client stands at: the hub's own, or an older one where events still wait for it."""
        return client.position if client.replaying or client.has_waiting_events else self.cursor

    # ---------------------------------------------------------- subscriptions

    async def holds(self, cursor: object) -> Held | None:
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
        added = interest.pairs - client.interest.pairs
        dropped = client.interest.pairs - interest.pairs
        first = not client.interest.follows
        client.interest = interest
        client.forget(dropped)
        if held is not None and not client.replaying:
            client.replaying, client.position = True, held.cursor
            if first:
                self._leave(client)
            assert self._tasks is not None
            self._tasks.create_task(self._replay(client, held), name=f"replay to {client.name}")
            return
        if client.replaying:
            live = self._clients[client]
            if live is not None:
                self._join(client, replace(live.interest, pairs=live.interest.pairs & interest.pairs))
            if snapshot:
                client.send_history([event.without_cursor() for event in self.book.snapshot(added)])
            return
        # A price that ``max_hz`` holds back for the old interest would go out to others only.
        held_back = self._held_back(client) & interest.pairs
        self._send_snapshot(client, added | held_back if snapshot else held_back)
        self._join(client, interest)

    async def _replay(self, client: Subscription, held: Held) -> None:
        try:
            await self._catch_up(client, held)
        except Exception:
            # One client's replay must not end the hub for all.
            _logger.exception("replaying to client %s failed", client.name)
            self.cut(client, "replay failed")

    async def _catch_up(self, client: Subscription, held: Held) -> None:
        """Send a client what it missed since the cursor, then let it go live without a gap and without a repeat.

        History comes from the log, as fast as the client takes it, until the ring holds the rest; the last piece and the
        change to live are one synchronous step.
        """
        reader = self.log.reader(held.cursor, held.seq)
        lost = False
        while client in self._clients:
            if (found := self._ring.after(reader.cursor, _PAGE)) is not None:
                events, complete = found
                lost = self._send_past(client, events) or lost
                if complete:
                    self._go_live(client, lost)
                    return
                reader = self.log.reader(events[-1].id, events[-1].seq)
            else:
                try:
                    events = await reader.read(_PAGE)
                except LogUnavailable:
                    events = []
                if client in self._clients:
                    lost = self._send_past(client, events) or lost
                if not events:
                    await self._follower.next_move()
            client.position = reader.cursor
            await client.drained()

    def _send_past(self, client: Subscription, events: Sequence[Event]) -> bool:
        """Send those of the past events that a client wants; True where some were lost."""
        live = self._clients[client]
        past = [event for event in events if self.sees(event) and client.interest.wants(event)]
        if client.interest.max_hz is not None:
            past = [event for event in past if not event.is_price]
        if live is not None:
            # The client hears the pairs it had before as they happen. What it asked for in addition lies before them.
            past = [event.without_cursor() for event in past if not live.interest.wants(event)]
        client.send_history(past)
        return any(event.type == EventType.GAP for event in events)

    def _go_live(self, client: Subscription, lost: bool) -> None:
        client.replaying = False
        client.seen = cursor_order(self.cursor)
        if lost or client.interest.max_hz is not None:
            self._send_snapshot(client, client.interest.pairs)
        self._join(client, client.interest)

    def _held_back(self, client: Subscription) -> Set[str]:
        """The pairs of which a price waits for this client and others of its interest."""
        audience = self._clients[client]
        return frozenset() if audience is None or audience.pacer is None else audience.pacer.held

    def _send_snapshot(self, client: Subscription, pairs: Iterable[str]) -> None:
        """Send the newest prices, with their ids where the client has seen nothing newer."""
        audience = self._audiences.get((client.framing, client.interest))
        seen = self._seen(client)
        snapshot = []
        for event in self.book.snapshot(pairs):
            held_back = audience is not None and audience.pacer is not None and event.pairs[0] in audience.pacer.held
            if event.order > seen and not held_back:
                client.seen = max(client.seen, event.order)
                snapshot.append(event)
            else:
                snapshot.append(event.without_cursor())
        client.send_history(snapshot)

    def _seen(self, client: Subscription) -> tuple[int, int]:
        """The order of the newest event the client can have got with its id."""
        audience = self._clients[client]
        heard = (0, 0) if audience is None or not audience.interest.follows else audience.last
        return max(client.seen, heard if heard > client.joined else (0, 0))

    def _join(self, client: Subscription, interest: Interest) -> None:
        self._leave(client)
        key = (client.framing, interest)
        audience = self._audiences.get(key)
        if audience is None:
            audience = self._audiences[key] = Audience(client.framing, interest, self._clock)
        client.joined = cursor_order(self.cursor)
        audience.add(client)
        self._clients[client] = audience

    def _leave(self, client: Subscription) -> None:
        audience = self._clients[client]
        if audience is not None:
            client.seen = self._seen(client)
            audience.remove(client)
            if not audience:
                del self._audiences[audience.framing, audience.interest]
            self._clients[client] = None

    def _rejoin(self, client: Subscription) -> None:
        audience = self._clients.get(client)
        if audience is not None:
            audience.remove(client)
            audience.add(client)
