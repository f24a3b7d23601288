"""The backlog of one client: where it stands in the log while it is behind, what waits for it, and what was left out."""

import asyncio
import time
from collections.abc import Iterable, Sequence

import orjson

from app.market.clock import rfc3339, utc_now
from app.realtime.contract.answers import Conflated, Conflation
from app.realtime.contract.event import ORIGIN, Event, cursor_order
from app.realtime.hub.outbox import Bounds, Outbox
from app.realtime.hub.statistics import Statistics

_TELL_EVERY = 2.0
"""Seconds between two notices to a client that takes all that waits, time and again."""

_TELL_BEHIND_EVERY = 10.0
"""Seconds between two notices to a client that never does."""


class Thinning:
    """Prices that newer ones replaced before the client took them: their number, and what the client knows of it."""

    __slots__ = ("_confirmed", "_from", "_last", "_pairs", "_since", "_told", "_told_at", "count")

    def __init__(self) -> None:
        self.count = 0
        """Since the client connected."""
        self._told = 0
        self._told_at = time.monotonic() - _TELL_EVERY
        self._confirmed = 0
        self._pairs: set[str] = set()
        self._from = ""
        self._since = self._last = rfc3339(utc_now())

    def add(self, number: int, pairs: Iterable[str], position: str) -> None:
        """Count prices of these pairs; ``position`` is a cursor before all of them."""
        self._from = self._from or position
        self.count += number
        self._pairs.update(pairs)
        self._last = rfc3339(utc_now())

    def is_due(self, now: float, to: str, *, behind: bool) -> bool:
        """Return whether the client is to be told now that it may resume from ``to``; ``behind`` is whether anything waits."""
        if self.count == self._told or now - self._told_at < (_TELL_BEHIND_EVERY if behind else _TELL_EVERY):
            return False
        return not behind or cursor_order(to) > cursor_order(self._from)

    def tell(self, order: Iterable[str], to: str, now: float) -> bytes:
        """Return the body of ``conflated`` for what the client has not been told of, as JSON; it may resume from ``to``.

        ``order`` has the tracked pairs in their order.
        """
        notice = Conflated.model_validate(
            {
                "pairs": [pair for pair in order if pair in self._pairs],
                "count": self.count - self._told,
                "from": self._from,
                "to": to,
                "timestamp": rfc3339(utc_now()),
            }
        )
        self._told, self._told_at, self._from = self.count, now, ""
        self._pairs.clear()
        return orjson.dumps(notice.model_dump(by_alias=True))

    def confirm(self) -> int:
        """Return the number since this was last asked."""
        number, self._confirmed = self.count - self._confirmed, self.count
        return number

    @property
    def summary(self) -> Conflation:
        """The total, for the statistics that the client asks for."""
        return Conflation(count=self.count, since=self._since, last=self._last)


class Backlog:
    """What waits for a client and where the client stands meanwhile. A client that keeps up has no outbox.

    Attributes are read-only to other classes; methods change them.

    - ``position``: the cursor to resume from while events wait for the client or are replayed to it. Otherwise it is where
      the hub is. A replay is behind what comes live meanwhile, so only ``replayed_to`` moves the position then.
    - ``seen``: the order of the newest event that it has got with its id, as far as its audience does not know better.
    - ``replayed``: the sequence number that the replay has come to.
    - ``has_fallen_back``: whether the client did not ask for the replay: more waited for it than its outbox may hold.
    - ``thins``: whether the replay goes through the outbox, which conflates, because the line cannot carry all of it.
    - ``thinning``: what was left out for the client, None where nothing was.
    """

    __slots__ = (
        "_drained", "_lagging_since", "_latest", "_mark", "_outbox", "_statistics", "bounds", "closed", "has_fallen_back",
        "position", "replayed", "replaying", "seen", "thinning", "thins",
    )  # fmt: skip

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.position = self._mark = self._latest = ORIGIN
        self.seen = (0, 0)
        self.replaying = False
        self.replayed = 0
        self.has_fallen_back = False
        self.thins = False
        self.thinning: Thinning | None = None
        self.closed = False
        self._outbox: Outbox | None = None
        self._lagging_since: float | None = None
        self._statistics: Statistics | None = None
        self._drained: asyncio.Future[None] | None = None

    # ---------------------------------------------------------- where it stands

    def start_replay(self, cursor: str, seq: int = 0, *, fallen_back: bool = False) -> None:
        """Note that the events after the cursor, whose sequence number is ``seq``, are being replayed to the client."""
        self.replaying, self.has_fallen_back = True, fallen_back
        self.replayed_to(cursor, seq)

    def replayed_to(self, cursor: str, seq: int = 0) -> None:
        """Note that the client has been sent all that it wants up to the cursor, whose sequence number is ``seq``."""
        self.position = self._mark = cursor
        self.replayed = seq

    def mark_seen(self, order: tuple[int, int]) -> None:
        """Note that the client has got the event of this order with its id."""
        self.seen = max(self.seen, order)

    def end_replay(self, order: tuple[int, int]) -> None:
        """Note that the replay has reached the hub, whose newest event is of this order."""
        self.replaying = self.thins = self.has_fallen_back = False
        self.mark_seen(order)
        self._notify()

    def thin(self) -> None:
        """Conflate what waits, and what a replay has yet to bring: the line cannot carry all of it."""
        if self._outbox is not None:
            self._merge(self._outbox.conflate())
        if self.replaying and not self.thins:
            self.thins = True
            self._notify()

    # -------------------------------------------------------------- what waits

    @property
    def has_waiting_events(self) -> bool:
        """True while an event waits in the outbox, so that the client stands at ``position``."""
        return self._outbox is not None and self._outbox.has_events

    @property
    def conflating(self) -> bool:
        """True while events wait and prices are being conflated among them."""
        return self._outbox is not None and self._outbox.conflating and self._outbox.has_events

    @property
    def waiting(self) -> int:
        """Events and answers that wait."""
        return 0 if self._outbox is None else len(self._outbox)

    @property
    def may_have_backlog(self) -> bool:
        """False only where nothing waits and the client does not lag; cheap, for the many clients of which that is true."""
        return self._outbox is not None or self._lagging_since is not None

    @property
    def is_lagging(self) -> bool:
        """True while the client does not take what is sent at its pace."""
        return self._lagging_since is not None

    def lag(self, now: float) -> float:
        """Return for how many seconds the client has lagged, 0 where it keeps up."""
        return 0.0 if self._lagging_since is None else max(0.0, now - self._lagging_since)

    def has_place(self, events: Sequence[Event]) -> bool:
        """Return whether an outbox that conflates has places for those of the events that are no prices."""
        return (self._open_outbox(conflating=True) if self._outbox is None else self._outbox).has_place(events)

    def discard(self) -> None:
        """Drop everything that waits."""
        self._outbox = None
        self._notify()

    async def changed(self) -> None:
        """Wait until the client has taken something, its replay ``thins``, or the client is gone."""
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._drained)  # others may wait for the same future

    def notice(self, order: Iterable[str], newest: str, now: float) -> bytes | None:
        """Return the body of ``conflated`` if the client is to be told now; ``newest`` is the hub's cursor.

        ``order`` has the tracked pairs in their order.
        """
        if self.thinning is None:
            return None
        behind = self.replaying or self.has_waiting_events
        to = self.position if behind else newest
        return self.thinning.tell(order, to, now) if self.thinning.is_due(now, to, behind=behind) else None

    def _open_outbox(self, *, conflating: bool) -> Outbox:
        bounds = self.bounds
        self._outbox = Outbox(bounds.alert_lane_events, bounds.alert_lane_bytes, conflating=conflating or self.thins)
        return self._outbox

    def _put(self, outbox: Outbox, events: Sequence[Event], position: str) -> None:
        """Put events into the outbox; ``position`` is the cursor before them."""
        self._latest = position
        self._merge(outbox.put(events))

    def _stand_at(self, position: str) -> None:
        """Note that the client has been sent everything up to a cursor."""
        self.position = self._mark = position

    def _unpack(self, room: int | None = None, most: int | None = None) -> tuple[list[bytes], list[Event]]:
        """Take the answers and events that are to be sent now, as ``Outbox.take``."""
        outbox = self._outbox
        if outbox is None:
            return [], []
        messages, events = outbox.take(room, most)
        if not outbox:
            self._outbox = None
        elif events and (self.thins or not self.replaying):
            lowest = outbox.lowest
            if lowest is not None and lowest > cursor_order(self._mark):
                # Everything up to the mark has been sent, or something newer.
                self.position, self._mark = self._mark, self._latest
        if messages or events:
            self._notify()
        return messages, events

    def _merge(self, number: int) -> None:
        """Count prices that newer ones have just replaced in the outbox."""
        if not number or self._outbox is None:
            return
        if self._statistics is not None:
            self._statistics.conflated.add(number)
        if self.thinning is None:
            self.thinning = Thinning()
        self.thinning.add(number, self._outbox.merged, self.position)
        self._outbox.merged.clear()

    def _notify(self) -> None:
        """Let the replay to this client go on."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
