import csv
import zipfile
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.clock import parse_time
from app.market.hours.calendar import is_business_day, is_open, is_quoting, is_stale, stale_from, trading_day, trading_hours
from app.sources import SOURCES

_MICROSECOND = timedelta(microseconds=1)
_MOMENTS = st.datetimes(datetime(2007, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive

# Weekends in winter and in summer, and the two on which New York changes its clocks.
_WEEKENDS = pytest.mark.parametrize(
    ("closes", "opens"),
    [
        ("2026-01-16T22:00:00Z", "2026-01-18T22:00:00Z"),
        ("2026-07-17T21:00:00Z", "2026-07-19T21:00:00Z"),
        ("2026-03-06T22:00:00Z", "2026-03-08T21:00:00Z"),
        ("2026-10-30T21:00:00Z", "2026-11-01T22:00:00Z"),
    ],
)


@_WEEKENDS
def test_closes_on_friday_and_opens_on_sunday_at_five_in_new_york(closes: str, opens: str) -> None:
    close, open_ = parse_time(closes), parse_time(opens)
    assert is_open(close - _MICROSECOND)
    assert not is_open(close)
    assert not is_open(close + timedelta(hours=12))
    assert not is_open(open_ - _MICROSECOND)
    assert is_open(open_)


@pytest.mark.parametrize("day", ["2026-01-12", "2026-01-13", "2026-01-14", "2026-01-15"])
def test_is_open_all_day_from_monday_to_thursday(day: str) -> None:
    midnight = parse_time(f"{day}T05:00:00Z")
    assert all(is_open(midnight + timedelta(hours=hour)) for hour in range(24))


def test_the_zone_of_a_moment_does_not_matter() -> None:
    sydney = datetime(2026, 1, 19, 9, 0, tzinfo=ZoneInfo("Australia/Sydney"))
    assert is_open(sydney)
    assert not is_open(sydney - _MICROSECOND)


@given(_MOMENTS)
def test_a_moment_lies_in_its_trading_day_or_before_it_while_the_market_is_closed(moment: datetime) -> None:
    day = trading_day(moment)
    hours = trading_hours(day)
    assert is_business_day(day)
    assert moment < hours.closes_at
    assert is_open(moment) is (moment in hours)
    assert is_open(hours.opens_at)
    assert is_open(hours.closes_at - _MICROSECOND)
    assert hours.opens_at - moment < timedelta(hours=73)  # a weekend and a holiday beside it


@pytest.mark.parametrize("pair", ["eurusd", "nzdusd"])
def test_every_hour_traded_since_2010_is_open(pair: str, fx_data: Path) -> None:
    with (
        zipfile.ZipFile(fx_data / "oanda" / "hour" / f"{pair}.zip") as archive,
        archive.open(f"{pair}.csv") as table,
    ):
        hours = [
            datetime.fromisoformat(row[0]).replace(tzinfo=UTC) for row in csv.reader(TextIOWrapper(table)) if row[0] >= "2010"
        ]
    assert len(hours) > 55_000
    assert [hour for hour in hours if not is_open(hour)] == []


def test_a_sunday_s_ticks_begin_at_the_open(fx_data: Path) -> None:
    with (
        zipfile.ZipFile(fx_data / "oanda" / "tick" / "eurusd" / "20140504_quote.zip") as archive,
        archive.open(archive.namelist()[0]) as table,
    ):
        milliseconds = int(table.readline().split(b",")[0])
    first = datetime(2014, 5, 4, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    assert is_open(first)
    assert not is_open(first - timedelta(seconds=1))


@pytest.mark.parametrize(("age", "stale"), [(59, False), (60, False), (60.000001, True), (3600, True), (-5, False)])
@pytest.mark.parametrize("source", ["oanda", "replay"])
def test_while_open_a_price_is_stale_by_its_age(age: float, stale: bool, source: str) -> None:
    now = parse_time("2026-01-14T12:00:00Z")
    assert is_stale(now - timedelta(seconds=age), SOURCES.of(source), now, 60) is stale


@pytest.mark.parametrize("now", ["2026-01-16T22:00:00Z", "2026-01-17T12:00:00Z", "2026-01-18T21:59:59Z"])
def test_over_the_weekend_a_price_is_as_old_as_it_was_at_the_close(now: str) -> None:
    close = parse_time("2026-01-16T22:00:00Z")
    assert not is_stale(close - timedelta(seconds=59), SOURCES.of("ecb"), parse_time(now), 60)
    assert is_stale(close - timedelta(seconds=61), SOURCES.of("ecb"), parse_time(now), 60)


def test_a_price_from_before_the_weekend_has_its_time_anew_once_the_market_opens() -> None:
    close, open_ = parse_time("2026-01-16T22:00:00Z"), parse_time("2026-01-18T22:00:00Z")
    assert not is_stale(close, SOURCES.of("ecb"), open_ - _MICROSECOND, 60)
    assert not is_stale(close, SOURCES.of("ecb"), open_ + timedelta(seconds=59), 60)
    assert is_stale(close, SOURCES.of("ecb"), open_ + timedelta(seconds=61), 60)
    assert is_stale(close - timedelta(days=14), SOURCES.of("ecb"), open_, 60)
    # From 1 January, 17:00 in New York, eleven trading days of open market to the close of 16 January.
    new_year = parse_time("2026-01-01T22:00:00Z")
    assert not is_stale(new_year, SOURCES.of("ecb"), open_, 11 * 86_400 + 1)
    assert is_stale(new_year, SOURCES.of("ecb"), open_, 11 * 86_400 - 1)


@pytest.mark.parametrize("source", [name for name in SOURCES.names if SOURCES.of(name).always_open])
def test_a_source_that_never_closes_is_judged_by_the_clock(source: str) -> None:
    saturday = parse_time("2026-01-17T12:00:00Z")
    assert not is_stale(saturday - timedelta(seconds=60), SOURCES.of(source), saturday, 60)
    assert is_stale(saturday - timedelta(seconds=61), SOURCES.of(source), saturday, 60)


@pytest.mark.parametrize(
    ("moment", "quotes"),
    [
        ("2026-01-14T21:57:59Z", True),
        ("2026-01-14T21:58:00Z", False),  # 16:58 in New York
        ("2026-01-14T22:00:00Z", False),
        ("2026-01-14T22:02:59Z", False),
        ("2026-01-14T22:03:00Z", True),
        ("2026-07-15T20:58:00Z", False),
        ("2026-01-16T21:58:00Z", False),  # a Friday
        ("2026-01-18T22:02:59Z", False),  # a Sunday
        ("2026-01-18T22:03:00Z", True),
    ],
)
def test_oanda_pauses_about_the_turn_of_the_trading_day(moment: str, quotes: bool) -> None:
    assert is_quoting(SOURCES.of("oanda"), parse_time(moment)) is quotes
    assert is_quoting(SOURCES.of("kraken"), parse_time(moment))


def test_the_pause_of_a_source_does_not_make_its_prices_stale() -> None:
    last, again = parse_time("2026-01-14T21:57:50Z"), parse_time("2026-01-14T22:03:00Z")
    assert stale_from(last, SOURCES.of("oanda"), 60) == again + timedelta(seconds=50)
    assert stale_from(last, SOURCES.of("ecb"), 60) == last + timedelta(seconds=60)
    assert not is_stale(last, SOURCES.of("oanda"), again, 60)
    assert is_stale(last, SOURCES.of("oanda"), again + timedelta(seconds=51), 60)


@given(_MOMENTS, st.sampled_from(["oanda", "ecb", "kraken"]), st.floats(1, 86_400 * 9))
def test_a_price_is_fresh_for_so_long_while_its_source_quotes(moment: datetime, source: str, stale_after: float) -> None:
    end = stale_from(moment, SOURCES.of(source), stale_after)
    assert end - moment >= timedelta(seconds=stale_after) - _MICROSECOND
    assert is_quoting(SOURCES.of(source), end)
    if source == "ecb" and is_open(moment) and trading_day(end) == trading_day(moment):
        assert end == moment + timedelta(seconds=stale_after)
