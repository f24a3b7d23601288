"""Replays: send a client what it missed since a cursor, without a gap and without a repeat.

What a client's line cannot carry in a few seconds is not queued for it. The rest of such a replay goes through the client's
outbox, which keeps the newest price of each pair and every alert, and drains as the line has room.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from app.errors import LogUnavailable
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import Event
from app.realtime.hub.audience import Audiences
from app.realtime.hub.delivery import Direct
from app.realtime.hub.follower import Follower
from app.realtime.hub.ring import Held, Ring
from app.realtime.hub.statistics import CutReason
from app.realtime.hub.subscription import Subscription
from app.realtime.log.log import EventLog

_FIRST_PAGE, _PAGE, _THINNED_PAGE = 8, 64, 512
"""Events of the first page, which shows what the line carries, of a later one, and of one that is conflated."""

_LEAST_PAGE = 2
"""A gap and the event after it."""

_CARRIED_WITHIN = 3.0
"""Seconds in which a line that is known to be slow has to carry what is left of a replay."""

_SLOW_PAGE = 1.0
"""Seconds that the first pages may take; a line on which one takes longer is slow."""

_AT_ONCE = 8
"""Replays that send a page in one turn of the event loop; the live events of all clients come between turns."""

_logger = logging.getLogger(__name__)


class _Course:
    """How far a replay has come, and what its pages have shown of the client's line."""

    def __init__(self, place: Held) -> None:
        self.place = place
        self.page = _FIRST_PAGE
        self._read = 0
        self._sent = 0
        self._rate: float | None = None

    def advance(self, place: Held, read: int, sent: int) -> None:
        """Note that ``read`` events up to a place were read, and ``sent`` bytes of them sent."""
        self.place = place
        self._read += read
        self._sent += sent

    async def finish_page(self, client: Subscription) -> None:
        """Wait until the client has taken the page, and choose the size of the next one."""
        began = time.monotonic()
        await client.drained()
        if self.page < _PAGE and client.direct is not None:
            await self._arrival(client, client.direct, began)
        rate = client.rate or self._rate
        if rate is None:
            self.page = min(2 * self.page, _PAGE)
        elif self._sent:
            self.page = max(_LEAST_PAGE, min(_PAGE, int(rate * self._read / self._sent)))

    async def _arrival(self, client: Subscription, direct: Direct, began: float) -> None:
        """Wait until the client has all that was written to it, as long as its line has not shown what it carries."""
        pause, before = 0.002, direct.in_flight
        while (left := direct.in_flight) and not client.closed and client.rate is None:
            if (elapsed := time.monotonic() - began) > _SLOW_PAGE:
                self._rate = max(1.0, (before - left) / elapsed)
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.1)

    def is_too_long(self, client: Subscription, left: int) -> bool:
        """Return whether the client's line is slow, and ``left`` more events would take too long on it."""
        rate = client.rate or self._rate
        return rate is not None and self._read > 0 and left * self._sent / self._read > rate * _CARRIED_WITHIN


class Replays:
    """Replays events to clients: from the log, at each client's pace, until the ring holds the rest.

    The last page is read from the ring and sent in the same synchronous step in which the client goes live. Until then
    nothing is registered for it, so however long a replay takes it needs no buffer.
    """

    def __init__(
        self,
        log: EventLog,
        ring: Ring,
        follower: Follower,
        audiences: Audiences,
        sees: Callable[[Event], bool],
        left: Callable[[int], int],
        go_live: Callable[[Subscription, bool], None],
    ) -> None:
        """``sees`` says whether clients may see an event, ``left`` how many follow a sequence number. ``go_live`` is called with
        the client and whether events were lost, in the step that sends the last page.
        """
        self._log = log
        self._ring = ring
        self._follower = follower
        self._audiences = audiences
        self._sees = sees
        self._left = left
        self._go_live = go_live
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def start(self, tasks: asyncio.TaskGroup, client: Subscription, held: Held, *, fallen_back: bool = False) -> None:
        """Replay to a client in a task of its own; ``fallen_back`` is whether it did not ask for that."""
        client.start_replay(held.cursor, held.seq, fallen_back=fallen_back)
        tasks.create_task(self.run(client, held), name=f"replay to {client.name}")

    async def run(self, client: Subscription, held: Held) -> None:
        """Send a client what follows a cursor, then let it go live."""
        try:
            await self._catch_up(client, held)
        except Exception:
            # This runs in the hub's task group: an exception would end the hub, and with it every client.
            _logger.exception("replaying to client %s failed", client.name)
            client.cut(CutReason.REPLAY_FAILED)

    async def _catch_up(self, client: Subscription, held: Held) -> None:
        course, thinned_page = _Course(held), _THINNED_PAGE
        lost = False
        await client.drained()  # one that has fallen back has an outbox
        while client in self._audiences:
            # After an outage all clients resume at once. Taking turns, they do not delay the live events of the others.
            async with self._turns:
                await asyncio.sleep(0)
                before = course.place
                events, place, complete = await self._page(before, thinned_page if client.thins else course.page)
                if client not in self._audiences:
                    return
                past = self._past(client, events)
                has_to_wait = client.thins and not client.has_place(past)
                if not has_to_wait:
                    course.advance(place, len(events), sum(len(event.payload) for event in past))
                    lost = lost or any(event.type == EventType.GAP for event in events)
                    self._send(client, past, before.cursor)
                    if complete:
                        self._go_live(client, lost)
                        return
            if has_to_wait:
                if client.waiting:
                    await client.changed()
                elif thinned_page == _LEAST_PAGE:
                    client.cut(CutReason.LANE_FULL)
                thinned_page = max(_LEAST_PAGE, thinned_page // 2)
                continue
            if not events:  # nothing to read yet: wait for the follower
                await self._follower.next_move()
            if not client.thins:
                await course.finish_page(client)
            if not client.thins:
                client.replayed_to(place.cursor, place.seq)
                if course.is_too_long(client, self._left(place.seq)):
                    client.thin()

    async def _page(self, place: Held, limit: int) -> tuple[list[Event], Held, bool]:
        """Return events after a place, the place that they end at, and whether those are all: the client can go live."""
        if (found := self._ring.after(place.cursor, limit)) is not None:
            events, complete = found
            return events, Held(events[-1].id, events[-1].seq) if events else place, complete
        reader = self._log.reader(place.cursor, place.seq)
        try:
            events = await reader.read(limit)
        except LogUnavailable:
            events = []  # go on when the follower does
        return events, Held(reader.cursor, reader.seq or 0), False

    def _send(self, client: Subscription, past: Sequence[Event], before: str) -> None:
        """Send the next events of a replay; ``before`` is the cursor before them."""
        if not client.thins:
            client.send_page(past)
        elif past:
            if client.direct is not None and not client.paused:
                client.direct.hold()
            client.keep(past, before)

    def _past(self, client: Subscription, events: Sequence[Event]) -> list[Event]:
        """Return the past events that a client wants."""
        live = self._audiences.of(client)
        past = [event for event in events if self._sees(event) and client.interest.wants(event)]
        if client.interest.max_hz is not None:  # it asked for state, not for history: a snapshot follows
            past = [event for event in past if not event.is_price]
        if live is not None:
            # The pairs that it followed before are live all the while. What is replayed of the others is older than what
            # it has seen of those, so it carries no id: ids only rise.
            past = [event.without_cursor() for event in past if not live.interest.wants(event)]
        return past
