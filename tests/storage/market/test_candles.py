import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise, permutations
from pathlib import Path

import pytest

from app.market.bars.candle import Candle, Granularity, aggregate
from app.market.bars.making import IMPORTED, Made
from app.market.bars.mid_bars import MidBars
from app.market.bars.trading_day import UNKNOWN, TradingDay
from app.market.measures.measures import measure_mids
from app.market.pair import CurrencyPair
from app.sources import SOURCES
from app.storage.database.database import Database, open_database
from app.storage.market.candles import Candles
from tests.storage.bars import EUR_USD, GBP_USD, USD_JPY, bar, hours

_H1, _D = Granularity.H1, Granularity.D


@pytest.fixture
def candles(database: Database) -> Candles:
    return Candles(database, SOURCES)


async def stored(candles: Candles, pair: CurrencyPair = EUR_USD, granularity: Granularity = _H1) -> list[Candle]:
    return await candles.page(pair, granularity, start=None, end=None, limit=100_000)


# --------------------------------------------------------------------- writing


async def test_bars_come_back_as_they_were_with_every_digit(candles: Candles, fx_data: Path) -> None:
    bars = hours(fx_data, count=300)
    assert await candles.write(bars) == 300
    came_back = await stored(candles)
    assert came_back == bars
    assert [str(one.mid) for one in came_back] == [str(one.mid) for one in bars]


async def test_writing_the_same_bars_again_changes_nothing(candles: Candles, fx_data: Path) -> None:
    bars = hours(fx_data, count=2500)
    assert await candles.write(bars) == 2500
    assert await candles.write(bars) == 0
    changed = [replace(one, volume=1) if number % 100 == 0 else one for number, one in enumerate(bars)]
    assert await candles.write(changed) == 25
    assert await stored(candles) == changed


async def test_bars_are_written_in_any_order(candles: Candles, fx_data: Path) -> None:
    bars = hours(fx_data, count=100)
    assert await candles.write(bars[::-1]) == 100
    assert await stored(candles) == bars
    assert await candles.write([]) == 0


_UNFINISHED = bar("2026-01-05 10:00", "1.10001", complete=False, volume=1)
_NEWER = bar("2026-01-05 10:00", "1.10002", complete=False, volume=2)
_COMPLETE = bar("2026-01-05 10:00", "1.10003", volume=3)
_CORRECTED = bar("2026-01-05 10:00", "1.10004", volume=4)
_INVENTED = bar("2026-01-05 10:00", "1.20001", source="simulated")
_INVENTED_UNFINISHED = bar("2026-01-05 10:00", "1.20002", source="replay", complete=False)


async def test_whichever_comes_first_the_bar_that_knows_more_stays(candles: Candles) -> None:
    def made(close: str, of: str, *, whole: bool = True, minutes: int = 0) -> Candle:
        parts = 1 if of == IMPORTED else 60
        return replace(bar("2026-01-05 10:00", close), made=Made(of, parts, timedelta(minutes=minutes), whole))

    from_worst_to_best = [
        made("1.10001", "M1", whole=False, minutes=10),
        made("1.10002", "live", whole=False, minutes=40),
        made("1.10003", "live"),
        made("1.10004", "M1"),
        made("1.10005", IMPORTED),
    ]
    for worse, better in pairwise(from_worst_to_best):
        assert await candles.write([worse]) in (0, 1)
        await candles.write([better])
        assert await candles.write([worse]) == 0
        assert await candles.write([better, worse]) == 0
        [kept] = await stored(candles)
        assert (kept, kept.made) == (better, better.made)


async def test_of_two_bars_of_a_time_the_better_stays(candles: Candles) -> None:
    cases = [
        (_UNFINISHED, _NEWER, _NEWER),
        (_UNFINISHED, _COMPLETE, _COMPLETE),
        (_COMPLETE, _UNFINISHED, _COMPLETE),
        (_COMPLETE, _CORRECTED, _CORRECTED),
        (_COMPLETE, _INVENTED, _COMPLETE),
        (_UNFINISHED, _INVENTED, _UNFINISHED),
        (_INVENTED, _COMPLETE, _COMPLETE),
        (_INVENTED, _UNFINISHED, _UNFINISHED),
        (_INVENTED, _INVENTED_UNFINISHED, _INVENTED),
        (_INVENTED_UNFINISHED, _INVENTED, _INVENTED),
        (_INVENTED_UNFINISHED, _UNFINISHED, _UNFINISHED),
    ]
    for number, (first, second, stays) in enumerate(cases):
        hour = _COMPLETE.time + timedelta(hours=number)
        await candles.write([replace(first, time=hour)])
        assert await candles.write([replace(second, time=hour)]) == (stays is second)
        assert (await stored(candles))[-1] == replace(stays, time=hour)
        # The same in one call, of another pair.
        await candles.write([replace(each, time=hour, pair=GBP_USD) for each in (first, second)])
        assert (await stored(candles, GBP_USD))[-1] == replace(stays, time=hour, pair=GBP_USD)


async def test_the_best_bar_stays_in_whatever_order_they_come(database: Database) -> None:
    candles = Candles(database, SOURCES)
    for number, order in enumerate(permutations([_UNFINISHED, _COMPLETE, _INVENTED, _INVENTED_UNFINISHED])):
        hour = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(hours=number)
        for one in order:
            await candles.write([replace(one, time=hour)])
    assert {replace(one, time=_COMPLETE.time) for one in await stored(candles)} == {_COMPLETE}


async def test_several_writers_at_once_leave_the_bars_whole(database: Database, database_url: str, fx_data: Path) -> None:
    """On PostgreSQL writers that take the same rows in different orders would wait for each other."""
    bars = hours(fx_data, count=300)
    async with open_database(database_url) as other:
        orders = (bars, bars[::-1], bars[150:] + bars[:150])
        changed = await asyncio.gather(*(Candles(each, SOURCES).write(order) for order in orders for each in (database, other)))
    assert sum(changed) == 300
    assert await stored(Candles(database, SOURCES)) == bars


# --------------------------------------------------------------------- reading


async def test_a_page_begins_at_its_start_or_ends_at_its_end(candles: Candles, fx_data: Path) -> None:
    bars = hours(fx_data, count=100)
    await candles.write([*bars, bar(bars[0].time, pair=GBP_USD), bar(bars[0].time, granularity=Granularity.M1)])
    ten, twenty = bars[10].time, bars[20].time
    page = candles.page
    assert await page(EUR_USD, _H1, start=ten, end=None, limit=5) == bars[10:15]
    assert await page(EUR_USD, _H1, start=ten, end=twenty, limit=100) == bars[10:20]
    assert await page(EUR_USD, _H1, start=None, end=twenty, limit=5) == bars[15:20]
    assert await page(EUR_USD, _H1, start=None, end=None, limit=5) == bars[95:]
    assert await page(EUR_USD, _H1, start=twenty, end=ten, limit=5) == []
    assert await page(USD_JPY, _H1, start=None, end=None, limit=5) == []


async def test_the_newest_bars_of_many_pairs_are_the_complete_ones(candles: Candles, fx_data: Path) -> None:
    bars = hours(fx_data, count=50)
    of_gbp = [replace(one, pair=GBP_USD) for one in bars[:3]]
    last = replace(bars[-1], time=bars[-1].end, complete=False)
    await candles.write([*bars, last, *of_gbp])
    assert await candles.newest([EUR_USD, GBP_USD, USD_JPY, EUR_USD], _H1, 5) == {EUR_USD: bars[45:], GBP_USD: of_gbp}
    assert await candles.newest([], _H1, 5) == {}


async def test_the_newest_bars_until_a_moment_have_ended_by_then(candles: Candles) -> None:
    microsecond = timedelta(microseconds=1)
    for granularity in Granularity:
        first = bar(granularity.start(datetime(2026, 3, 6, 12, tzinfo=UTC)), granularity=granularity)
        second = replace(first, time=first.end)
        await candles.write([first, second])
        for until, bars in (
            (second.end, [first, second]),
            (second.end - microsecond, [first]),
            (first.end, [first]),
            (first.end - microsecond, []),
        ):
            newest = await candles.newest([EUR_USD], granularity, 5, until=until)
            assert newest.get(EUR_USD, []) == bars, (granularity, until)


async def test_more_pairs_than_one_query_takes_are_found(candles: Candles) -> None:
    pairs = [CurrencyPair(f"A{chr(65 + number // 26)}{chr(65 + number % 26)}", "USD") for number in range(230)]
    await candles.write([bar("2026-01-05 10:00", pair=pair) for pair in pairs])
    assert set(await candles.newest(pairs, _H1, 1)) == set(pairs)


async def test_invented_bars_are_left_out_where_only_real_ones_are_wanted(candles: Candles) -> None:
    real, later = bar("2026-01-05 10:00"), bar("2026-01-05 11:00", source="simulated")
    only_invented = bar("2026-01-05 10:00", pair=GBP_USD, source="replay")
    await candles.write([real, later, only_invented])
    assert await candles.newest([EUR_USD, GBP_USD], _H1, 5, real_only=True) == {EUR_USD: [real]}
    assert await candles.newest([EUR_USD], _H1, 5) == {EUR_USD: [real, later]}
    assert await candles.last_time(EUR_USD, _H1) == later.time
    assert await candles.last_time(EUR_USD, _H1, real_only=True) == real.time
    assert await candles.last_time(GBP_USD, _H1, real_only=True) is None


async def test_closes_are_those_of_the_newest_bars(candles: Candles, fx_data: Path) -> None:
    bars = hours(fx_data, count=1200)
    of_gbp = [replace(one, pair=GBP_USD, source="simulated") for one in bars[:3]]
    await candles.write([*bars, replace(bars[-1], time=bars[-1].end, complete=False), *of_gbp])
    pairs = [USD_JPY, GBP_USD, EUR_USD, GBP_USD]
    for count, until in ((1, None), (5, None), (1100, None), (5000, None), (5, bars[99].end), (7, bars[1].end)):
        newest = await candles.newest(pairs, _H1, count, until=until)
        found = await candles.closes(pairs, _H1, count, until=until)
        assert list(found) == [GBP_USD, EUR_USD]
        for pair, series in found.items():
            assert series.closes == {one.time: float(one.mid.close) for one in newest[pair]}
            assert list(series.closes) == [one.time for one in newest[pair]][::-1]
            assert (series.end, series.source) == (newest[pair][-1].end, newest[pair][-1].source)
            assert series.simulated is (pair == GBP_USD)
    assert list(await candles.closes(pairs, _H1, 5, real_only=True)) == [EUR_USD]
    assert await candles.closes([], _H1, 5) == {}


async def test_mids_are_those_of_the_newest_bars_to_the_last_bit(candles: Candles, fx_data: Path) -> None:
    bars = hours(fx_data, count=1200)
    of_gbp = [replace(one, pair=GBP_USD, source="simulated") for one in bars[:30]]
    await candles.write([*bars, replace(bars[-1], time=bars[-1].end, complete=False), *of_gbp])
    for pair, count, until in (
        (EUR_USD, 1, None), (EUR_USD, 300, None), (EUR_USD, 5000, None), (EUR_USD, 300, bars[999].end), (GBP_USD, 300, None),
    ):  # fmt: skip
        newest = MidBars.of((await candles.newest([pair], _H1, count, until=until))[pair], SOURCES)
        found = await candles.mids(pair, _H1, count, until=until)
        assert found is not None
        assert list(found.times) == list(newest.times)
        for name in ("open", "high", "low", "close"):
            assert getattr(found, name).tobytes() == getattr(newest, name).tobytes(), name
        assert measure_mids(found) == measure_mids(newest)
        assert found.simulated is newest.simulated is (pair == GBP_USD)
    assert await candles.mids(GBP_USD, _H1, 300, real_only=True) is None
    assert await candles.mids(USD_JPY, _H1, 300) is None


async def test_mids_are_never_of_real_and_invented_bars_at_once(candles: Candles) -> None:
    start = datetime(2026, 1, 5, 10, tzinfo=UTC)
    bars = [
        bar(start + number * timedelta(hours=1), source=source)
        for number, source in enumerate(("oanda", "simulated", "kraken", "oanda", "replay", "simulated"))
    ]
    await candles.write(bars)
    for end, first, simulated in ((6, 4, True), (4, 2, False), (2, 1, True), (1, 0, False)):
        found = await candles.mids(EUR_USD, _H1, 9, until=bars[end - 1].end)
        assert found is not None
        assert list(found.times) == [one.time for one in bars[first:end]]
        assert found.simulated is simulated


async def test_closes_are_never_of_real_and_invented_bars_at_once(candles: Candles) -> None:
    sources = ("oanda", "simulated", "kraken", "oanda", "replay", "simulated")
    start = datetime(2026, 1, 5, 10, tzinfo=UTC)
    bars = [bar(start + number * timedelta(hours=1), source=source) for number, source in enumerate(sources)]
    await candles.write(bars)
    for end, expected in ((6, [5, 4]), (5, [4]), (4, [3, 2]), (3, [2]), (2, [1]), (1, [0])):
        series = (await candles.closes([EUR_USD], _H1, 9, until=bars[end - 1].end))[EUR_USD]
        assert list(series.closes) == [bars[number].time for number in expected]
        assert series.simulated is (sources[end - 1] in ("simulated", "replay"))
    assert len((await candles.closes([EUR_USD], _H1, 9, real_only=True))[EUR_USD].closes) == 3


async def test_the_last_time_is_that_of_a_complete_bar(candles: Candles) -> None:
    assert await candles.last_time(EUR_USD, _H1) is None
    await candles.write([bar("2026-01-05 10:00"), bar("2026-01-05 11:00", complete=False)])
    assert await candles.last_time(EUR_USD, _H1) == datetime(2026, 1, 5, 10, tzinfo=UTC)


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_that_is_not_positive_is_a_fault_of_the_program(candles: Candles, limit: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        await candles.page(EUR_USD, _H1, start=None, end=None, limit=limit)
    with pytest.raises(ValueError, match="positive"):
        await candles.newest([EUR_USD], _H1, limit)
    with pytest.raises(ValueError, match="positive"):
        await candles.closes([EUR_USD], _H1, limit)
    with pytest.raises(ValueError, match="positive"):
        await candles.mids(EUR_USD, _H1, limit)


# ---------------------------------------------------------------- trading days


def day(date: str, close: str, **changes: object) -> Candle:
    """A bar of the trading day that ends on a date, in winter."""
    start = datetime.fromisoformat(date).replace(hour=22, tzinfo=UTC) - timedelta(days=1)
    return replace(bar(start, close, granularity=_D), **changes)  # type: ignore[arg-type]


async def test_the_daily_change_is_reckoned_from_the_close_before(candles: Candles) -> None:
    monday, tuesday = day("2026-01-05", "1.10033"), day("2026-01-06", "1.10044", complete=False)
    await candles.write([day("2026-01-02", "1.10022"), monday, tuesday, replace(monday, pair=GBP_USD)])
    days = await candles.days([EUR_USD, GBP_USD, USD_JPY], datetime(2026, 1, 6, 9, tzinfo=UTC))
    assert days == {EUR_USD: TradingDay.of(tuesday, monday), GBP_USD: TradingDay.of(replace(monday, pair=GBP_USD), None)}
    assert days[EUR_USD].previous_close == Decimal("1.10033")


async def test_a_day_that_has_not_begun_yet_is_none(candles: Candles) -> None:
    friday, monday = day("2026-01-02", "1.10022"), day("2026-01-05", "1.10033")
    await candles.write([friday, monday])
    begins = monday.time
    assert await candles.days([EUR_USD], begins - timedelta(microseconds=1)) == {EUR_USD: TradingDay.of(friday, None)}
    assert await candles.days([EUR_USD], begins) == {EUR_USD: TradingDay.of(monday, friday)}
    assert await candles.days([EUR_USD], begins + timedelta(days=9)) == {EUR_USD: TradingDay.of(monday, friday)}


async def test_a_close_of_years_ago_is_no_previous_close(candles: Candles) -> None:
    old, today = day("2018-02-07", "1.1"), day("2026-01-06", "1.2")
    await candles.write([old])
    now = today.time + timedelta(hours=3)
    days = await candles.days([EUR_USD], now)
    assert days[EUR_USD].figures(Decimal("1.5"), now) == UNKNOWN
    await candles.write([today])
    figures = (await candles.days([EUR_USD], now))[EUR_USD].figures(Decimal("1.5"), now)
    assert (figures.prev_close, figures.prev_close_day, figures.change_pct) == (None, None, None)
    assert figures.day_open == today.mid.open


async def test_the_days_of_real_bars_are_those_of_the_bars_themselves(candles: Candles, fx_data: Path) -> None:
    bars = aggregate(hours(fx_data, count=24 * 40), _D)
    await candles.write(bars)
    for before, today in pairwise(bars):
        found = await candles.days([EUR_USD], today.time + timedelta(hours=3))
        assert found == {EUR_USD: TradingDay.of(today, before)}


async def test_other_tables_are_safe_from_the_names_of_pairs(candles: Candles, database: Database) -> None:
    strange = CurrencyPair("'; DROP TABLE candles; --", "USD")
    assert await stored(candles, strange) == []
    assert await candles.newest([strange], _H1, 1) == {}
    await candles.write([bar("2026-01-05 10:00")])
    assert len(await stored(candles)) == 1
