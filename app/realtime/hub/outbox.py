"""The outbox: what waits for a client that cannot take it now, in bounded memory.

It drains in pieces, as its client's line carries them. An outbox that conflates keeps the newest price of each pair, and
everything else in order. The rule by which it drains:

- Each pair keeps its *place*: that of the first price that has waited since one was last sent. A newer price takes the place
  over. What is no price has a place of its own. Pieces are taken in the order of places, so a pair that ticks fast comes as
  often as the others, and what is sent of it is its newest price.
- An event goes with its id only if everything that still waits is newer. Otherwise it goes without one, as in a snapshot: a
  client that resumed from it would never get what waits. What is no price always finds everything older sent, so it keeps
  its id.
- A piece is sent in the order of the log. So ids only rise, whatever the sizes of the pieces, and no id comes twice.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from app.realtime.contract.event import Event

_AROUND = 48
"""Bytes that a frame has around the payload of an event, about."""

_LEAST = 512
"""Bytes of room with which one frame is taken, however large it is."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of what may wait for one client.

    ``send_buffer_bytes`` may be unsent before the client lags. While it lags, ``alert_lane_events`` alerts of
    ``alert_lane_bytes`` in all are kept for it, and as many answers; it is cut off when it has taken nothing for
    ``lagging_timeout`` seconds. A client that fetches lags when it has not done so for ``fetch_within`` seconds.
    """

    send_buffer_bytes: int = 65_536
    alert_lane_events: int = 1000
    lagging_timeout: float = 120
    alert_lane_bytes: int = 1_048_576
    fetch_within: float = 10


class Outbox:
    """Events and answers for one client.

    Until it is told to conflate, an outbox keeps every event; whoever fills it watches its ``size``. Conflating, it bounds
    itself to one price of each pair and a lane of ``lane_limit`` other events with ``lane_bytes``: ask ``has_place`` first.
    Answers have a lane of the same size. When that is full the outbox has ``overflowed``: nothing may be dropped from it,
    so its client has to be cut off.
    """

    __slots__ = (
        "_bytes",
        "_lane",
        "_lane_bytes",
        "_lane_events",
        "_lane_limit",
        "_message_bytes",
        "_messages",
        "_queue",
        "conflating",
        "merged",
        "overflowed",
    )

    def __init__(self, lane_limit: int, lane_bytes: int, *, conflating: bool) -> None:
        self._lane_limit = lane_limit
        self._lane_bytes = lane_bytes
        self._messages: deque[bytes] = deque()
        self._message_bytes = 0
        self._queue: OrderedDict[object, Event] = OrderedDict()  # by the name of its pair, or by itself, in the order of places
        self._bytes = 0
        self._lane = 0  # bytes of the events that are no prices
        self._lane_events = 0
        self.conflating = conflating
        self.merged: set[str] = set()
        """The pairs of prices that were replaced, until the reader clears it."""
        self.overflowed = False

    def __bool__(self) -> bool:
        return bool(self._messages or self._queue)

    def __len__(self) -> int:
        return len(self._queue) + len(self._messages)

    @property
    def has_events(self) -> bool:
        """True while an event waits, so that the client's cursor is older than the hub's."""
        return bool(self._queue)

    @property
    def size(self) -> int:
        """Bytes that wait: the payloads of events, and answers."""
        return self._bytes + self._message_bytes

    @property
    def lowest(self) -> tuple[int, int] | None:
        """The order of the oldest event that waits, None if none does."""
        return min((event.order for event in self._queue.values()), default=None)

    def has_place(self, events: Iterable[Event]) -> bool:
        """Return whether the lane has places for those of the events that are no prices."""
        others = [event for event in events if not event.is_price]
        return not others or (
            self._lane_events + len(others) <= self._lane_limit
            and self._lane + sum(len(event.payload) for event in others) <= self._lane_bytes
        )

    def put(self, events: Iterable[Event]) -> int:
        """Add events in the order of the log. Return how many prices were replaced by newer ones, 0 unless it conflates."""
        return sum(self._add(event) for event in events)

    def put_whole(self, events: Iterable[Event]) -> None:
        """Add a page of past events, no price of which is replaced. Do so only when nothing waits: that bounds it."""
        for event in events:
            if event not in self._queue:
                self._count(event, 1)
                self._queue[event] = event

    def put_message(self, frame: bytes) -> None:
        """Add an answer; answers are taken before events."""
        self._messages.append(frame)
        self._message_bytes += len(frame)
        if len(self._messages) > self._lane_limit or self._message_bytes > self._lane_bytes:
            self.overflowed = True

    def conflate(self) -> int:
        """Conflate from now on, beginning with what waits. Return how many prices were replaced."""
        if self.conflating:
            return 0
        self.conflating = True
        kept = list(self._queue.values())
        self._forget_events()
        return self.put(kept)

    def drop(self, unwanted: Callable[[Event], bool]) -> None:
        """Drop the events that the client no longer wants."""
        kept = [(key, event) for key, event in self._queue.items() if not unwanted(event)]
        self._forget_events()
        for key, event in kept:
            self._count(event, 1)
            self._queue[key] = event

    def take(self, room: int | None = None, most: int | None = None) -> tuple[list[bytes], list[Event]]:
        """Take answers and events, each in order: about ``room`` bytes of frames and at most ``most`` frames, by default all.

        Nothing is taken without room, and one frame with 512 bytes of it, whatever its size.
        """
        keys = list(self._queue)
        if room is None:
            # In the order of the log every event keeps its id. Taking turns matters only where the line cannot carry them all.
            keys.sort(key=lambda key: _in_log(self._queue[key]))
        sizes = [*map(len, self._messages), *(len(self._queue[key].payload) + _AROUND for key in keys)][:most]
        number = len(sizes) if room is None else _fitting(sizes, room)
        messages = [self._messages.popleft() for _ in range(min(number, len(self._messages)))]
        self._message_bytes -= sum(map(len, messages))
        events = [self._queue.pop(key) for key in keys[: number - len(messages)]]
        for event in events:
            self._count(event, -1)
        events.sort(key=_in_log)
        if (lowest := self.lowest) is not None:
            events = [event if event.order < lowest or not event.is_cursor else event.without_cursor() for event in events]
        return messages, events

    def _add(self, event: Event) -> int:
        key: object = event
        if self.conflating and event.is_price:
            key = event.pairs[0]
            waiting = self._queue.get(key)
            if waiting is not None:
                if waiting.order < event.order:  # a page of history may come after newer live events
                    self._bytes += len(event.payload) - len(waiting.payload)
                    self._queue[key] = event
                self.merged.add(event.pairs[0])
                return 1
        if key not in self._queue:
            self._count(event, 1)
            self._queue[key] = event
        return 0

    def _count(self, event: Event, number: int) -> None:
        size = number * len(event.payload)
        self._bytes += size
        if not event.is_price:
            self._lane_events += number
            self._lane += size

    def _forget_events(self) -> None:
        self._queue.clear()
        self._bytes = self._lane = self._lane_events = 0


def _in_log(event: Event) -> tuple[tuple[int, int], bool]:
    """Sort events as the log has them. A gap has the order of the event after it, and stays before it."""
    return event.order, event.is_price


def _fitting(sizes: Sequence[int], room: int) -> int:
    """Return how many of the frames of these sizes there is room for."""
    taken = 0
    for number, size in enumerate(sizes):
        if taken + size > room and (taken or room < _LEAST):
            return number
        taken += size
    return len(sizes)
