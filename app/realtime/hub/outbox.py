"""The outbox: what waits for a client that cannot take it now, bounded by construction."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from app.realtime.contract.event import Event


class Outbox:
    """Events and answers for one client, in the order it must see them.

    Up to ``lossless_bytes`` every event is kept. Above that the outbox conflates: of each pair only the newest price stays,
    alerts keep their order in a lane that they share with answers, of ``lane_limit`` places and ``lane_bytes``. Where the lane
    is full the outbox has overflowed, and the client it belongs to has to be cut off.
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
        self._bytes = 0  # of the events
        self._lane = 0  # bytes of alerts and answers
        self.overflowed = False

    def __bool__(self) -> bool:
        return bool(self._messages or self._events or self._alerts or self._ticks)

    @property
    def has_events(self) -> bool:
        """True while an event waits, so that the client's cursor is older than the hub's."""
        return bool(self._events or self._alerts or self._ticks)

    @property
    def conflating(self) -> bool:
        """True once prices have been thinned out since the client last took what was there."""
        return bool(self._ticks or self._alerts)

    @property
    def size(self) -> int:
        """The bytes that wait: payloads of events, and answers."""
        return self._bytes + self._lane + sum(len(event.payload) for event in self._ticks.values())

    def put(self, events: Iterable[Event]) -> int:
        """Keep live events, conflating prices where they are too many. Return how many prices were replaced."""
        replaced = 0
        for event in events:
            if self.conflating or self._bytes + len(event.payload) > self._lossless_bytes:
                replaced += self._conflate(event)
            else:
                self._events.append(event)
                self._bytes += len(event.payload)
        return replaced

    def put_history(self, events: Sequence[Event]) -> None:
        """Keep a page of history whole. Whoever replays waits for the outbox to empty before the next page."""
        self._events += events
        self._bytes += sum(len(event.payload) for event in events)

    def put_message(self, frame: bytes) -> None:
        """Keep an answer; answers are taken before events."""
        self._messages.append(frame)
        self._lane += len(frame)
        self._check_lane()

    def drop(self, unwanted: Callable[[Event], bool]) -> None:
        """Forget events the client no longer wants."""
        self._events = [event for event in self._events if not unwanted(event)]
        self._bytes = sum(len(event.payload) for event in self._events)
        self._alerts = [event for event in self._alerts if not unwanted(event)]
        self._lane = sum(map(len, self._messages)) + sum(len(event.payload) for event in self._alerts)
        self._ticks = {pair: event for pair, event in self._ticks.items() if not unwanted(event)}

    def take(self) -> tuple[list[bytes], list[Event]]:
        """Everything that waits, answers and events each in order, leaving the outbox empty."""
        messages = list(self._messages)
        events = self._events
        if self.conflating:
            # Alerts first: a gap stands before the event that shares its place.
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
            if waiting is None or waiting.order < event.order:  # history may come behind what is newer
                self._ticks[event.pairs[0]] = event
        self._check_lane()
        return replaced

    def _check_lane(self) -> None:
        full = len(self._alerts) + len(self._messages) > self._lane_limit or self._lane > self._lane_bytes
        self.overflowed = self.overflowed or full
