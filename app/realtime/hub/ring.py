"""The ring: the most recent events in memory, from which most clients resume without a query to Redis."""

from collections import deque
from dataclasses import dataclass
from itertools import islice, takewhile

from app.realtime.contract.event import ORIGIN, Event


@dataclass(frozen=True, slots=True)
class Held:
    """A cursor that can be resumed from: the log holds every event after it.

    ``seq`` is its sequence number; that of the next event is one more, or events are missing.
    """

    cursor: str
    seq: int


class Ring:
    """The newest events in the order of the log, gaps included. ``cursor`` is the id of the last.

    ``_place_after`` maps each cursor that can be resumed from to the place of the event that follows it. Places count all
    events ever appended.
    """

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._events: deque[Event] = deque()
        self._next_place = 0
        self._place_after: dict[str, int] = {ORIGIN: 0}
        self._seq: dict[str, int] = {ORIGIN: 0}
        self.cursor = ORIGIN

    def append(self, event: Event) -> None:
        """Append the next event. A gap is kept in its place, but is no cursor to resume from."""
        # A log whose first event is not number 1 has been trimmed: what followed ORIGIN is not all here.
        if self._next_place == 0 and event.seq != 1:
            self._forget(ORIGIN)
        if len(self._events) == self._size:
            self._forget_oldest()
        self._events.append(event)
        self._next_place += 1
        if event.is_cursor:
            self._seq[event.id] = event.seq
            self._place_after[event.id] = self._next_place
            self.cursor = event.id

    def after(self, cursor: str, limit: int) -> tuple[list[Event], bool] | None:
        """Return up to ``limit`` events after the cursor and whether those are all; None if the ring does not hold it.

        A page ends with an event that is a cursor, so that the next page can begin after it.
        """
        place = self._place_after.get(cursor)
        if place is None:
            return None
        skipped = place - (self._next_place - len(self._events))
        events = list(islice(self._events, skipped, skipped + limit))
        if events and not events[-1].is_cursor:
            events.pop()
        return events, place + len(events) == self._next_place

    def seq(self, cursor: str) -> int | None:
        """Return the sequence number of a cursor that the ring holds, None for any other."""
        return self._seq.get(cursor)

    def rate(self, now: float, seconds: float = 10) -> float:
        """Return the events a second over the last ``seconds``, or over as many as the ring reaches back.

        ``now`` is in Unix seconds.
        """
        start = (now - seconds) * 1000
        recent = [event.order[0] for event in takewhile(lambda event: event.order[0] > start, reversed(self._events))]
        if len(recent) == self._size:
            seconds = max(0.001, now - recent[-1] / 1000)
        return len(recent) / seconds

    def _forget_oldest(self) -> None:
        # The cursor before the oldest event goes with it: what the ring holds after that cursor is no longer complete.
        cursor, place = next(iter(self._place_after.items()))
        if place == self._next_place - len(self._events):
            self._forget(cursor)
        self._events.popleft()

    def _forget(self, cursor: str) -> None:
        del self._place_after[cursor]
        del self._seq[cursor]
