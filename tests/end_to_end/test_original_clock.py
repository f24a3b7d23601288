"""A replay on its original clock, through the real feed, log, recorder and scheduler: the bars of an import of the same files,
and the same alerts each time.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings, load_settings
from app.market.bars.candle import Candle, Granularity
from app.market.clock import parse_time, rfc3339, utc_now
from app.market.hours.calendar import is_open
from app.market.pair import CurrencyPair, TrackedPairs
from app.providers.bar_files.opening import open_bar_files
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import ORIGIN, cursor_order
from app.realtime.log.log import EventLog, open_redis
from app.sources import SOURCES
from app.storage.database.database import Database, open_database
from app.storage.market.candles import Candles
from app.storage.market.ticks import Ticks
from app.storage.recording import Recording
from app.storage.retention import Retention
from jobs import feed, recorder, scheduler
from jobs.history.importing import import_bars
from jobs.running.feed_time import is_heartbeat_of_feed
from tests.jobs.bars import events
from tests.waiting import wait_until

_PAIRS = ("EUR_USD", "NZD_USD")
_UP_TO_D = tuple(Granularity)[:-2]
_AT_ONCE = 1e9
_TUESDAY = parse_time("2014-04-29T22:10:03.25Z")
_CLOSE = parse_time("2014-05-09T21:00:00Z")

_SILENT = frozenset({54, 55, 59, 100, 101, 102, 212, 213, 230})
"""Hours since 28 April without ticks: two in one day, a single one, three, the last of a day and the first of the next …"""

Bars = Mapping[tuple[str, Granularity], Sequence[tuple[Any, ...]]]


def _settings(files: Sequence[Path], database_url: str, **settings: Any) -> Settings:
    replay = {"source": ("replay",), "replay_files": tuple(files), "replay_clock": "original", "replay_speed": _AT_ONCE}
    return load_settings(**{"tracked_pairs": ",".join(_PAIRS), "database_url": database_url, **replay, **settings})


@asynccontextmanager
async def _running(*works: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
        for task in tasks:
            assert not task.done(), task
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def _until_recorded(redis_url: str, database: Database, name: str = "recorder") -> None:
    """Wait until a program has done with what the feed has published so far."""
    async with open_redis(redis_url) as redis:
        reader, last = EventLog(redis).reader(), ORIGIN
        while found := await reader.read(5000):
            last = next((event.id for event in reversed(found) if is_heartbeat_of_feed(event)), last)

    async def has_come_there() -> bool:
        position = await Recording(database, SOURCES, name).position()
        return position is not None and cursor_order(position[0]) >= cursor_order(last)

    await wait_until(has_come_there, f"the {name} has reached {last}", 120)


async def _of_import(files: Sequence[Path], folder: Path) -> Bars:
    async with open_database(f"sqlite:///{folder / 'imported.db'}") as database:
        await database.migrate()
        for reader in open_bar_files(files):
            await import_bars(reader, Candles(database, SOURCES), TrackedPairs(_PAIRS))
        return await _bars(database)


async def _bars(database: Database) -> Bars:
    candles = Candles(database, SOURCES)
    return {
        (pair, granularity): [
            _figures(bar) for bar in await candles.page(CurrencyPair.parse(pair), granularity, start=None, end=None, limit=20_000)
        ]
        for pair in _PAIRS
        for granularity in _UP_TO_D
    }


def _figures(bar: Candle) -> tuple[Any, ...]:
    return bar.time, bar.bid, bar.mid, bar.ask, bar.volume, bar.complete


def _assert_equal(got: Bars, expected: Bars) -> None:
    for key, bars in expected.items():
        assert got[key] == bars, key


@pytest.mark.usefixtures("untraced_test")
async def test_two_real_days_give_the_bars_of_their_import_also_where_the_recorder_is_away_for_hours(
    valkey_url: str, sqlite_url: str, fx_data: Path, tmp_path: Path
) -> None:
    files = [fx_data / "oanda" / "tick" / "eurusd" / f"201405{day}_quote.zip" for day in ("04", "05")]
    expected = await _of_import(files, tmp_path)
    assert len(expected["EUR_USD", Granularity.M1]) > 1400
    settings = _settings(files, sqlite_url)
    async with open_database(sqlite_url) as database:
        await database.migrate()
        async with _running(recorder.run(settings, valkey_url)):
            feeding = asyncio.create_task(feed.run(settings, valkey_url))
            await wait_until(lambda: _has_ticks(database), "some ticks are recorded", 60)
        hours = (await _bars(database))["EUR_USD", Granularity.H1]
        assert 1 <= len(hours) < 25
        await feeding
        async with _running(recorder.run(settings, valkey_url)):
            await _until_recorded(valkey_url, database)
        _assert_equal(await _bars(database), expected)


async def _has_ticks(database: Database) -> bool:
    return bool(await Ticks(database).page(limit=1))


async def test_a_recording_with_holes_gives_the_bars_of_its_import_however_often_it_is_played(
    valkey_url: str, database_url: str, tmp_path: Path
) -> None:
    """Ticks with a weekend, silent hours, holes, and a beginning and an end within a trading day."""
    files = [_walk(tmp_path / "nzdusd.csv", 1, holes=True, every=10)]
    one_more = tmp_path / "imported" / "nzdusd.csv"  # since an import leaves out the minute that a file ends within
    one_more.parent.mkdir()
    one_more.write_text(files[0].read_text() + "2014-05-09 20:59:59.999,1.20059,1.20071\n")
    expected = await _of_import([one_more], tmp_path)
    async with open_database(database_url) as database:
        await database.migrate()
        settings = _settings(files, database_url)
        for plays in (2, 1):
            # Where the recorder is not stopped in between, it is the log that says that time goes back.
            async with _running(recorder.run(settings, valkey_url)):
                for _ in range(plays):
                    await feed.run(settings, valkey_url)
                    await _until_recorded(valkey_url, database)
                    _assert_equal(await _bars(database), expected)


async def test_the_same_files_give_the_same_alerts_at_any_speed(valkey_url: str, tmp_path: Path) -> None:
    since = parse_time("2014-05-01T21:00:03.25Z")
    files = [
        _walk(tmp_path / f"{pair}.csv", seed, like=3, since=since, every=20) for seed, pair in enumerate(("eurusd", "nzdusd"))
    ]
    first, second = [await _alerts_of(files, valkey_url, tmp_path / f"{speed}.db", speed) for speed in (_AT_ONCE, 300_000)]
    assert first == second
    assert {alert["type"] for alert in first} == {"volatility_alert", "correlation_alert"}
    times = [alert["timestamp"] for alert in first]
    assert times == sorted(times)
    assert "2014-05-05" < times[0] <= times[-1] < "2014-05-10"


async def _alerts_of(files: Sequence[Path], redis_url: str, file: Path, speed: float) -> list[dict[str, Any]]:
    """Replay the files into a new log and database; return the alerts in the log."""
    settings = _settings(
        files,
        f"sqlite:///{file}",
        replay_speed=speed,
        volatility_thresholds="*=0.006/0.007/0.008",
        correlation_thresholds="*=0.5/0.8/0.9,change *=0.02/0.05/0.1",
    )
    async with open_redis(redis_url) as redis, open_database(settings.database_address) as database:
        await redis.flushall()
        await database.migrate()

        async with _running(recorder.run(settings, redis_url), scheduler.run(settings, redis_url)):
            await feed.run(settings, redis_url)
            await _until_recorded(redis_url, database, "replay schedule")
            # What was stored or computed just now is not old, whatever day it is in the replay.
            assert set((await Retention(database).run(utc_now())).values()) == {0}
            return await events(EventLog(redis), EventType.VOLATILITY_ALERT, EventType.CORRELATION_ALERT)


def _walk(file: Path, seed: int, *, like: int = 0, holes: bool = False, since: datetime = _TUESDAY, every: int = 5) -> Path:
    """Write ticks up to the close of a week, one in ``every`` minutes, that mostly move as those of the seed ``like`` do."""
    own, other = random.Random(seed), random.Random(like)
    time, level = since, 0.0
    rows = []
    while time < _CLOSE:
        level += own.gauss(0, 3) + (2 * other.gauss(0, 3) if like else 0)
        hour = int((time - parse_time("2014-04-28T00:00:00Z")) / timedelta(hours=1))
        if is_open(time) and not (holes and hour in _SILENT):
            bid = 1.2 + round(level) / 100_000
            rows.append(f"{rfc3339(time)[:-4].replace('T', ' ')},{bid:.5f},{bid + 0.00012:.5f}\n")
        time += timedelta(minutes=every)
    file.write_text("".join(rows))
    return file
