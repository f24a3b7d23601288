from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from app.market.bars.candle import Candle, Granularity, Ohlc, aggregate
from app.providers.bar_files.opening import open_bar_files
from app.sources import SOURCES
from app.storage.database.database import Database
from app.storage.market.candles import Candles
from jobs.history.aggregation import aggregate_stored
from tests.jobs.bars import EUR_USD, GBP_USD, HOUR, bar_of, hours

_LARGER = (Granularity.H4, Granularity.D, Granularity.W, Granularity.M)
_LATER = datetime(2030, 1, 1, tzinfo=UTC)


async def _stored(candles: Candles, granularity: Granularity) -> list[Candle]:
    return await candles.page(EUR_USD, granularity, start=datetime(1999, 1, 1, tzinfo=UTC), end=None, limit=100_000)


async def _rebuild(candles: Candles, bars: Sequence[Candle], now: datetime = _LATER) -> int:
    first, last = bars[0], bars[-1]
    return await aggregate_stored(candles, first.pair, first.granularity, first.time, last.end, now)


@pytest.mark.usefixtures("untraced_test")
async def test_most_of_a_year_of_real_hours_becomes_the_bars_that_they_add_up_to(database: Database, fx_data: Path) -> None:
    [file] = open_bar_files([fx_data / "oanda/hour/eurusd.zip"])
    bars = list(islice(file.candles(), 5000))
    candles = Candles(database, SOURCES)
    await candles.write(bars)
    changed = await _rebuild(candles, bars)
    for granularity in _LARGER:
        assert await _stored(candles, granularity) == aggregate(bars, granularity, _LATER)
    assert changed == sum([len(aggregate(bars, granularity)) for granularity in _LARGER])
    assert await _rebuild(candles, bars) == 0


async def test_a_bar_is_made_of_all_hours_in_it_not_only_of_the_new_ones(database: Database) -> None:
    end = datetime(2026, 6, 17, 12, tzinfo=UTC)
    bars = hours(EUR_USD, end, 24 * 30)
    candles = Candles(database, SOURCES)
    await candles.write(bars)
    assert await _rebuild(candles, bars[-1:], end) == len(_LARGER)
    for granularity in _LARGER:
        [bar] = await _stored(candles, granularity)
        assert bar == aggregate(bars, granularity)[-1]
        assert bar.time == granularity.start(bars[-1].time)


async def test_neighbours_of_what_is_new_stay_as_they_are(database: Database) -> None:
    bars = hours(EUR_USD, datetime(2026, 6, 17, 12, tzinfo=UTC), 24 * 30)
    candles = Candles(database, SOURCES)
    await candles.write([*bars, *hours(GBP_USD, bars[-1].end, 24)])
    await _rebuild(candles, bars)
    before = {granularity: await _stored(candles, granularity) for granularity in _LARGER}
    changed = replace(bars[100], volume=1000)
    await candles.write([changed])
    assert await _rebuild(candles, [changed]) == len(_LARGER)
    for granularity in _LARGER:
        after = await _stored(candles, granularity)
        differing = [bar for bar, old in zip(after, before[granularity], strict=True) if bar != old]
        assert [bar.time for bar in differing] == [granularity.start(changed.time)]
    assert await candles.newest([GBP_USD], Granularity.D, 10) == {}


async def test_a_larger_bar_that_still_runs_is_not_complete(database: Database) -> None:
    now = datetime(2026, 6, 17, 12, 20, tzinfo=UTC)
    bars = hours(EUR_USD, now.replace(minute=0), 24 * 10)
    running = replace(bars[-1], time=bars[-1].end, complete=False)
    candles = Candles(database, SOURCES)
    await candles.write([*bars, running])
    await _rebuild(candles, [*bars, running], now)
    for granularity in _LARGER:
        *whole, last = await _stored(candles, granularity)
        assert all(bar.complete for bar in whole)
        assert (last.complete, last.end > now, last.mid.close) == (False, True, running.mid.close)


@pytest.mark.parametrize("granularity", [Granularity.H4, Granularity.D])
async def test_larger_bars_come_of_longer_bars_too(database: Database, granularity: Granularity) -> None:
    bars = aggregate(hours(EUR_USD, datetime(2026, 6, 17, 21, tzinfo=UTC), 24 * 60), granularity)
    candles = Candles(database, SOURCES)
    await candles.write(bars)
    await _rebuild(candles, bars)
    for larger in (Granularity.D, Granularity.W, Granularity.M):
        if larger is not granularity:
            assert await _stored(candles, larger) == aggregate(bars, larger, _LATER)


async def test_minutes_become_hours_and_a_day_has_the_hours_that_no_minutes_are_stored_of(database: Database) -> None:
    noon = datetime(2026, 6, 17, 12, tzinfo=UTC)
    stored_hours = hours(EUR_USD, noon, 10)
    minutes = []
    for number in range(150):
        price = Decimal("1.10000") + Decimal(number * 37 % 100).scaleb(-5)
        time = noon + timedelta(minutes=number)
        minutes.append(bar_of(EUR_USD, time, Ohlc(price, price + 1, price - 1, price), granularity=Granularity.M1))
    candles = Candles(database, SOURCES)
    await candles.write([*stored_hours, *minutes])
    now = noon + timedelta(minutes=150)
    changed = await _rebuild(candles, minutes, now)
    for granularity in (Granularity.M5, Granularity.M15):
        assert await _stored(candles, granularity) == aggregate(minutes, granularity, now)
    all_hours = [*stored_hours, *aggregate(minutes, Granularity.H1, now)]
    assert await _stored(candles, Granularity.H1) == all_hours
    assert [bar.complete for bar in all_hours[-3:]] == [True, True, False]
    [day] = await _stored(candles, Granularity.D)
    assert day == aggregate(all_hours, Granularity.D, now)[-1]
    assert day.volume == 12 * 160
    assert changed == 30 + 10 + 3 + 2 + 1 + 1 + 1  # M5, M15, H1, H4, D, W and M


@pytest.mark.parametrize("granularity", [Granularity.W, Granularity.M])
async def test_the_longest_bars_add_up_to_nothing(database: Database, granularity: Granularity) -> None:
    bars = aggregate(hours(EUR_USD, datetime(2026, 6, 17, 21, tzinfo=UTC), 24 * 60), granularity)
    candles = Candles(database, SOURCES)
    await candles.write(bars)
    assert await _rebuild(candles, bars) == 0
    assert await _stored(candles, granularity) == bars


async def test_an_empty_stretch_changes_nothing(database: Database) -> None:
    moment = datetime(2026, 6, 17, 12, tzinfo=UTC)
    candles = Candles(database, SOURCES)
    assert await aggregate_stored(candles, EUR_USD, Granularity.H1, moment, moment, moment) == 0
    assert await aggregate_stored(candles, EUR_USD, Granularity.H1, moment, moment + HOUR, moment) == 0


async def test_one_invented_hour_makes_the_longer_bars_invented(database: Database) -> None:
    bars = hours(EUR_USD, datetime(2026, 6, 18, 21, tzinfo=UTC), 24)
    bars[3] = replace(bars[3], source="simulated")
    candles = Candles(database, SOURCES)
    await candles.write(bars)
    await _rebuild(candles, bars)
    assert [bar.source for bar in await _stored(candles, Granularity.H4)] == ["simulated", *["kraken"] * 5]
    for longer in (Granularity.D, Granularity.W, Granularity.M):
        assert [bar.source for bar in await _stored(candles, longer)] == ["simulated"]


async def test_ten_minutes_of_a_day_do_not_replace_the_imported_day(database: Database) -> None:
    price = Ohlc(Decimal("1.1"), Decimal("1.3"), Decimal("1.0"), Decimal("1.2"))
    turns = [datetime(2026, 6, day, 21, tzinfo=UTC) for day in (15, 16, 17)]
    days = [bar_of(EUR_USD, turn, price, granularity=Granularity.D) for turn in turns]
    candles = Candles(database, SOURCES)
    await candles.write(days)
    await _rebuild(candles, days)
    longer = [await _stored(candles, length) for length in (Granularity.D, Granularity.W, Granularity.M)]
    assert longer[0] == days
    # Three days of a week, or of a month, are not all of it.
    assert [[(bar.volume, bar.complete) for bar in bars] for bars in longer[1:]] == [[(36, False)], [(36, False)]]

    low = Ohlc.of(Decimal("0.5"))
    start = turns[1] + 12 * HOUR
    minutes = [bar_of(EUR_USD, start + timedelta(minutes=n), low, granularity=Granularity.M1) for n in range(10)]
    await candles.write(minutes)
    await _rebuild(candles, minutes)
    assert [await _stored(candles, length) for length in (Granularity.D, Granularity.W, Granularity.M)] == longer
    [hour] = await _stored(candles, Granularity.H1)
    assert (hour.volume, hour.made.of, hour.made.parts, hour.made.whole) == (120, "M15", 1, False)


async def test_hours_of_one_source_do_not_replace_the_day_of_another(database: Database) -> None:
    price = Ohlc(Decimal("1.1"), Decimal("1.3"), Decimal("1.0"), Decimal("1.2"))
    day = bar_of(EUR_USD, datetime(2026, 6, 16, 21, tzinfo=UTC), price, "ecb", Granularity.D)
    candles = Candles(database, SOURCES)
    await candles.write([day])
    of_the_day = hours(EUR_USD, day.end, 24, source="kraken")
    await candles.write(of_the_day)
    await _rebuild(candles, of_the_day)
    assert await _stored(candles, Granularity.D) == [day]
