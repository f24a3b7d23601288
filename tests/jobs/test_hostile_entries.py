"""Whatever stands in the stream, neither the recorder nor the alert watch ends."""

import asyncio
from functools import partial
from itertools import chain

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from app.alerts.notification import Notifier
from app.market.pair import DEFAULT_PAIRS, TrackedPairs
from app.realtime.log.log import EventLog, open_redis
from app.sources import SOURCES
from app.storage.database.database import Database
from app.storage.recording import Recording
from jobs.alerts import AlertWatch
from jobs.recorder import Recorder
from tests.building import price_draft, ready_draft
from tests.realtime.hostile_entries import Entry, hostile_entries
from tests.waiting import wait_until

_PAIRS = TrackedPairs(DEFAULT_PAIRS)


async def test_no_process_ends_at_a_log_full_of_them(valkey_url: str, database: Database) -> None:
    async with open_redis(valkey_url) as redis, Notifier({}) as notifier:
        log = EventLog(redis)
        recorder = Recorder(log, database, _PAIRS, heartbeat_interval=0.1)
        watch = AlertWatch(log, database, _PAIRS, notifier)
        running = [asyncio.create_task(recorder.run()), asyncio.create_task(watch.run())]
        try:
            await wait_until(partial(_has_position, database, "alerts", "0-0"), "the watch has begun", 30)
            await _write_hostile(redis)
            await log.publisher().publish([price_draft(), ready_draft()])
            tail = await log.tail()
            for name in ("recorder", "alerts"):
                await wait_until(partial(_has_position, database, name, tail), f"the {name} has come to the end", 60)
            assert [task for task in running if task.done()] == []
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def _write_hostile(redis: Redis) -> None:
    """Some hundred entries, the same each time."""
    written: list[Entry] = []

    @given(st.lists(hostile_entries(1), min_size=20, max_size=20))
    @settings(max_examples=10, database=None, derandomize=True, phases=[Phase.generate])
    def collect(entries: list[Entry]) -> None:
        written.extend(entries)

    await asyncio.to_thread(collect)
    async with redis.pipeline(transaction=False) as pipeline:
        for entry in written:
            pipeline.execute_command("XADD", "fx:events", "*", *chain.from_iterable(entry.items()))
        await pipeline.execute()


async def _has_position(database: Database, name: str, cursor: str) -> bool:
    position = await Recording(database, SOURCES, name).position()
    return position is not None and _order(position[0]) >= _order(cursor)


def _order(cursor: str) -> tuple[int, ...]:
    return tuple(map(int, cursor.split("-")))
