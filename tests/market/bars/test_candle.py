import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.market.bars.candle import Candle, CandleBuilder, Granularity, Ohlc, aggregate
from app.market.clock import parse_time, rfc3339
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.market.source import Sources, SourceTraits
from app.providers.replay.recording import Recording

_EUR_USD = CurrencyPair("EUR", "USD")
_NEW_YORK = ZoneInfo("America/New_York")
_MICROSECOND, _MINUTE, _HOUR = timedelta(microseconds=1), timedelta(minutes=1), timedelta(hours=1)
_MOMENTS = st.datetimes(datetime(2007, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
_GRANULARITIES = st.sampled_from(Granularity)
_LARGER = [granularity for granularity in Granularity if granularity is not Granularity.M1]


def _quote(time: str | datetime, bid: str | Decimal = "1.10000", points: int = 12, pair: CurrencyPair = _EUR_USD) -> Quote:
    bid = Decimal(bid)
    moment = parse_time(time) if isinstance(time, str) else time
    return Quote(pair, bid, bid + points * Decimal("0.00001"), moment, "replay")


def _ticks(folder: Path, *days: str) -> list[Quote]:
    """The recorded quotes of EUR_USD of some days of May 2014."""
    files = [folder / "oanda" / "tick" / "eurusd" / f"201405{day}_quote.zip" for day in days]
    return [Quote(row.pair, row.bid, row.ask, row.time, "replay") for file in files for row in Recording(file).rows()]


@pytest.fixture(scope="module")
def quotes(fx_data: Path) -> list[Quote]:
    """From Sunday's open on 4 May 2014 to midnight after Monday."""
    return _ticks(fx_data, "04", "05")


@pytest.fixture(scope="module")
def minutes(quotes: list[Quote]) -> list[Candle]:
    return _build(quotes, Granularity.M1)


@pytest.fixture(scope="module")
def year(fx_data: Path) -> list[Candle]:
    """H1 bars from the week's start on Friday, 27 December 2013, to 2 January 2015."""
    week = Granularity.W.start(parse_time("2013-12-28T00:00:00Z"))
    return [bar for bar in _hours(fx_data, "20131227", "20150103") if bar.time >= week]


def _build(quotes: list[Quote], granularity: Granularity) -> list[Candle]:
    """All bars of some quotes, the last one unfinished."""
    builder = CandleBuilder(_EUR_USD, granularity)
    bars = [bar for quote in quotes if (bar := builder.add(quote)) is not None]
    return bars if builder.unfinished is None else [*bars, builder.unfinished]


def _lines(path: Path) -> Iterator[list[str]]:
    with zipfile.ZipFile(path) as archive:
        for line in archive.read(archive.namelist()[0]).decode().split():
            yield line.split(",")


def _ohlc(numbers: list[str]) -> Ohlc:
    return Ohlc(*(Decimal(number) for number in numbers))


def _mean(bid: Ohlc, ask: Ohlc) -> Ohlc:
    """Halfway between bids and asks, price by price: the files hold no mids."""
    return Ohlc((bid.open + ask.open) / 2, (bid.high + ask.high) / 2, (bid.low + ask.low) / 2, (bid.close + ask.close) / 2)


def _hours(folder: Path, first: str, before: str) -> list[Candle]:
    """The recorded H1 bars of EUR_USD that start in some days, given as YYYYMMDD."""
    bars = []
    with zipfile.ZipFile(folder / "oanda" / "hour" / "eurusd.zip") as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    for line in lines:
        if first <= line[:8] < before:
            time, *numbers = line.split(",")
            bid, ask = _ohlc(numbers[:4]), _ohlc(numbers[5:9])
            start = datetime.fromisoformat(time).replace(tzinfo=UTC)
            bars.append(Candle(_EUR_USD, Granularity.H1, start, bid, _mean(bid, ask), ask, 1, complete=True, source="oanda"))
    return bars


def _directly(candles: list[Candle], granularity: Granularity) -> list[Candle]:
    """Larger bars, each worked out at once from all of its parts, for comparison."""
    larger = []
    for start, group in groupby(candles, lambda candle: granularity.start(candle.time)):
        parts = list(group)
        bid, mid, ask = (
            Ohlc(side[0].open, max(part.high for part in side), min(part.low for part in side), side[-1].close)
            for side in ([p.bid for p in parts], [p.mid for p in parts], [p.ask for p in parts])
        )
        volume = sum(part.volume for part in parts)
        larger.append(Candle(_EUR_USD, granularity, start, bid, mid, ask, volume, complete=True, source="oanda"))
    return larger


@pytest.mark.parametrize(
    ("granularity", "moment", "start", "end"),
    [
        ("M1", "2026-01-14T09:31:59.999999Z", "2026-01-14T09:31:00Z", "2026-01-14T09:32:00Z"),
        ("M5", "2026-01-14T09:34:59Z", "2026-01-14T09:30:00Z", "2026-01-14T09:35:00Z"),
        ("M15", "2026-01-14T09:31:00Z", "2026-01-14T09:30:00Z", "2026-01-14T09:45:00Z"),
        ("H1", "2026-01-14T09:31:00Z", "2026-01-14T09:00:00Z", "2026-01-14T10:00:00Z"),
        # 17:00 in New York is 22:00 in winter and 21:00 in summer.
        ("H4", "2026-01-14T01:59:00Z", "2026-01-13T22:00:00Z", "2026-01-14T02:00:00Z"),
        ("H4", "2026-07-14T00:59:00Z", "2026-07-13T21:00:00Z", "2026-07-14T01:00:00Z"),
        ("D", "2026-01-14T21:59:59Z", "2026-01-13T22:00:00Z", "2026-01-14T22:00:00Z"),
        ("D", "2026-07-14T21:00:00Z", "2026-07-14T21:00:00Z", "2026-07-15T21:00:00Z"),
        # The daily bar that OANDA stamps so is that of Thursday, 12 May 2022.
        ("D", "2022-05-12T12:00:00Z", "2022-05-11T21:00:00Z", "2022-05-12T21:00:00Z"),
        ("W", "2026-01-18T22:00:00Z", "2026-01-16T22:00:00Z", "2026-01-23T22:00:00Z"),
        ("W", "2026-01-16T21:59:59Z", "2026-01-09T22:00:00Z", "2026-01-16T22:00:00Z"),
        ("M", "2026-01-31T21:59:59Z", "2025-12-31T22:00:00Z", "2026-01-31T22:00:00Z"),
        ("M", "2026-01-31T22:00:00Z", "2026-01-31T22:00:00Z", "2026-02-28T22:00:00Z"),
        ("M", "2026-03-20T00:00:00Z", "2026-02-28T22:00:00Z", "2026-03-31T21:00:00Z"),
        ("M", "2026-12-31T23:00:00Z", "2026-12-31T22:00:00Z", "2027-01-31T22:00:00Z"),
    ],
)
def test_bars_are_aligned_as_oanda_aligns_them(granularity: str, moment: str, start: str, end: str) -> None:
    bar = Granularity(granularity)
    assert bar.start(parse_time(moment)) == parse_time(start)
    assert bar.end(parse_time(moment)) == parse_time(end)


@pytest.mark.parametrize(
    ("sunday", "hours", "starts", "week_hours"),
    [
        # In New York 02:00 becomes 03:00 on the first, and 02:00 becomes 01:00 on the second.
        ("2026-03-08", 23, ["22", "02", "06", "09", "13", "17"], 167),
        ("2026-11-01", 25, ["21", "01", "05", "10", "14", "18"], 169),
    ],
)
def test_the_trading_day_on_which_clocks_change(sunday: str, hours: int, starts: list[str], week_hours: int) -> None:
    noon = parse_time(f"{sunday}T12:00:00Z")
    day, day_end = Granularity.D.start(noon), Granularity.D.end(noon)
    assert day_end - day == timedelta(hours=hours)
    assert Granularity.W.end(noon) - Granularity.W.start(noon) == timedelta(hours=week_hours)
    seen = []
    start = day
    while start < day_end:
        seen.append(f"{start:%H}")
        start = Granularity.H4.end(start)
    assert start == day_end
    assert seen == starts


def test_the_hour_that_comes_twice_lies_in_one_h4_bar() -> None:
    first = datetime(2026, 11, 1, 1, 30, tzinfo=_NEW_YORK)
    again = first.replace(fold=1)
    assert again.astimezone(UTC) - first.astimezone(UTC) == _HOUR
    bar = parse_time("2026-11-01T05:00:00Z"), parse_time("2026-11-01T10:00:00Z")
    assert (Granularity.H4.start(first), Granularity.H4.end(first)) == bar
    assert (Granularity.H4.start(again), Granularity.H4.end(again)) == bar


@settings(max_examples=200)
@given(_GRANULARITIES, _MOMENTS)
def test_bars_cover_all_time_without_overlap(granularity: Granularity, moment: datetime) -> None:
    start, end = granularity.start(moment), granularity.end(moment)
    assert start <= moment < end
    assert start.tzinfo is UTC
    assert end.tzinfo is UTC
    assert granularity.start(start) == start == granularity.start(end - _MICROSECOND)
    assert granularity.end(start) == end
    assert granularity.start(end) == end
    assert granularity.end(start - _MICROSECOND) == start


@settings(max_examples=200)
@given(_GRANULARITIES, _GRANULARITIES, _MOMENTS)
def test_bars_that_divide_larger_ones_cross_none_of_their_bounds(
    small: Granularity, large: Granularity, moment: datetime
) -> None:
    if small.divides(large):
        assert large.start(moment) <= small.start(moment)
        assert small.end(moment) <= large.end(moment)


def test_weeks_divide_no_months_and_nothing_divides_itself() -> None:
    assert [small for small in Granularity if small.divides(Granularity.M)] == list(Granularity)[:6]
    assert [small for small in Granularity if small.divides(Granularity.W)] == list(Granularity)[:6]
    assert not any(granularity.divides(granularity) for granularity in Granularity)
    assert not Granularity.D.divides(Granularity.H4)


def test_a_builder_gives_a_bar_once_a_quote_comes_after_it() -> None:
    builder = CandleBuilder(_EUR_USD, Granularity.M1)
    assert builder.unfinished is None
    quotes = [
        _quote("2026-01-14T09:30:00Z", "1.10000", 10),
        _quote("2026-01-14T09:30:20Z", "1.10010", 10),
        _quote("2026-01-14T09:30:40Z", "1.09990", 40),
        _quote("2026-01-14T09:30:59.999999Z", "1.10004", 11),
    ]
    assert [builder.add(quote) for quote in quotes] == [None] * 4
    unfinished = Candle(
        _EUR_USD,
        Granularity.M1,
        parse_time("2026-01-14T09:30:00Z"),
        bid=_ohlc(["1.10000", "1.10010", "1.09990", "1.10004"]),
        # The highest mid is that of the second quote, less than halfway between the highest bid and the highest ask.
        mid=_ohlc(["1.10005", "1.10015", "1.10005", "1.100095"]),
        ask=_ohlc(["1.10010", "1.10030", "1.10010", "1.10015"]),
        volume=4,
        complete=False,
        source="replay",
    )
    assert builder.unfinished == unfinished
    assert builder.add(_quote("2026-01-14T09:35:00Z")) == replace(unfinished, complete=True)
    assert builder.unfinished is not None
    # Four minutes without a quote have no bar.
    assert rfc3339(builder.unfinished.time) == "2026-01-14T09:35:00.000000Z"
    assert rfc3339(builder.unfinished.end) == "2026-01-14T09:36:00.000000Z"
    assert builder.unfinished.volume == 1


def test_a_builder_closes_the_last_bar_before_a_silence_when_told_the_time() -> None:
    builder = CandleBuilder(_EUR_USD, Granularity.H1)
    friday = parse_time("2026-01-16T21:59:59Z")
    assert builder.advance(friday) is None
    builder.add(_quote(friday))
    assert builder.advance(friday) is None
    closed = builder.advance(friday + timedelta(seconds=1))
    assert closed is not None
    assert closed.complete
    assert closed.time == parse_time("2026-01-16T21:00:00Z")
    assert builder.unfinished is None
    assert builder.advance(friday + 2 * _HOUR) is None
    assert builder.add(_quote(friday + 48 * _HOUR)) is None


@pytest.mark.parametrize(
    ("sources", "named"), [(["toy", "bank"], "toy"), (["bank", "toy"], "toy"), (["bank", "exchange"], "exchange")]
)
def test_an_invented_source_names_the_whole_bar(sources: list[str], named: str) -> None:
    known = Sources([SourceTraits(name="toy", invented=True), SourceTraits(name="bank")])
    quotes = [replace(_quote(parse_time(f"2026-01-14T09:3{number}:00Z")), source=source) for number, source in enumerate(sources)]
    builder = CandleBuilder(_EUR_USD, Granularity.H1, known)
    for quote in quotes:
        builder.add(quote)
    assert builder.unfinished is not None
    assert builder.unfinished.source == named
    minutes = [bar for quote in quotes for bar in _build([quote], Granularity.M1)]
    assert [bar.source for bar in aggregate(minutes, Granularity.H1, sources=known)] == [named]


def test_a_builder_takes_its_own_pair_only() -> None:
    builder = CandleBuilder(_EUR_USD, Granularity.M1)
    with pytest.raises(ValueError, match="EUR_USD cannot take a quote of GBP_USD"):
        builder.add(_quote("2026-01-14T09:30:00Z", pair=CurrencyPair("GBP", "USD")))


def test_a_builder_takes_no_quote_from_before_what_it_has_seen() -> None:
    builder = CandleBuilder(_EUR_USD, Granularity.M1)
    builder.add(_quote("2026-01-14T09:30:30Z"))
    with pytest.raises(ValueError, match="past 2026-01-14T09:30:29"):
        builder.add(_quote("2026-01-14T09:30:29Z"))
    builder.add(_quote("2026-01-14T09:30:30Z"))
    assert builder.advance(parse_time("2026-01-14T09:31:00Z")) is not None
    with pytest.raises(ValueError, match="they have reached 2026-01-14T09:31:00"):
        builder.add(_quote("2026-01-14T09:30:59Z"))


def test_minute_bars_of_recorded_quotes_are_the_recorded_minute_bars(
    fx_data: Path, quotes: list[Quote], minutes: list[Candle]
) -> None:
    midnight = parse_time("2014-05-05T00:00:00Z")
    recorded = {
        midnight + timedelta(milliseconds=int(row[0])): (_ohlc(row[1:5]), _ohlc(row[6:10]))
        for row in _lines(fx_data / "oanda" / "minute" / "eurusd" / "20140505_quote.zip")
    }
    bars = [bar for bar in minutes if bar.time >= midnight]
    # All of the bars, in all eight prices. In 90 minutes of the day there was no quote, and neither has a bar for them.
    assert {bar.time: (bar.bid, bar.ask) for bar in bars} == recorded
    assert len(recorded) == 1350
    assert sum(bar.volume for bar in bars) == sum(quote.time >= midnight for quote in quotes) == 25177
    assert [bar.complete for bar in bars] == [True] * 1349 + [False]


def test_hour_bars_of_recorded_quotes_are_the_recorded_ones_but_for_their_smoothed_opens(
    fx_data: Path, minutes: list[Candle]
) -> None:
    recorded = _hours(fx_data, "20140501", "20140506")
    built = aggregate(minutes, Granularity.H1)
    friday, recorded = recorded[-len(built) - 1], recorded[-len(built) :]
    assert len(built) == 27
    assert [(bar.time, bar.bid.close, bar.ask.close) for bar in built] == [
        (bar.time, bar.bid.close, bar.ask.close) for bar in recorded
    ]
    # The recorded bars were made with OANDA's ``smooth``: each opens at the close before it, be it that of Friday.
    befores = [friday, *built]
    smoothed = [
        (Ohlc.of(before.bid.close).then(bar.bid), Ohlc.of(before.ask.close).then(bar.ask))
        for before, bar in zip(befores, built, strict=False)
    ]
    assert smoothed == [(bar.bid, bar.ask) for bar in recorded]
    assert sum((bar.bid, bar.ask) == (other.bid, other.ask) for bar, other in zip(built, recorded, strict=True)) == 0


@pytest.mark.parametrize("granularity", _LARGER)
def test_small_bars_add_up_to_what_the_quotes_themselves_make(
    quotes: list[Quote], minutes: list[Candle], granularity: Granularity
) -> None:
    built = _build(quotes, granularity)
    assert aggregate(minutes, granularity) == built
    assert sum(bar.volume for bar in built) == len(quotes)


def test_hours_of_recorded_quotes_add_up_to_trading_days_and_a_week(quotes: list[Quote], minutes: list[Candle]) -> None:
    hours = aggregate(minutes, Granularity.H1)
    days = aggregate(hours, Granularity.D)
    # Sunday's evening at 17:00 in New York begins a trading day, and Monday's does.
    assert [rfc3339(day.time)[:16] for day in days] == ["2014-05-04T21:00", "2014-05-05T21:00"]
    assert [day.complete for day in days] == [True, False]
    assert days == _build(quotes, Granularity.D)
    weeks = aggregate(hours, Granularity.W)
    assert [rfc3339(week.time)[:16] for week in weeks] == ["2014-05-02T21:00"]
    assert weeks == aggregate(days, Granularity.W) == _build(quotes, Granularity.W)


@pytest.mark.parametrize("granularity", [Granularity.H4, Granularity.D, Granularity.W, Granularity.M])
def test_a_year_of_hours_adds_up(year: list[Candle], granularity: Granularity) -> None:
    until = granularity.end(year[-1].time)
    larger = aggregate(year, granularity, until)
    # December 2013 begins before the year and January 2015 ends after it: they are not whole.
    cut_off = {"2013-11-30T22:00:00.000000Z", "2014-12-31T22:00:00.000000Z"} if granularity is Granularity.M else set()
    assert {rfc3339(bar.time) for bar in larger if not bar.complete} == cut_off
    assert _without_completeness(larger) == _without_completeness(_directly(year, granularity))
    for between in (Granularity.H4, Granularity.D):
        if between.divides(granularity):
            assert aggregate(aggregate(year, between, until), granularity, until) == larger


def test_trading_days_and_weeks_of_a_year_with_two_changes_of_clocks(year: list[Candle]) -> None:
    days = {day.end.astimezone(_NEW_YORK): day for day in aggregate(year, Granularity.D)}
    assert {(end.hour, end.minute) for end in days} == {(17, 0)}
    # A trading day has the name of the day it ends on: Monday to Friday, and none for the weekend.
    assert {end.weekday() for end in days} == {0, 1, 2, 3, 4}
    hours = {end.date(): day.volume for end, day in days.items()}
    # The Fridays before the clocks changed and the Mondays after it.
    changes = [date(2014, 3, 7), date(2014, 3, 10), date(2014, 10, 31), date(2014, 11, 3)]
    assert [hours[day] for day in changes] == [24, 24, 24, 24]
    weeks = aggregate(year, Granularity.W)
    assert len(weeks) == 53
    assert all(week.end == following.time for week, following in pairwise(weeks))
    # The weeks of the two Christmases and the two New Years within are short, but for one.
    assert Counter(week.volume for week in weeks) == {120: 50, 93: 3}
    assert [week.volume for week in weeks if week.volume < 120] == [weeks[i].volume for i in (0, 51, 52)]


@st.composite
def _random_quotes(draw: st.DrawFn) -> list[Quote]:
    """Quotes in the order of time, some at the same moment, from seconds to days apart, around a change of clocks."""
    time = parse_time(draw(st.sampled_from(["2026-03-06T20:00:00Z", "2026-10-30T19:59:59.5Z", "2026-12-31T12:00:00Z"])))
    steps = st.one_of(st.integers(0, 90), st.integers(0, 200_000))
    quotes = []
    for seconds, points, spread in draw(st.lists(st.tuples(steps, st.integers(-50, 50), st.integers(0, 30)), max_size=40)):
        time += timedelta(seconds=seconds)
        quotes.append(_quote(time, Decimal("1.1") + points * Decimal("0.00001"), spread))
    return quotes


@settings(max_examples=40)
@given(_random_quotes(), _GRANULARITIES)
def test_every_quote_is_in_one_bar_and_every_bar_has_quotes(quotes: list[Quote], granularity: Granularity) -> None:
    bars = _build(quotes, granularity)
    expected = []
    for start, group in groupby(quotes, lambda quote: granularity.start(quote.time)):
        parts = list(group)
        sides = ([q.bid for q in parts], [q.mid for q in parts], [q.ask for q in parts])
        bid, mid, ask = (Ohlc(side[0], max(side), min(side), side[-1]) for side in sides)
        expected.append(Candle(_EUR_USD, granularity, start, bid, mid, ask, len(parts), complete=True, source="replay"))
    if expected:
        expected[-1] = replace(expected[-1], complete=False)
    assert bars == expected


@settings(max_examples=40)
@given(_random_quotes(), _GRANULARITIES, _GRANULARITIES)
def test_aggregating_is_building(quotes: list[Quote], small: Granularity, large: Granularity) -> None:
    if small.divides(large):
        aggregated, built = aggregate(_build(quotes, small), large), _build(quotes, large)
        assert _without_completeness(aggregated) == _without_completeness(built)
        if large in (Granularity.M5, Granularity.M15, Granularity.H1):
            assert aggregated == built
        else:
            assert not any(bar.complete for bar in aggregated if not bar.made.whole)


def _without_completeness(bars: list[Candle]) -> list[Candle]:
    """The bars for comparison where one side lacks hours: those are then not complete."""
    return [replace(bar, complete=False) for bar in bars]


def test_a_longer_bar_is_complete_only_when_all_that_belongs_is_in_it() -> None:
    monday = parse_time("2026-01-11T22:00:00Z")
    hour, day = timedelta(hours=1), timedelta(days=1)

    def bars(length: Granularity, *starts: datetime) -> list[Candle]:
        bar = replace(_minutes("2026-01-14T09:30:00Z")[0], granularity=length)
        return [replace(bar, time=start) for start in starts]

    def complete(parts: list[Candle], length: Granularity) -> list[bool]:
        return [bar.complete for bar in aggregate(parts, length, monday + 60 * day)]

    hours = [monday + number * hour for number in range(24)]
    days = [monday + number * day for number in range(5)]
    assert complete(bars(Granularity.H1, *hours), Granularity.D) == [True]
    # A quiet hour may have no quotes, not two on end.
    assert complete(bars(Granularity.H1, *hours[:7], *hours[8:]), Granularity.D) == [True]
    assert complete(bars(Granularity.H1, *hours[:7], *hours[9:]), Granularity.D) == [False]
    assert complete(bars(Granularity.H1, *hours[2:]), Granularity.D) == [False]
    assert complete(bars(Granularity.D, *days), Granularity.W) == [True]
    assert complete(bars(Granularity.D, *days[:1]), Granularity.W) == [False]
    assert complete(bars(Granularity.D, *days[:4]), Granularity.W) == [False]
    assert complete(bars(Granularity.D, *days[:1]), Granularity.M) == [False]


def _minutes(*times: str) -> list[Candle]:
    """Complete M1 bars of one quote each."""
    return [replace(bar, complete=True) for bar in _build([_quote(time) for time in times], Granularity.M1)]


def test_a_larger_bar_is_complete_once_nothing_can_be_missing() -> None:
    minutes = _minutes("2026-01-16T21:55:00Z", "2026-01-16T21:57:00Z")
    end = parse_time("2026-01-16T22:00:00Z")
    assert [bar.complete for bar in aggregate(minutes, Granularity.M5)] == [False]
    assert [bar.complete for bar in aggregate(minutes, Granularity.M5, until=end - _MICROSECOND)] == [False]
    assert [bar.complete for bar in aggregate(minutes, Granularity.M5, until=end)] == [True]
    monday = _minutes("2026-01-16T21:57:00Z", "2026-01-18T22:04:00Z")
    assert [bar.complete for bar in aggregate(monday, Granularity.M5)] == [True, True]


def test_a_larger_bar_with_an_unfinished_part_is_not_complete() -> None:
    first, second = _minutes("2026-01-14T09:30:00Z", "2026-01-14T09:34:00Z")
    unfinished = replace(second, complete=False)
    until = parse_time("2026-01-14T09:35:00Z")
    assert [bar.complete for bar in aggregate([first, unfinished], Granularity.M5, until=until)] == [False]
    assert [bar.complete for bar in aggregate([replace(first, complete=False), second], Granularity.M5, until=until)] == [False]


def test_no_bars_add_up_to_none() -> None:
    assert aggregate([], Granularity.D, until=parse_time("2026-01-14T22:00:00Z")) == []


def test_bars_of_several_lengths_may_be_mixed() -> None:
    minutes = _minutes("2026-01-14T09:30:00Z", "2026-01-14T09:31:00Z", "2026-01-14T09:45:00Z")
    mixed = [*aggregate(minutes[:2], Granularity.M15), minutes[2]]
    assert [bar.volume for bar in aggregate(mixed, Granularity.H1)] == [3]


@pytest.mark.parametrize(
    ("small", "large"),
    [("M1", "M1"), ("H1", "M15"), ("W", "M"), ("M", "W"), ("D", "H4")],
)
def test_only_bars_that_divide_the_larger_add_up(small: str, large: str) -> None:
    bars = _build([_quote("2026-01-14T09:30:00Z")], Granularity(small))
    with pytest.raises(ValueError, match=f"{small} bars do not add up to {large} bars"):
        aggregate(bars, Granularity(large))


def test_bars_out_of_order_or_twice_or_of_two_pairs_do_not_add_up() -> None:
    first, second = _minutes("2026-01-14T09:30:00Z", "2026-01-14T09:31:00Z")
    for bars in ([second, first], [first, first], [first, replace(second, pair=CurrencyPair("GBP", "USD"))]):
        with pytest.raises(ValueError, match="in order of time"):
            aggregate(bars, Granularity.H1)
    # The second minute is in the quarter of an hour already.
    with pytest.raises(ValueError, match="cannot follow EUR_USD M15 at 2026-01-14T09:30:00"):
        aggregate([*aggregate([first, second], Granularity.M15), second], Granularity.H1)
