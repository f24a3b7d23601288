import csv
import zipfile
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.market.calendar import is_open, is_stale, last_open_moment
from app.market.clock import parse_time
from app.market.source import ALWAYS_OPEN

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


@_WEEKENDS
def test_over_the_weekend_the_last_open_moment_is_the_close(closes: str, opens: str) -> None:
    close, open_ = parse_time(closes), parse_time(opens)
    for moment in (close, close + timedelta(hours=12), close + timedelta(hours=30), open_ - _MICROSECOND):
        assert last_open_moment(moment) == close
    assert last_open_moment(close - _MICROSECOND) == close - _MICROSECOND
    assert last_open_moment(open_) == open_


@pytest.mark.parametrize("day", ["2026-01-12", "2026-01-13", "2026-01-14", "2026-01-15"])
def test_is_open_all_day_from_monday_to_thursday(day: str) -> None:
    midnight = parse_time(f"{day}T05:00:00Z")
    assert all(is_open(midnight + timedelta(hours=hour)) for hour in range(24))


def test_the_zone_of_a_moment_does_not_matter() -> None:
    sydney = datetime(2026, 1, 19, 9, 0, tzinfo=ZoneInfo("Australia/Sydney"))
    assert is_open(sydney)
    assert not is_open(sydney - _MICROSECOND)
    assert last_open_moment(sydney - _MICROSECOND) == datetime(2026, 1, 16, 22, tzinfo=UTC)
    assert last_open_moment(sydney).tzinfo is UTC


@given(_MOMENTS)
@settings(deadline=None)
def test_the_last_open_moment_is_now_or_the_close_within_a_weekend(moment: datetime) -> None:
    last = last_open_moment(moment)
    if is_open(moment):
        assert last == moment
    else:
        assert timedelta(0) <= moment - last < timedelta(hours=49)
        assert is_open(last - _MICROSECOND)
        assert not is_open(last)


@pytest.mark.parametrize("pair", ["eurusd", "nzdusd"])
def test_every_hour_traded_in_twelve_years_is_open(pair: str, fx_data: Path) -> None:
    with (
        zipfile.ZipFile(fx_data / "oanda" / "hour" / f"{pair}.zip") as archive,
        archive.open(f"{pair}.csv") as table,
    ):
        hours = [datetime.fromisoformat(row[0]).replace(tzinfo=UTC) for row in csv.reader(TextIOWrapper(table))]
    assert len(hours) > 74_000
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
    assert is_stale(now - timedelta(seconds=age), source, now, 60) is stale


@pytest.mark.parametrize("now", ["2026-01-16T22:00:00Z", "2026-01-17T12:00:00Z", "2026-01-18T21:59:59Z"])
def test_over_the_weekend_a_price_is_as_old_as_it_was_at_the_close(now: str) -> None:
    close = parse_time("2026-01-16T22:00:00Z")
    assert not is_stale(close - timedelta(seconds=59), "oanda", parse_time(now), 60)
    assert is_stale(close - timedelta(seconds=61), "oanda", parse_time(now), 60)


def test_a_price_from_before_the_weekend_has_its_time_anew_once_the_market_opens() -> None:
    close, open_ = parse_time("2026-01-16T22:00:00Z"), parse_time("2026-01-18T22:00:00Z")
    assert not is_stale(close, "oanda", open_ - _MICROSECOND, 60)
    assert not is_stale(close, "oanda", open_ + timedelta(seconds=59), 60)
    assert is_stale(close, "oanda", open_ + timedelta(seconds=61), 60)
    assert is_stale(close - timedelta(days=14), "oanda", open_, 60)
    assert not is_stale(close - timedelta(days=14), "oanda", open_, 10 * 86_400 + 1)
    assert is_stale(close - timedelta(days=14), "oanda", open_, 10 * 86_400 - 1)


@pytest.mark.parametrize("source", sorted(ALWAYS_OPEN))
def test_a_source_that_never_closes_is_judged_by_the_clock(source: str) -> None:
    saturday = parse_time("2026-01-17T12:00:00Z")
    assert not is_stale(saturday - timedelta(seconds=60), source, saturday, 60)
    assert is_stale(saturday - timedelta(seconds=61), source, saturday, 60)
