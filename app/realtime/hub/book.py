"""The price book, a last-value cache: the newest price of every pair, without a query to Redis."""

from collections.abc import Iterable

from app.realtime.contract.event import Event


class PriceBook:
    """The newest price event of each tracked pair."""

    def __init__(self, pairs: Iterable[str]) -> None:
        self._newest: dict[str, Event | None] = dict.fromkeys(pairs)

    def apply(self, event: Event) -> None:
        """Update the book with an event of the log; ignore any that is no price of a tracked pair."""
        if event.is_price and event.pairs[0] in self._newest:
            self._newest[event.pairs[0]] = event

    def newest(self, pair: str) -> Event | None:
        """Return the newest price event of a pair, None if there has been none."""
        return self._newest.get(pair)

    def snapshot(self, pairs: Iterable[str]) -> list[Event]:
        """Return the newest price event of each of the pairs that has one, oldest first."""
        events = [event for pair in pairs if (event := self._newest.get(pair)) is not None]
        return sorted(events, key=lambda event: event.order)

    def sources(self, pairs: Iterable[str]) -> list[str]:
        """Return where the newest prices of these pairs come from, in alphabetical order."""
        return sorted({event.body["source"] for event in self.snapshot(pairs)})
