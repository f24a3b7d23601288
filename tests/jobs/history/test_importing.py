import gzip
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.errors import SourceError
from app.market.bars.candle import Candle, Granularity, aggregate
from app.market.clock import rfc3339, utc_now
from app.market.pair import CurrencyPair, TrackedPairs
from app.providers.bar_files.file import BarFile
from app.sources import SOURCES
from app.storage.database.database import Database, open_database
from app.storage.market.candles import Candles
from jobs.history.importing import import_bars
from tests.jobs.bars import EUR_USD, GBP_USD, HOUR, USD_JPY, hours

_PAIRS = TrackedPairs(["EUR_USD", "GBP_USD"])
_END = datetime(2024, 6, 19, 12, tzinfo=UTC)
_H1 = Granularity.H1


def _file(path: Path, bars: Sequence[Candle]) -> BarFile:
    """A table of the mids of these bars."""
    sides = ("open", "high", "low", "close")
    rows = (
        f"{rfc3339(bar.time)},{bar.pair},{bar.granularity},{','.join(str(getattr(bar.mid, side)) for side in sides)}"
        for bar in bars
    )
    path.write_text("\n".join(["time,pair,granularity,open,high,low,close", *rows]))
    return BarFile(path)


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
async def test_how_far_it_is_in_a_long_file_is_told_on_the_way(sqlite_url: str, tmp_path: Path) -> None:
    file = _file(tmp_path / "bars.csv", hours(EUR_USD, _END, 11_000))
    told: list[int] = []
    async with open_database(sqlite_url) as database:
        await database.migrate()
        await import_bars(file, Candles(database, SOURCES), _PAIRS, told.append)
    assert told == sorted(told)
    assert len(told) == 4
    # While some are written the next are read.
    assert told[0] >= 5000
    assert told[-1] == file.rows == 11_000


@pytest.mark.usefixtures("untraced_test")
async def test_a_file_that_is_damaged_in_the_middle_is_an_error_and_what_came_before_is_stored(
    database: Database, tmp_path: Path
) -> None:
    bars = hours(EUR_USD, _END, 10_000)
    whole = _file(tmp_path / "bars.csv", bars)
    packed = gzip.compress((tmp_path / "bars.csv").read_bytes())
    damaged = tmp_path / "damaged.csv.gz"
    damaged.write_bytes(packed[: len(packed) * 3 // 4])
    candles = Candles(database, SOURCES)
    told: list[int] = []
    with pytest.raises(SourceError, match=r"damaged\.csv\.gz cannot be read: "):
        await import_bars(BarFile(damaged), candles, _PAIRS, told.append)
    stored = await _stored(database, EUR_USD)
    assert len(stored) == 5000
    assert stored == _as_stored(bars)[: len(stored)]
    # The whole file completes it.
    imported = await import_bars(whole, candles, _PAIRS)
    assert imported.changed == 5000
    assert await _stored(database, EUR_USD) == _as_stored(bars)
    assert await _stored(database, EUR_USD, Granularity.D) == aggregate(_as_stored(bars), Granularity.D, utc_now())
