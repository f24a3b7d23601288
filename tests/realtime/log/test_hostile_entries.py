"""Whatever stands in the stream, nothing that reads it ends."""

import asyncio
import json
from itertools import chain
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from app.market.pair import DEFAULT_PAIRS, TrackedPairs
from app.realtime.hub.hub import Hub
from app.realtime.log.log import EventLog, LogReader, open_redis
from app.realtime.monitoring.view import PriceView
from app.sources import SOURCES
from tests.building import alert_draft, price_draft, ready_draft
from tests.gateways import gateway
from tests.realtime.hostile_entries import Entry, hostile_entries
from tests.realtime.socket_clients import event_of, raw_socket

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


async def test_a_gateway_serves_every_good_event_among_them(valkey_url: str, tmp_path: Path, hostile: list[Entry]) -> None:
    async with (
        gateway(valkey_url, tmp_path) as running,
        open_redis(valkey_url) as redis,
        raw_socket(running.url, joined=True) as client,
        httpx.AsyncClient(base_url=running.url) as http,
    ):
        await client.send('42["subscribe",{"pairs":["AUD_NZD"],"snapshot":false}]')
        assert event_of(await client.read())[0] == "subscription_confirmed"
        publisher, ids = EventLog(redis).publisher(), []
        for first in range(0, len(hostile), 5):
            ids += await publisher.publish([price_draft("AUD_NZD", f"1.0{first:04}"), alert_draft("AUD_NZD")])
            async with redis.pipeline(transaction=False) as pipeline:
                for entry in hostile[first : first + 5]:
                    pipeline.execute_command("XADD", "fx:events", "*", *chain.from_iterable(entry.items()))
                await pipeline.execute()
        [last] = await publisher.publish([ready_draft(7)])
        got: list[str] = []
        while last not in got:
            name, body = event_of(await client.read(30))
            if name in ("price_update", "volatility_alert", "data_ready"):
                got.append(body["id"])
        assert [id for id in got if id in {*ids, last}] == [*ids, last]
        for path in ("/api/v1/prices/all", "/health", "/metrics", "/api/v1/events", "/api/v1/events?since=0-0"):
            assert (await http.get(path)).status_code < 500, path
        assert running.hub.log_fault is None


@pytest.fixture(scope="module")
def hostile() -> list[Entry]:
    """Some hundred entries, the same each time, drawn while nothing else runs that uses ``random``, which Hypothesis notices."""
    written: list[Entry] = []

    @given(st.lists(hostile_entries(1), min_size=20, max_size=20))
    @settings(max_examples=10, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    def collect(entries: list[Entry]) -> None:
        written.extend(entries)

    collect()
    return written
