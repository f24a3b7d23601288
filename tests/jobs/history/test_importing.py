import asyncio
import gzip
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from app.errors import DatabaseUnavailable, SourceError
from app.market.bars.candle import Candle, Granularity, aggregate
from app.market.clock import rfc3339, utc_now
from app.market.hours.calendar import is_open
from app.market.pair import CurrencyPair, TrackedPairs
from app.providers.bar_files.file import BarFile
from app.providers.bar_files.options import Options
from app.sources import SOURCES
from app.storage.database.database import Database, open_database
from app.storage.market.candles import Candles
from jobs.history.aggregation import aggregate_stored
from jobs.history.importing import Imported, Progress, import_bars
from tests.jobs.bars import EUR_USD, GBP_USD, HOUR, USD_JPY, hours
from tests.waiting import wait_until

_PAIRS = TrackedPairs(["EUR_USD", "GBP_USD"])
_END = datetime(2024, 6, 19, 12, tzinfo=UTC)
_H1 = Granularity.H1
_WEEKENDS_TOO = Options(keep_closed=True)


def _file(path: Path, bars: Sequence[Candle]) -> BarFile:
    """A table of the mids of these bars."""
    sides = ("open", "high", "low", "close")
    rows = (
        f"{rfc3339(bar.time)},{bar.pair},{bar.granularity},{','.join(str(getattr(bar.mid, side)) for side in sides)}"
        for bar in bars
    )
    path.write_text("\n".join(["time,pair,granularity,open,high,low,close", *rows]))
    return BarFile(path, _WEEKENDS_TOO)


def _as_stored(bars: Sequence[Candle]) -> list[Candle]:
    return [replace(bar, bid=bar.mid, ask=bar.mid, volume=0, source="import") for bar in bars]


async def _stored(database: Database, pair: CurrencyPair, granularity: Granularity = _H1) -> list[Candle]:
    return await Candles(database, SOURCES).page(pair, granularity, start=None, end=None, limit=100_000)


async def test_bars_of_several_pairs_are_stored_and_those_of_untracked_ones_counted(database: Database, tmp_path: Path) -> None:
    euro, pound = hours(EUR_USD, _END, 200), hours(GBP_USD, _END, 100)
    file = _file(tmp_path / "bars.csv", [*euro, *pound, *hours(USD_JPY, _END, 7)])
    imported = await import_bars(file, Candles(database, SOURCES), _PAIRS)
    assert await _stored(database, EUR_USD) == _as_stored(euro)
    assert await _stored(database, GBP_USD) == _as_stored(pound)
    assert await _stored(database, USD_JPY) == []
    assert (imported.changed, imported.untracked) == (300, Counter(USD_JPY=7))
    assert imported.series == {(EUR_USD, _H1): 200, (GBP_USD, _H1): 100}
    assert (file.rows, file.accepted, file.rejected.total()) == (307, 307, 0)
    assert imported.reader is file


async def test_larger_bars_are_made_of_all_that_is_stored(database: Database, tmp_path: Path) -> None:
    bars = _as_stored(hours(EUR_USD, _END, 300))
    candles = Candles(database, SOURCES)
    # Hours that were there before, in the same day and week as the first of the file.
    await candles.write(bars[:100])
    imported = await import_bars(_file(tmp_path / "bars.csv", bars[100:]), candles, _PAIRS)
    lengths = (Granularity.H4, Granularity.D, Granularity.W, Granularity.M)
    made = 0
    for length in lengths:
        first = length.start(bars[100].time)
        expected = [bar for bar in aggregate(bars, length, utc_now()) if bar.time >= first]
        stored = await _stored(database, EUR_USD, length)
        assert stored == expected
        made += len(stored)
    assert (imported.changed, imported.larger) == (200, made)


async def test_the_same_file_again_changes_nothing_and_another_only_what_differs(database: Database, tmp_path: Path) -> None:
    bars = hours(EUR_USD, _END, 200)
    candles = Candles(database, SOURCES)
    await import_bars(_file(tmp_path / "bars.csv", bars), candles, _PAIRS)
    again = await import_bars(_file(tmp_path / "bars.csv", bars), candles, _PAIRS)
    assert (again.changed, again.larger, again.series) == (0, 0, {(EUR_USD, _H1): 200})
    one = replace(bars[100].mid, high=bars[100].mid.high + 1)
    corrected = [*bars[:100], replace(bars[100], mid=one), *bars[101:], *hours(EUR_USD, _END + 2 * HOUR, 2)]
    changed = await import_bars(_file(tmp_path / "corrected.csv", corrected), candles, _PAIRS)
    assert changed.changed == 3
    assert (await _stored(database, EUR_USD, Granularity.D))[4].mid.high == one.high
    # A bar of H4, D, W and M about the one that differs; the last bars of each, of which two more hours are part, too.
    assert 4 < changed.larger <= 8


async def test_bars_of_different_lengths_in_a_file_are_series_of_their_own(database: Database, tmp_path: Path) -> None:
    minutes = [
        replace(bar, granularity=Granularity.M15, time=_END - 25 * HOUR + number * timedelta(minutes=15))
        for number, bar in enumerate(hours(EUR_USD, _END, 8))
    ]
    file = _file(tmp_path / "bars.csv", [*minutes, *hours(EUR_USD, _END, 20)])
    imported = await import_bars(file, Candles(database, SOURCES), _PAIRS)
    assert imported.series == {(EUR_USD, Granularity.M15): 8, (EUR_USD, _H1): 20}
    stored = await _stored(database, EUR_USD)
    assert stored == [*aggregate(_as_stored(minutes), _H1, utc_now()), *_as_stored(hours(EUR_USD, _END, 20))]


async def test_a_file_of_nothing_but_untracked_pairs_stores_nothing(database: Database, tmp_path: Path) -> None:
    imported = await import_bars(_file(tmp_path / "bars.csv", hours(USD_JPY, _END, 9)), Candles(database, SOURCES), _PAIRS)
    assert (imported.changed, imported.larger, imported.series, imported.untracked) == (0, 0, {}, Counter(USD_JPY=9))


@pytest.mark.usefixtures("untraced_test")
async def test_the_progress_of_a_long_file_is_reported_on_the_way(sqlite_url: str, tmp_path: Path) -> None:
    file = _file(tmp_path / "bars.csv", hours(EUR_USD, _END, 31_000))
    told: list[Progress] = []
    async with open_database(sqlite_url) as database:
        await database.migrate()
        await import_bars(file, Candles(database, SOURCES), _PAIRS, told.append)
    assert [(state.read, state.stored) for state in told] == sorted((state.read, state.stored) for state in told)
    read = [state.read for state in told if state.stored == 0]
    assert 0 < read[0] < 1 == read[-1], "a block at a time is read"
    assert [round(state.stored, 2) for state in told if state.stored] == [0.32, 0.65, 0.97, 1.0]
    assert told[-1] == Progress(1.0, file.rows, 1.0)
    assert (file.rows, file.accepted) == (31_000, 31_000)


@pytest.mark.usefixtures("untraced_test")
async def test_a_file_that_is_damaged_in_the_middle_is_an_error_and_nothing_of_it_is_stored(
    database: Database, tmp_path: Path
) -> None:
    bars = hours(EUR_USD, _END, 10_000)
    whole = _file(tmp_path / "bars.csv", bars)
    packed = gzip.compress((tmp_path / "bars.csv").read_bytes())
    damaged = tmp_path / "damaged.csv.gz"
    damaged.write_bytes(packed[: len(packed) * 3 // 4])
    candles = Candles(database, SOURCES)
    with pytest.raises(SourceError, match=r"damaged\.csv\.gz cannot be read: "):
        await import_bars(BarFile(damaged, _WEEKENDS_TOO), candles, _PAIRS)
    assert await _stored(database, EUR_USD) == []
    imported = await import_bars(whole, candles, _PAIRS)
    assert imported.changed == 10_000
    assert await _stored(database, EUR_USD) == _as_stored(bars)
    assert await _stored(database, EUR_USD, Granularity.D) == aggregate(_as_stored(bars), Granularity.D, utc_now())


async def test_a_database_that_is_busy_is_waited_for_and_the_progress_says_so(sqlite_url: str, tmp_path: Path) -> None:
    file = _file(tmp_path / "bars.csv", hours(EUR_USD, _END, 50))
    told: list[Progress] = []
    async with (
        open_database(sqlite_url) as others,
        open_database(sqlite_url, answer_within=0.2, finish_within=0.5) as database,
    ):
        await database.migrate()
        importing = asyncio.create_task(_import_while(others, file, Candles(database, SOURCES), told))
        imported = await importing
        assert imported.changed == 50
        assert len(await _stored(database, EUR_USD)) == 50
    assert any(state.waits for state in told)
    assert not told[-1].waits


async def _import_while(others: Database, file: BarFile, candles: Candles, told: list[Progress]) -> Imported:
    """Import while another connection holds the database until the import has said that it waits."""
    async with others.begin(60) as connection:
        await connection.execute(text("SELECT 1"))
        importing = asyncio.create_task(import_bars(file, candles, _PAIRS, told.append))
        await wait_until(lambda: any(state.waits for state in told), "the import waits")
    return await importing


async def test_an_import_gives_up_when_the_database_stays_away(sqlite_url: str, tmp_path: Path) -> None:
    file = _file(tmp_path / "bars.csv", hours(EUR_USD, _END, 50))
    async with (
        open_database(sqlite_url) as others,
        open_database(sqlite_url, answer_within=0.1, finish_within=0.5) as database,
    ):
        await database.migrate()
        async with others.begin(60) as connection:
            await connection.execute(text("SELECT 1"))
            with pytest.raises(DatabaseUnavailable):
                await import_bars(file, Candles(database, SOURCES), _PAIRS, patience=0.3)


async def test_longer_bars_of_hours_are_those_that_the_database_would_make(database: Database, tmp_path: Path) -> None:
    """Across a change of the clocks, with missing hours within and at the bounds of longer bars."""
    candles, end = Candles(database, SOURCES), datetime(2024, 3, 25, 7, tzinfo=UTC)
    bars = [bar for bar in _as_stored(hours(EUR_USD, end, 900)) if is_open(bar.time)]
    holes = {bars[number].time for number in (100, 200, 201, 202, 303, 350, 351, 460)} | {datetime(2024, 3, 20, 12, tzinfo=UTC)}
    bars = [bar for bar in bars if bar.time not in holes | {datetime(2024, 3, 20, 13, tzinfo=UTC)}]
    await import_bars(_file(tmp_path / "bars.csv", bars), candles, _PAIRS)
    made = {length: await _stored(database, EUR_USD, length) for length in Granularity}
    [day] = [day for day in made[Granularity.D] if day.time == datetime(2024, 3, 19, 21, tzinfo=UTC)]
    assert not day.complete, "two hours are missing, one in each of two H4 bars"
    assert sum(day.complete for day in made[Granularity.D]) > 20
    await aggregate_stored(candles, EUR_USD, Granularity.H1, bars[0].time, bars[-1].end, utc_now())
    for length in Granularity:
        stored = await _stored(database, EUR_USD, length)
        assert made[length] == stored, length
        assert [bar.made for bar in made[length]] == [bar.made for bar in stored], length


async def test_longer_bars_are_those_that_the_database_would_make(database: Database, tmp_path: Path) -> None:
    """Whatever was stored before, between, before or after the bars of the file."""
    candles = Candles(database, SOURCES)
    minutes = [
        replace(bar, granularity=Granularity.M1, time=_END - 40 * 24 * HOUR + number * timedelta(minutes=7))
        for number, bar in enumerate(hours(EUR_USD, _END, 6000))
    ]
    minutes = _as_stored(minutes)
    await candles.write(_as_stored(hours(EUR_USD, minutes[3000].time.replace(minute=0), 5)))
    for part in (minutes[2000:3000], minutes[4000:], minutes[1000:5000], minutes[:1500]):
        await import_bars(_file(tmp_path / "bars.csv", part), candles, _PAIRS)
    assert await _stored(database, EUR_USD, Granularity.M1) == minutes
    made = {length: await _stored(database, EUR_USD, length) for length in Granularity}
    await aggregate_stored(candles, EUR_USD, Granularity.M1, minutes[0].time, minutes[-1].end, utc_now())
    for length in Granularity:
        assert made[length] == await _stored(database, EUR_USD, length), length
