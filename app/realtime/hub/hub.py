"""The hub: reads the log once and sends every event to the clients that it concerns, without waiting for any of them."""

import asyncio
import logging
import time
from collections.abc import Collection, Sequence, Set
from dataclasses import replace
from functools import partial

from app.errors import InvalidCursor, NotReady, TooManyClients
from app.market.clock import parse_time
from app.market.pair import TrackedPairs
from app.realtime.contract.catalogue import VISIBLE, EventType
from app.realtime.contract.event import ORIGIN, Event, canonical_cursor, cursor_order
from app.realtime.hub.audience import Audiences
from app.realtime.hub.book import PriceBook
from app.realtime.hub.delivery import Wired
from app.realtime.hub.follower import Follower
from app.realtime.hub.frames import Framing
from app.realtime.hub.replay import Replays
from app.realtime.hub.ring import Held, Ring
from app.realtime.hub.signs import Signs
from app.realtime.hub.statistics import CutReason, Refusal, Resume, Statistics, StatisticsTable
from app.realtime.hub.subscription import NOTHING_YET, Bounds, Interest, Subscription, Wrap
from app.realtime.log.log import EventLog

_logger = logging.getLogger(__name__)


class Hub:
    """The streaming clients of this process, its ring and its price book, all fed by one reader of the log.

    Everything that changes what a client gets (``dispatch``, ``follow``, the step in which a replay ends, …) is one
    synchronous step. So between a snapshot or the end of a replay and the first live event nothing can be lost or repeated.
    """

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

        ``max_clients`` limits the clients of all processes that share the table of ``statistics``. Without ``statistics``
        this process has a table of its own.
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
        self._replays = Replays(log, self._ring, self._follower, self._audiences, self.sees, self._left, self._go_live)
        self._before = Held(ORIGIN, 0)
        self._stopping = False
        self._tasks: asyncio.TaskGroup | None = None

    # ---------------------------------------------------------------- running

    async def run(self) -> None:
        """Follow the log until cancelled. Survive the loss of Redis; raise any other failure."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._follower.run(), name="hub follower")
                tasks.create_task(self._do_housekeeping(), name="hub housekeeping")
        finally:
            _logger.info("the hub has stopped: %s", self.statistics)

    @property
    def cursor(self) -> str:
        """The id of the newest event this process has read."""
        return self._follower.cursor

    @property
    def log_fault(self) -> str | None:
        """Why the log cannot be followed, None while it can."""
        return self._follower.fault

    @property
    def unready(self) -> str | None:
        """Why this process is not ready for new clients, None while it is."""
        if self._stopping:
            return "the gateway is stopping"
        if not self._follower.is_caught_up:
            return "the gateway is catching up with the log"
        return self._follower.fault

    async def caught_up(self) -> None:
        """Wait until every event that the log retained at the start has been read."""
        await self._follower.caught_up()

    def stop(self) -> None:
        """Refuse new clients and end the connections of the others politely."""
        self._stopping = True
        for client in list(self.clients):
            client.finish()

    async def _do_housekeeping(self) -> None:
        heartbeat_at = self._clock() + self._heartbeat_interval
        while True:
            due = self._clock() + min(1.0, self._heartbeat_interval)
            await asyncio.sleep(due - self._clock())
            now = self._clock()
            self.statistics.loop_lag.set(max(0.0, now - due))
            self._check_lag(now)
            self.statistics.take_process()
            if now >= heartbeat_at:
                heartbeat_at = now + self._heartbeat_interval
                self._audiences.send_heartbeats(self.cursor)

    def _check_lag(self, now: float) -> None:
        """Cut off the clients that have lagged for too long; count the others that lag, and the bytes that wait."""
        lagging = buffered = 0
        for client in list(self.clients):
            if not client.may_have_backlog and client.thinning is None:
                continue
            client.check_lag(now)
            self._tell(client)
            if client.has_stalled(now):
                self.cut(client, CutReason.LAGGING)
            else:
                lagging += client.is_lagging
                buffered += client.waiting_bytes
        self.statistics.lagging.set(lagging)
        self.statistics.buffered.set(buffered)

    # --------------------------------------------------------------- dispatch

    def dispatch(self, events: Sequence[Event]) -> None:
        """Send the next events of the log to the clients that they concern. One synchronous step that waits for no client.

        Each event is framed once for each framing, and each audience is written one piece.
        """
        position = self._ring.cursor
        self._before = Held(position, self.seq)
        visible = [event for event in events if self._take_in(event)]
        if visible and self.clients:
            frames: dict[object, dict[Event, bytes]] = {}
            for audience in list(self._audiences.all):  # a write may cut a client off, and end an audience
                wanted = audience.select(visible)
                if wanted:
                    framed = frames.setdefault(audience.framing, {})
                    for event in wanted:
                        if event not in framed:
                            framed[event] = audience.framing.event(event)
                    audience.deliver(wanted, framed, position)
                audience.release_later(self._follower)
            self._time_price(visible)
        self.statistics.take_batch(events, live=self._follower.is_caught_up)

    def _time_price(self, events: Sequence[Event]) -> None:
        """Record the age of a batch's newest price on the market, now that it is sent."""
        newest = next((event for event in reversed(events) if event.is_price), None)
        if newest is not None:
            self.statistics.take_price(parse_time(newest.body["price"]["time"]).timestamp())

    def _take_in(self, event: Event) -> bool:
        """Update the ring and the book with an event; return whether clients may see it."""
        self._ring.append(event)
        self.seq = event.seq or self.seq
        if event.is_price:
            self.book.apply(event)
        elif event.type == EventType.GAP:
            self.statistics.gaps.add()
            _logger.warning("gap in the log: %s", event.payload.decode())
        elif event.type in (EventType.FEED_STATUS, EventType.HEARTBEAT):
            self.signs.hear(event)
        return self.sees(event)

    def sees(self, event: Event) -> bool:
        """Return whether clients may see the event: it is no heartbeat, and concerns a tracked pair or everyone."""
        if event.type not in VISIBLE:
            return False
        return not event.pairs or any(pair in self.pairs for pair in event.pairs)

    # ---------------------------------------------------------------- clients

    @property
    def clients(self) -> Collection[Subscription]:
        """Every streaming client of this process."""
        return self._audiences.clients

    def connect(self, client: Subscription) -> None:
        """Serve a client. Until it subscribes it gets only the events that concern everyone.

        Raises TooManyClients, NotReady.
        """
        statistics = self.statistics
        if not self._follower.is_caught_up or self._stopping:
            statistics.refused[Refusal.NOT_READY].add()
            raise NotReady(f"Try again shortly: {self.unready}")
        # Count first, check second: otherwise two processes could both see the last place free and both give it away.
        client.enter(statistics)
        if statistics.table.total_clients > self.max_clients:
            client.leave()
            statistics.refused[Refusal.FULL].add()
            raise TooManyClients(f"Max clients reached: this gateway serves {self.max_clients} at once")
        statistics.connections[client.transport].add()
        client.begin(self._clock(), self.cut, self._fall_back)
        self._join(client, NOTHING_YET)

    def disconnect(self, client: Subscription) -> None:
        """Forget a client that has left; do nothing for one that is not served."""
        if client in self._audiences:
            self._audiences.forget(client)
            self.statistics.subscriptions.add(-len(client.interest.pairs))
            client.close()

    def cut(self, client: Subscription, reason: str) -> None:
        """End a client's connection at once; do nothing for one that is not served."""
        if client in self._audiences:
            self.statistics.cut_off[CutReason.of(reason)].add()
            _logger.info("cutting off client %s (%s): %s", client.name, client.transport, reason)
            self.disconnect(client)
            client.end(reason)

    def pause(self, client: Subscription) -> None:
        """Let a direct client lag: its connection is full."""
        if not client.paused:
            client.pause(self._clock(), self.cursor)
            self._audiences.rejoin(client)

    def resume(self, client: Subscription) -> None:
        """Write what waits for a client, as its connection has room, and let it be live again once nothing waits."""
        if client.paused:
            client.resume(partial(self._notice, client))
            if not client.paused:  # what waited may have filled the connection again
                self._audiences.rejoin(client)
        self._tell(client)

    def fetch(self, client: Subscription, most: int | None = None) -> list[bytes]:
        """Return the answer to a fetching client: frames of what waits, as its line can carry them, and at most ``most``.

        Without an answer it has to ask again when it is woken.
        """
        now = self._clock()
        frames = client.fetch(now, self._left(client.replayed) if client.replaying else 0, most)
        self._tell(client)
        return frames

    def _tell(self, client: Subscription) -> None:
        """Tell a client what was left out for it, if that is due."""
        if (body := self._notice(client)) is not None:
            client.send_message("conflated", body)

    def _notice(self, client: Subscription) -> bytes | None:
        return client.notice(self.pairs.names, self.cursor, self._clock())

    def _fall_back(self, client: Subscription, position: str) -> None:
        """Replay to a live client what follows a cursor: it does not fit into the client's outbox."""
        held = self._before if position == self._before.cursor else Held(position, self._ring.seq(position) or 0)
        self._audiences.leave(client)
        assert self._tasks is not None
        self._replays.start(self._tasks, client, held, fallen_back=True)

    def _left(self, seq: int) -> int:
        """Return how many events this process has read after one with this sequence number."""
        return max(0, self.seq - seq)

    def become_direct(
        self,
        client: Subscription,
        framing: Framing,
        wrap: Wrap,
        connection: asyncio.WriteTransport,
        transport: str,
        wire: Wired | None = None,
    ) -> None:
        """Write to a connection from now on what a fetching client would have fetched, beginning with what waits for it.

        ``wrap`` turns frames of the old transport into frames of the new one. The client need not be served yet. Open the
        wire first: if the connection is full already, the client is paused, and only the wire can report room.
        """
        audience = self._audiences.of(client)
        if audience is not None:
            self._audiences.leave(client)  # an audience has one framing
        if client.become_direct(framing, wrap, connection, transport, wire):
            client.pause(self._clock(), self.cursor)
        if audience is not None:
            self._join(client, audience.interest)

    def position_of(self, client: Subscription) -> str:
        """Return the cursor that a client stands at: the hub's, or an older one while events wait or are replayed."""
        return client.position if client.replaying or client.has_waiting_events else self.cursor

    def events_since(self, cursor: str) -> int | None:
        """Return how many events this process has read after a cursor, None where the ring does not reach back to it."""
        seq = self._ring.seq(cursor)
        return None if seq is None else max(0, self.seq - seq)

    def event_rate(self) -> float:
        """Return the events read a second, over the last ten seconds or as far back as the ring reaches."""
        return self._ring.rate(time.time())

    # ---------------------------------------------------------- subscriptions

    async def holds(self, cursor: object) -> Held | None:
        """As ``find``, for the cursor that a streaming client resumes from: the outcome is counted.

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
        """Return the place of a cursor, None where events after it are missing.

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
        """Change what a client gets, in one synchronous step.

        With ``held`` (from ``holds``) the client gets everything after that cursor and is live then. Without it, the client
        gets the newest price of each pair that is new to it, unless ``snapshot`` is false, and is live at once.
        """
        before = client.interest
        added = interest.pairs - before.pairs
        client.follow(interest)
        self.statistics.subscriptions.add(len(interest.pairs) - len(before.pairs))
        if held is not None and not client.replaying:
            # A client that was live stays in its audience: what it subscribed to before goes on meanwhile.
            if not before.follows:
                self._audiences.leave(client)
            elif interest.format is not before.format:
                self._move(client, replace(before, format=interest.format), frozenset())
            assert self._tasks is not None
            self._replays.start(self._tasks, client, held)
            return
        if client.replaying:
            live = self._audiences.of(client)
            if live is not None:
                # The replay brings the pairs that were added. Until it ends, only those that were live before stay live.
                live_pairs = live.interest.pairs & interest.pairs
                self._join(client, replace(live.interest, pairs=live_pairs, format=interest.format))
            if snapshot:
                # Without ids: the events that the replay has yet to bring are older than these.
                client.send_history([event.without_cursor() for event in self.book.snapshot(added)])
            return
        self._move(client, interest, added if snapshot else frozenset())

    def _move(self, client: Subscription, interest: Interest, snapshot_of: Set[str]) -> None:
        """Let a client be live in another audience, after a snapshot of some pairs."""
        # A price that ``max_hz`` holds back would be lost to this client with the audience that it leaves: send it now.
        held_back = self._audiences.held_back(client) & interest.pairs
        self._audiences.send_snapshot(client, self.book.snapshot(snapshot_of | held_back))
        self._join(client, interest)

    def _go_live(self, client: Subscription, lost: bool) -> None:
        """Let a client be live after its replay; ``lost`` is whether events were missing from it."""
        client.end_replay(cursor_order(self.cursor))
        # After a gap the prices may be old, and a paced replay has none.
        if lost or client.interest.max_hz is not None:
            self._audiences.send_snapshot(client, self.book.snapshot(client.interest.pairs))
        self._join(client, client.interest)
        self._tell(client)

    def _join(self, client: Subscription, interest: Interest) -> None:
        self._audiences.join(client, interest, cursor_order(self.cursor))
