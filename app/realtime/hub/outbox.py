"""The outbox: what waits for a client that cannot take it now, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from app.realtime.contract.event import Event


class Outbox:
    """Events and answers for one client.

    Up to ``lossless_bytes`` of events are kept whole. Above that the outbox conflates: it keeps only the newest price of each
    pair, and all other events in order. Those and the answers share a lane of ``lane_limit`` places and ``lane_bytes``. When
    the lane is full the outbox has ``overflowed``: nothing may be dropped from it, so its client has to be cut off.
    """

    __slots__ = (
        "_alerts",
        "_bytes",
        "_events",
        "_lane",
        "_lane_bytes",
        "_lane_limit",
        "_lossless_bytes",
        "_messages",
        "_ticks",
        "overflowed",
    )

    def __init__(self, lossless_bytes: int, lane_limit: int, lane_bytes: int) -> None:
        self._lossless_bytes = lossless_bytes
        self._lane_limit = lane_limit
        self._lane_bytes = lane_bytes
        self._messages: deque[bytes] = deque()
        self._events: list[Event] = []
        self._alerts: list[Event] = []
        self._ticks: dict[str, Event] = {}
        self._bytes = 0  # of _events
        self._lane = 0  # bytes of _alerts and _messages
        self.overflowed = False

    def __bool__(self) -> bool:
        return bool(self._messages or self._events or self._alerts or self._ticks)

    @property
    def has_events(self) -> bool:
        """True while an event waits, so that the client's cursor is older than the hub's."""
        return bool(self._events or self._alerts or self._ticks)

    @property
    def conflating(self) -> bool:
        """True once the outbox has conflated since it was last emptied."""
        return bool(self._ticks or self._alerts)

    @property
    def size(self) -> int:
        """Bytes that wait: the payloads of events, and answers."""
        return self._bytes + self._lane + sum(len(event.payload) for event in self._ticks.values())

    def put(self, events: Iterable[Event]) -> int:
        """Add live events, conflating if there are too many. Return how many prices were replaced by newer ones."""
        replaced = 0
        for event in events:
            if self.conflating or self._bytes + len(event.payload) > self._lossless_bytes:
                replaced += self._conflate(event)
            else:
                self._events.append(event)
                self._bytes += len(event.payload)
        return replaced

    def put_history(self, events: Sequence[Event]) -> None:
        """Add a page of history, whole. The replay waits for the outbox to be taken before the next page, so this is bounded."""
        self._events += events
        self._bytes += sum(len(event.payload) for event in events)

    def put_message(self, frame: bytes) -> None:
        """Add an answer; answers are taken before events."""
        self._messages.append(frame)
        self._lane += len(frame)
        self._check_lane()

    def drop(self, unwanted: Callable[[Event], bool]) -> None:
        """Drop the events that the client no longer wants."""
        self._events = [event for event in self._events if not unwanted(event)]
        self._bytes = sum(len(event.payload) for event in self._events)
        self._alerts = [event for event in self._alerts if not unwanted(event)]
        self._lane = sum(map(len, self._messages)) + sum(len(event.payload) for event in self._alerts)
        self._ticks = {pair: event for pair, event in self._ticks.items() if not unwanted(event)}

    def take(self) -> tuple[list[bytes], list[Event]]:
        """Return the answers and the events, each in order, and leave the outbox empty."""
        messages = list(self._messages)
        events = self._events
        if self.conflating:
            # The sort is stable and alerts come first: a gap has the order of the event after it, and stays before it.
            events = sorted([*self._alerts, *events, *self._ticks.values()], key=lambda event: event.order)
        self._messages.clear()
        self._events, self._alerts, self._ticks, self._bytes, self._lane = [], [], {}, 0, 0
        return messages, events

    def _conflate(self, newest: Event) -> int:
        kept, self._events, self._bytes = self._events, [], 0
        replaced = 0
        for event in (*kept, newest):
            if not event.is_price:
                self._alerts.append(event)
                self._lane += len(event.payload)
                continue
            waiting = self._ticks.get(event.pairs[0])
            replaced += waiting is not None
            if waiting is None or waiting.order < event.order:  # a page of history may come after newer live events
                self._ticks[event.pairs[0]] = event
        self._check_lane()
        return replaced

    def _check_lane(self) -> None:
        full = len(self._alerts) + len(self._messages) > self._lane_limit or self._lane > self._lane_bytes
        self.overflowed = self.overflowed or full
