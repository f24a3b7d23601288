"""Replays: what brings a client from a cursor to the present without a gap and without a repeat."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from app.errors import LogUnavailable
from app.realtime.contract.event import Event, EventType
from app.realtime.hub.audience import Audiences
from app.realtime.hub.follower import Follower
from app.realtime.hub.ring import Ring
from app.realtime.hub.statistics import CutReason
from app.realtime.hub.subscription import Subscription
from app.realtime.log.log import EventLog

_PAGE = 64

_AT_ONCE = 8
"""Replays that send a page before live events have their turn again."""

_logger = logging.getLogger(__name__)


class Replays:
    """Sends clients what they missed: out of the log, as fast as they take it, until the ring holds the rest."""

    def __init__(
        self,
        log: EventLog,
        ring: Ring,
        follower: Follower,
        audiences: Audiences,
        sees: Callable[[Event], bool],
        go_live: Callable[[Subscription, bool], None],
    ) -> None:
        """``sees`` tells what clients may see. ``go_live`` is called in one synchronous step with the last piece that is sent,
        with the client and whether events were lost on the way."""
        self._log = log
        self._ring = ring
        self._follower = follower
        self._audiences = audiences
        self._sees = sees
        self._go_live = go_live
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def run(self, client: Subscription, cursor: str, seq: int) -> None:
        """Send a client what follows the cursor, whose sequence number is ``seq``, and let it go live."""
        try:
            await self._catch_up(client, cursor, seq)
        except Exception:
            # One client's replay must not end the hub for all.
            _logger.exception("replaying to client %s failed", client.name)
            client.cut(CutReason.REPLAY_FAILED)

    async def _catch_up(self, client: Subscription, cursor: str, seq: int) -> None:
        reader = self._log.reader(cursor, seq)
        lost = False
        while client in self._audiences:
            async with self._turns:  # so that a crowd that comes back at once does not keep those waiting who are here
                await asyncio.sleep(0)
                if client not in self._audiences:
                    return
                if (found := self._ring.after(reader.cursor, _PAGE)) is not None:
                    events, complete = found
                    lost = self._send_past(client, events) or lost
                    if complete:
                        self._go_live(client, lost)
                        return
                    reader = self._log.reader(events[-1].id, events[-1].seq)
                else:
                    try:
                        events = await reader.read(_PAGE)
                    except LogUnavailable:
                        events = []
                    if client in self._audiences:
                        lost = self._send_past(client, events) or lost
            if not events:
                await self._follower.next_move()
            client.replayed_to(reader.cursor)
            await client.drained()

    def _send_past(self, client: Subscription, events: Sequence[Event]) -> bool:
        """Send those of the past events that a client wants; True where some were lost."""
        live = self._audiences.of(client)
        past = [event for event in events if self._sees(event) and client.interest.wants(event)]
        if client.interest.max_hz is not None:
            past = [event for event in past if not event.is_price]
        if live is not None:
            # The client hears the pairs it had before as they happen. What it asked for in addition lies before them.
            past = [event.without_cursor() for event in past if not live.interest.wants(event)]
        client.send_history(past)
        return any(event.type == EventType.GAP for event in events)
