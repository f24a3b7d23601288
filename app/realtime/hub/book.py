"""The last-value cache: the newest price of every pair, answered without a round trip."""

from collections.abc import Iterable
from typing import Any, cast

import orjson

from app.realtime.contract.event import Event


class PriceBook:
    """The newest price event of each tracked pair."""

    def __init__(self, pairs: Iterable[str]) -> None:
        self._newest: dict[str, Event | None] = dict.fromkeys(pairs)

    def apply(self, event: Event) -> None:
        """Take in an event of the log; those that are no price of a tracked pair change nothing."""
        if event.is_price and event.pairs[0] in self._newest:
            self._newest[event.pairs[0]] = event

    def newest(self, pair: str) -> Event | None:
        """The newest price event of a pair, None where there was none yet."""
        return self._newest.get(pair)

    def payload(self, pair: str) -> dict[str, Any] | None:
        """The newest ``price_update`` payload of a pair, decoded."""
        event = self.newest(pair)
        return None if event is None else cast(dict[str, Any], orjson.loads(event.payload))

    def snapshot(self, pairs: Iterable[str]) -> list[Event]:
        """The newest price event of each of the pairs that has one, oldest first."""
        events = [event for pair in pairs if (event := self._newest.get(pair)) is not None]
        return sorted(events, key=lambda event: event.order)
