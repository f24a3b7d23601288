import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from app.errors import ConfigurationError, DatabaseUnavailable, NotOffered, SourceError
from app.market.bars.candle import Candle, Granularity, Ohlc, aggregate
from app.market.clock import utc_now
from app.market.pair import CurrencyPair
from app.sources import SOURCES
from app.storage.database.database import Database
from app.storage.market.candles import Candles
from jobs.backfill import Backfill, HoleFiller, Stretch
from tests.jobs.bars import EUR_USD, GBP_USD, HOUR, USD_JPY, bar_of, hours
from tests.waiting import wait_until

_M1, _H1 = Granularity.M1, Granularity.H1
_MINUTE = timedelta(minutes=1)
_END = datetime(2024, 6, 19, 12, tzinfo=UTC)
_START = _END - 240 * HOUR
_STRETCH = Stretch(EUR_USD, _H1, _START, _END)
_PAGE = 50


class Archive:
    """A history in pages of fifty bars. Before each page ``obstacle`` is asked, with the pair and the number of the page."""

    name = "kraken"
    granularities = frozenset({_M1, _H1})

    def __init__(self, bars: Sequence[Candle]) -> None:
        self.bars = list(bars)
        self.obstacle: Callable[[CurrencyPair, int], Exception | None] = lambda pair, page: None
        self.asked: list[Stretch] = []
        self.asked_at: list[datetime] = []

    async def fetch_candles(
        self, pair: CurrencyPair, granularity: Granularity, start: datetime, end: datetime
    ) -> AsyncGenerator[Sequence[Candle]]:
        """What there is, page by page."""
        self.asked.append(Stretch(pair, granularity, start, end))
        self.asked_at.append(utc_now())
        bars = [bar for bar in self.bars if (bar.pair, bar.granularity) == (pair, granularity) and start <= bar.time < end]
        for number, first in enumerate(range(0, max(len(bars), 1), _PAGE)):
            error = self.obstacle(pair, number)
            if error is not None:
                raise error
            yield bars[first : first + _PAGE]


def _minutes(pair: CurrencyPair, start: datetime, count: int) -> list[Candle]:
    prices = [Decimal("1.1") + Decimal(number).scaleb(-5) for number in range(count)]
    return [bar_of(pair, start + number * _MINUTE, Ohlc.of(price), granularity=_M1) for number, price in enumerate(prices)]


async def _stored(database: Database, pair: CurrencyPair, granularity: Granularity) -> list[Candle]:
    return await Candles(database, SOURCES).page(pair, granularity, start=None, end=None, limit=10_000)


def _failing_at(page: int, error: Exception) -> Callable[[CurrencyPair, int], Exception | None]:
    return lambda pair, number: error if number == page else None


# ---------------------------------------------------------------- backfill


async def test_bars_are_fetched_page_by_page_and_larger_ones_made_of_them(database: Database) -> None:
    archive = Archive(hours(EUR_USD, _END, 240))
    reached: list[datetime] = []
    changed = await Backfill(archive, database).run(_STRETCH, reached.append)
    larger = {length: aggregate(archive.bars, length, utc_now()) for length in (Granularity.H4, Granularity.D, Granularity.W)}
    assert await _stored(database, EUR_USD, _H1) == archive.bars
    for length, bars in larger.items():
        assert await _stored(database, EUR_USD, length) == bars
    months = await _stored(database, EUR_USD, Granularity.M)
    assert changed == 240 + sum(map(len, larger.values())) + len(months)
    assert reached == [_START, *(_START + hour * HOUR for hour in (50, 100, 150, 200, 240)), _END]
    assert await Backfill(archive, database).run(_STRETCH) == 0


@pytest.mark.parametrize("other_end", [timedelta(0), timedelta(hours=5)])
async def test_what_fails_in_the_middle_goes_on_from_there(database: Database, other_end: timedelta) -> None:
    archive = Archive(hours(EUR_USD, _END, 240))
    archive.obstacle = _failing_at(3, SourceError("the line is cut"))
    reached: list[datetime] = []
    with pytest.raises(SourceError, match="the line is cut"):
        await Backfill(archive, database).run(_STRETCH, reached.append)
    assert await _stored(database, EUR_USD, _H1) == archive.bars[:150]
    assert reached[-1] == _START + 150 * HOUR

    # The same command later, in another process, to an end that has moved on.
    archive.obstacle = _failing_at(1, DatabaseUnavailable("The database does not answer"))
    again = Stretch(EUR_USD, _H1, _START, _END + other_end)
    with pytest.raises(DatabaseUnavailable):
        await Backfill(archive, database).run(again)
    archive.obstacle = _failing_at(99, AssertionError())
    reached.clear()
    await Backfill(archive, database).run(again, reached.append)
    assert [stretch.start for stretch in archive.asked] == [_START, _START + 149 * HOUR, _START + 198 * HOUR]
    assert (reached[0], reached[-1]) == (_START + 198 * HOUR, _END + other_end)
    assert await _stored(database, EUR_USD, _H1) == archive.bars
    for length in (Granularity.H4, Granularity.D):
        assert await _stored(database, EUR_USD, length) == aggregate(archive.bars, length, utc_now())

    # What is done is done: the next time all of it is looked at again.
    assert await Backfill(archive, database).run(again) == 0
    assert archive.asked[-1].start == _START


async def test_a_bar_that_was_unfinished_when_it_was_interrupted_is_fetched_again(database: Database) -> None:
    bars = hours(EUR_USD, _END, 60)
    unfinished = bar_of(EUR_USD, bars[49].time, Ohlc.of(Decimal("1.05")))
    archive = Archive([*bars[:49], unfinished, *bars[50:]])
    archive.obstacle = _failing_at(1, SourceError("the line is cut"))
    with pytest.raises(SourceError):
        await Backfill(archive, database).run(_STRETCH)
    archive.bars, archive.obstacle = bars, _failing_at(99, AssertionError())
    await Backfill(archive, database).run(_STRETCH)
    assert await _stored(database, EUR_USD, _H1) == bars


async def test_each_pair_length_and_start_has_progress_of_its_own(database: Database) -> None:
    archive = Archive([*hours(EUR_USD, _END, 240), *hours(GBP_USD, _END, 240), *_minutes(EUR_USD, _START, 120)])
    archive.obstacle = _failing_at(1, SourceError("the line is cut"))
    backfill = Backfill(archive, database)
    others = [
        Stretch(GBP_USD, _H1, _START, _END),
        Stretch(EUR_USD, _M1, _START, _END),
        Stretch(EUR_USD, _H1, _START + 60 * HOUR, _END),
    ]
    for stretch in (_STRETCH, *others, _STRETCH):
        with pytest.raises(SourceError):
            await backfill.run(stretch)
    assert [stretch.start for stretch in archive.asked] == [
        _START, _START, _START, _START + 60 * HOUR, _START + 49 * HOUR,
    ]  # fmt: skip


async def test_a_length_that_the_source_has_not_is_a_wrong_setting(database: Database) -> None:
    archive = Archive([])
    with pytest.raises(ConfigurationError, match=r"^--granularity: kraken has M1, H1$"):
        await Backfill(archive, database).run(Stretch(EUR_USD, Granularity.D, _START, _END))
    assert archive.asked == []


async def test_a_stretch_without_any_bar_is_done(database: Database) -> None:
    archive = Archive([])
    reached: list[datetime] = []
    assert await Backfill(archive, database).run(_STRETCH, reached.append) == 0
    assert reached == [_START, _END]


# ---------------------------------------------------------------- holes

_BROKE_OFF = datetime(2024, 6, 19, 10, 3, 20, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.backoff._SHORTEST_LIMIT", 0.01)
    monkeypatch.setattr("app.backoff._LONGEST_LIMIT", 0.01)


@asynccontextmanager
async def _running(filler: HoleFiller) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(filler.run())
    try:
        yield task
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_the_minutes_of_a_hole_are_fetched_for_every_pair_and_larger_bars_made_of_them(database: Database) -> None:
    hour = _BROKE_OFF.replace(minute=0, second=0)
    archive = Archive([*_minutes(EUR_USD, hour, 60), *_minutes(USD_JPY, hour, 60)])
    filler = HoleFiller(archive, database, [EUR_USD, GBP_USD, USD_JPY])
    async with _running(filler):
        filler.note(_BROKE_OFF, _BROKE_OFF + 90 * _MINUTE)
        filler.note(_BROKE_OFF, _BROKE_OFF + timedelta(seconds=5))
        await wait_until(lambda: len(archive.asked) == 6, "both holes are asked for", 30)
    first = hour + 3 * _MINUTE
    long, short = hour + 94 * _MINUTE, hour + 4 * _MINUTE
    assert archive.asked == [
        Stretch(pair, _M1, first, end) for end in (long, short) for pair in (EUR_USD, GBP_USD, USD_JPY)
    ]  # fmt: skip
    assert await _stored(database, EUR_USD, _M1) == archive.bars[3:60]
    assert await _stored(database, USD_JPY, _M1) == archive.bars[63:]
    assert await _stored(database, EUR_USD, _H1) == aggregate(archive.bars[3:60], _H1, utc_now())


async def test_a_hole_is_filled_once_the_minute_that_it_ends_in_is_over(database: Database) -> None:
    archive = Archive(_minutes(EUR_USD, _BROKE_OFF.replace(second=0), 5))
    ends = _BROKE_OFF + timedelta(seconds=95)
    # The clock of the filler shows this much less than twelve seconds after the minute, which others may take to write of it.
    missing = timedelta(seconds=0.3)
    behind = utc_now() - (_M1.end(ends) + timedelta(seconds=12) - missing)
    filler = HoleFiller(archive, database, [EUR_USD], clock=lambda: utc_now() - behind)
    async with _running(filler):
        noted = utc_now()
        filler.note(_BROKE_OFF, ends)
        await wait_until(lambda: bool(archive.asked), "the hole is asked for", 30)
    [stretch] = archive.asked
    assert (stretch.start, stretch.end) == (_BROKE_OFF.replace(second=0), _M1.end(ends))
    assert noted <= archive.asked_at[0]
    assert archive.asked_at[0] - behind >= _M1.end(ends) + timedelta(seconds=11.9)


async def test_of_too_many_holes_the_oldest_are_given_up(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.backfill._MOST_HOLES", 3)
    archive = Archive([])
    filler = HoleFiller(archive, database, [EUR_USD])
    holes = [(_BROKE_OFF + number * HOUR, _BROKE_OFF + number * HOUR + _MINUTE) for number in range(5)]
    for hole in holes:
        filler.note(*hole)
    given_up = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert given_up == [
        f"the bars from {start} to {end} will be missing: too many holes are queued" for start, end in holes[:2]
    ]  # fmt: skip
    async with _running(filler):
        await wait_until(lambda: len(archive.asked) == 3, "the others are asked for", 30)
    assert [stretch.start for stretch in archive.asked] == [_M1.start(start) for start, _ in holes[2:]]


@pytest.mark.parametrize("error", [SourceError("the line is cut"), DatabaseUnavailable("The database does not answer")])
async def test_what_cannot_be_fetched_is_given_up_after_five_attempts_and_the_filler_goes_on(
    database: Database, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    archive = Archive([*_minutes(EUR_USD, _BROKE_OFF, 5), *_minutes(GBP_USD, _BROKE_OFF, 5)])
    archive.obstacle = lambda pair, page: error if pair == EUR_USD else None
    filler = HoleFiller(archive, database, [EUR_USD, GBP_USD])
    async with _running(filler):
        filler.note(_BROKE_OFF, _BROKE_OFF + _MINUTE)
        await wait_until(lambda: Counter(stretch.pair for stretch in archive.asked)[GBP_USD] == 1, "the other pair is next", 30)
        assert Counter(stretch.pair for stretch in archive.asked) == {EUR_USD: 5, GBP_USD: 1}
        archive.obstacle = lambda pair, page: None
        later = _BROKE_OFF + HOUR
        filler.note(later, later + _MINUTE)
        await wait_until(lambda: len(archive.asked) == 8, "the next hole is asked for", 30)
    assert caplog.text.count(f"bars of EUR_USD could not be fetched: {error}") == 5


async def test_a_failure_that_passes_costs_no_bar(database: Database) -> None:
    minutes = _minutes(EUR_USD, _BROKE_OFF.replace(second=0), 120)
    archive = Archive(minutes)
    failures = itertools.count()
    archive.obstacle = lambda pair, page: SourceError("the line is cut") if page == 1 and next(failures) < 2 else None
    filler = HoleFiller(archive, database, [EUR_USD])

    async def is_filled() -> bool:
        return await _stored(database, EUR_USD, _M1) == minutes

    async with _running(filler):
        filler.note(minutes[0].time, minutes[-1].time)
        await wait_until(is_filled, "the hole is filled", 30)
    assert len(archive.asked) == 3


async def test_a_pair_that_the_source_has_not_is_not_asked_for_again(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jobs.backfill")
    archive = Archive(_minutes(GBP_USD, _BROKE_OFF.replace(second=0), 2))
    archive.obstacle = lambda pair, page: NotOffered("Kraken has no bars of EUR_USD") if pair == EUR_USD else None
    filler = HoleFiller(archive, database, [EUR_USD, GBP_USD])
    async with _running(filler):
        filler.note(_BROKE_OFF, _BROKE_OFF + _MINUTE)
        await wait_until(lambda: "bars fetched" in caplog.text, "the hole is filled", 30)
    assert [stretch.pair for stretch in archive.asked] == [EUR_USD, GBP_USD]
    assert await _stored(database, GBP_USD, _M1) == archive.bars
    records = [record for record in caplog.records if record.name == "jobs.backfill"]
    assert [record.levelname for record in records] == ["INFO", "INFO"]
    assert records[0].getMessage() == "holes are not filled: Kraken has no bars of EUR_USD"
