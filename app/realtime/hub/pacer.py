"""``max_hz``: at most so many prices a second of each pair, the newest winning, the last one never lost."""

from collections.abc import Callable, Sequence, Set

from app.realtime.contract.event import Event


class Pacer:
    """Lets a price of a pair through when its interval has passed and holds the newest one until then."""

    def __init__(self, max_hz: float, clock: Callable[[], float]) -> None:
        self._interval = 1 / max_hz
        self._clock = clock
        self._free_at: dict[str, float] = {}
        self._held: dict[str, Event] = {}

    def admit(self, events: Sequence[Event]) -> list[Event]:
        """What may go out now; the newest price of each pair that may not is held."""
        now = self._clock()
        passing: list[Event] = []
        for event in events:
            if not event.is_price:
                passing.append(event)
            elif self._free_at.get(event.pairs[0], 0.0) <= now:
                self._free_at[event.pairs[0]] = now + self._interval
                self._held.pop(event.pairs[0], None)  # older than what passes: coming behind it, it would pass for newer
                passing.append(event)
            else:
                self._held[event.pairs[0]] = event
        return passing

    def release(self) -> list[Event]:
        """The held prices whose time has come, oldest first."""
        now = self._clock()
        due = [pair for pair in self._held if self._free_at[pair] <= now]
        self._free_at.update(dict.fromkeys(due, now + self._interval))
        return sorted((self._held.pop(pair) for pair in due), key=lambda event: event.order)

    @property
    def held(self) -> Set[str]:
        """The pairs of which a price waits for its turn."""
        return self._held.keys()

    @property
    def waits(self) -> float | None:
        """Seconds until the next held price is due, None where none is held."""
        if not self._held:
            return None
        return max(0.0, min(self._free_at[pair] for pair in self._held) - self._clock())
