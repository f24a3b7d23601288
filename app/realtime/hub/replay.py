"""Replays: send a client what it missed since a cursor, without a gap and without a repeat."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from app.errors import LogUnavailable
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import Event
from app.realtime.hub.audience import Audiences
from app.realtime.hub.follower import Follower
from app.realtime.hub.ring import Held, Ring
from app.realtime.hub.statistics import CutReason
from app.realtime.hub.subscription import Subscription
from app.realtime.log.log import EventLog

_PAGE = 64

_AT_ONCE = 8
"""Replays that send a page in one turn of the event loop; the live events of all clients come between turns."""

_logger = logging.getLogger(__name__)


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
        go_live: Callable[[Subscription, bool], None],
    ) -> None:
        """``sees`` says whether clients may see an event. ``go_live`` is called with the client and whether events were lost,
        in the step that sends the last page.
        """
        self._log = log
        self._ring = ring
        self._follower = follower
        self._audiences = audiences
        self._sees = sees
        self._go_live = go_live
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def run(self, client: Subscription, held: Held) -> None:
        """Send a client what follows a cursor, then let it go live."""
        try:
            await self._catch_up(client, held)
        except Exception:
            # This runs in the hub's task group: an exception would end the hub, and with it every client.
            _logger.exception("replaying to client %s failed", client.name)
            client.cut(CutReason.REPLAY_FAILED)

    async def _catch_up(self, client: Subscription, held: Held) -> None:
        reader = self._log.reader(held.cursor, held.seq)
        lost = False
        while client in self._audiences:
            # After an outage all clients resume at once. Taking turns, they do not delay the live events of the others.
            async with self._turns:
                await asyncio.sleep(0)
                if client not in self._audiences:
                    return
                if (found := self._ring.after(reader.cursor, _PAGE)) is not None:
                    events, complete = found
                    lost = self._send_past(client, events) or lost
                    if complete:
                        self._go_live(client, lost)
                        return
                    reader = self._log.reader(events[-1].id, events[-1].seq)  # the ring may have moved on by the next page
                else:
                    try:
                        events = await reader.read(_PAGE)
                    except LogUnavailable:
                        events = []  # go on when the follower does
                    if client in self._audiences:
                        lost = self._send_past(client, events) or lost
            if not events:  # nothing to read yet: wait for the follower
                await self._follower.next_move()
            client.replayed_to(reader.cursor)
            await client.drained()

    def _send_past(self, client: Subscription, events: Sequence[Event]) -> bool:
        """Send the past events that a client wants; return whether there was a gap among them."""
        live = self._audiences.of(client)
        past = [event for event in events if self._sees(event) and client.interest.wants(event)]
        if client.interest.max_hz is not None:  # it asked for state, not for history: a snapshot follows
            past = [event for event in past if not event.is_price]
        if live is not None:
            # The pairs that it followed before are live all the while. What is replayed of the others is older than what
            # it has seen of those, so it carries no id: ids only rise.
            past = [event.without_cursor() for event in past if not live.interest.wants(event)]
        client.send_history(past)
        return any(event.type == EventType.GAP for event in events)
