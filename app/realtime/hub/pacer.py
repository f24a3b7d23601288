"""``max_hz``: limit the prices of each pair to a rate. The newest price wins, and the last one is never lost."""

from collections.abc import Callable, Sequence, Set

from app.realtime.contract.event import Event


class Pacer:
    """Passes a price of a pair once the pair's interval is over, and holds the newest one until then."""

    def __init__(self, max_hz: float, clock: Callable[[], float]) -> None:
        self._interval = 1 / max_hz
        self._clock = clock
        self._free_at: dict[str, float] = {}
        self._held: dict[str, Event] = {}

    def admit(self, events: Sequence[Event]) -> list[Event]:
        """Return the events that may be sent now. Of each pair whose price may not, the newest is held."""
        now = self._clock()
        passing: list[Event] = []
        for event in events:
            if not event.is_price:
                passing.append(event)
            elif self._free_at.get(event.pairs[0], 0.0) <= now:
                self._free_at[event.pairs[0]] = now + self._interval
                self._held.pop(event.pairs[0], None)  # sent after this newer price, it would look like the newest
                passing.append(event)
            else:
                self._held[event.pairs[0]] = event
        return passing

    def release(self) -> list[Event]:
        """Return the held prices that are due, oldest first."""
        now = self._clock()
        due = [pair for pair in self._held if self._free_at[pair] <= now]
        self._free_at.update(dict.fromkeys(due, now + self._interval))
        return sorted((self._held.pop(pair) for pair in due), key=lambda event: event.order)

    @property
    def held(self) -> Set[str]:
        """The pairs that a price is held of."""
        return self._held.keys()

    @property
    def waits(self) -> float | None:
        """Seconds until the next held price is due, None if none is held."""
        if not self._held:
            return None
        return max(0.0, min(self._free_at[pair] for pair in self._held) - self._clock())
