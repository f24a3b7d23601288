"""Whatever stands in the stream, nothing that reads it ends."""

import asyncio
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from app.market.pair import DEFAULT_PAIRS, TrackedPairs
from app.realtime.hub.hub import Hub
from app.realtime.log.log import EventLog, LogReader, open_redis
from app.realtime.monitoring.view import PriceView
from app.sources import SOURCES
from tests.realtime.hostile_entries import Entry, hostile_entries

_PAIRS = TrackedPairs(DEFAULT_PAIRS)
_BATCHES = st.integers(1, 4).flatmap(lambda count: st.tuples(*(hostile_entries(number) for number in range(1, count + 1))))


class _Entries(EventLog):
    """A log whose stream holds these entries, so that thousands of streams can be tried."""

    def __init__(self, redis: Redis, entries: tuple[Entry, ...]) -> None:
        super().__init__(redis)
        self._entries = [(f"{number}-0", {k.encode(): v for k, v in entry.items()}) for number, entry in enumerate(entries, 1)]

    async def read(self, cursor: str, count: int, block_ms: int | None = None) -> list[tuple[str, dict[bytes, bytes]]]:
        entries, self._entries = self._entries, []
        return entries


@given(_BATCHES)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_the_reader_lets_through_the_gateway_can_serve(valkey_url: str, entries: tuple[Entry, ...]) -> None:
    asyncio.run(_serve(valkey_url, entries))


async def _serve(valkey_url: str, entries: tuple[Entry, ...]) -> None:
    async with open_redis(valkey_url) as redis:
        log = _Entries(redis, entries)
        reader = LogReader(log, "0-0", 0)
        events = await reader.read()
        assert sum(event.is_cursor for event in events) + reader.malformed == len(entries)
        hub = Hub(log, _PAIRS)
        hub.dispatch(events)
        prices = json.loads(PriceView(hub, 60.0, SOURCES).all())
        assert prices["pair_count"] == len({event.pairs for event in events if event.is_price and event.pairs[0] in _PAIRS})
        assert hub.signs.malformed <= len(events)
