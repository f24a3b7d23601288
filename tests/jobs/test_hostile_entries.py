"""Whatever stands in the stream, neither the recorder nor the alert watch ends."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from itertools import chain

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from sqlalchemy import select

from app.alerts.notification import Notifier
from app.market.pair import DEFAULT_PAIRS, CurrencyPair, TrackedPairs
from app.market.price_level import Direction, PriceLevel
from app.realtime.log.log import EventLog, open_redis
from app.sources import SOURCES
from app.storage.alerts.price_levels import PriceLevels
from app.storage.database.database import Database
from app.storage.database.tables import AlertRow, EventRow, TickRow, table_of
from app.storage.recording import Recording
from app.storage.refusals import RefusedEvents
from jobs.alerts import AlertWatch
from jobs.recorder import Recorder
from tests.building import alert_draft, price_draft, ready_draft
from tests.realtime.hostile_entries import Entry, hostile_entries
from tests.waiting import wait_until

_PAIRS = TrackedPairs(DEFAULT_PAIRS)


async def test_no_process_ends_at_a_log_full_of_them(valkey_url: str, database: Database, hostile: list[Entry]) -> None:
    async with open_redis(valkey_url) as redis, Notifier({}) as notifier:
        log = EventLog(redis)
        recorder = Recorder(log, database, _PAIRS, heartbeat_interval=0.1)
        watch = AlertWatch(log, database, _PAIRS, notifier)
        running = [asyncio.create_task(recorder.run()), asyncio.create_task(watch.run())]
        try:
            await wait_until(partial(_has_position, database, "alerts", "0-0"), "the watch has begun", 30)
            await _add(redis, hostile)
            await log.publisher().publish([price_draft(), ready_draft()])
            tail = await log.tail()
            for name in ("recorder", "alerts"):
                await wait_until(partial(_has_position, database, name, tail), f"the {name} has come to the end", 60)
            assert [task for task in running if task.done()] == []
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def test_every_good_event_among_them_arrives(valkey_url: str, database: Database, hostile: list[Entry]) -> None:
    pair, created = CurrencyPair("AUD", "NZD"), datetime(2026, 1, 1, tzinfo=UTC)
    level = PriceLevel("a" * 32, pair, Direction.ABOVE, Decimal("1.2"), "info", None, False, 0, created)
    async with open_redis(valkey_url) as redis, Notifier({}) as notifier:
        log = EventLog(redis)
        await database.migrate()
        await PriceLevels(database).add(level)
        recorder = Recorder(log, database, _PAIRS, heartbeat_interval=0.1)
        watch = AlertWatch(log, database, _PAIRS, notifier)
        running = [asyncio.create_task(recorder.run()), asyncio.create_task(watch.run())]
        try:
            await wait_until(partial(_has_position, database, "alerts", "0-0"), "the watch has begun", 30)
            publisher, ids = log.publisher(), []
            for first in range(0, len(hostile), 10):
                ids += await publisher.publish([price_draft("AUD_NZD", f"1.1{first:04}", "1.19000"), alert_draft("AUD_NZD")])
                await _add(redis, hostile[first : first + 10])
            reached = await publisher.publish([price_draft("AUD_NZD", "1.25", "1.26")])
            tail = await log.tail()
            for name in ("recorder", "alerts"):
                await wait_until(partial(_has_position, database, name, tail), f"the {name} has come to the end", 60)
            await wait_until(lambda: watch.reached == 1, "the price has reached the level", 30)
            assert [task for task in running if task.done()] == []
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
    async with database.read() as connection:
        for table, good in ((TickRow, [*ids[::2], *reached]), (AlertRow, ids[1::2]), (EventRow, ids[1::2])):
            rows = await connection.execute(select(table_of(table).c.milliseconds, table_of(table).c.number))
            assert set(good) <= {f"{milliseconds}-{number}" for milliseconds, number in rows}
    assert watch.sent >= len(ids) // 2
    put_aside = await RefusedEvents(database).newest(5000)
    assert recorder.refused == len(put_aside) > 0
    assert {event.reason.partition(":")[0] for event in put_aside} == {"not an event"}


@pytest.fixture(scope="module")
def hostile() -> list[Entry]:
    """Some hundred entries, the same each time, drawn while nothing else runs that uses ``random``, which Hypothesis notices."""
    written: list[Entry] = []

    @given(st.lists(hostile_entries(1), min_size=20, max_size=20))
    @settings(max_examples=10, database=None, derandomize=True, phases=[Phase.generate])
    def collect(entries: list[Entry]) -> None:
        written.extend(entries)

    collect()
    return written


async def _add(redis: Redis, entries: Sequence[Entry]) -> None:
    async with redis.pipeline(transaction=False) as pipeline:
        for entry in entries:
            pipeline.execute_command("XADD", "fx:events", "*", *chain.from_iterable(entry.items()))
        await pipeline.execute()


async def _has_position(database: Database, name: str, cursor: str) -> bool:
    position = await Recording(database, SOURCES, name).position()
    return position is not None and _order(position[0]) >= _order(cursor)


def _order(cursor: str) -> tuple[int, ...]:
    return tuple(map(int, cursor.split("-")))
