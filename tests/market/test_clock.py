from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.clock import parse_time, rfc3339, utc_now

_MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive


def test_now_is_aware_and_utc() -> None:
    before = datetime.now(UTC)
    now = utc_now()
    assert before <= now <= datetime.now(UTC)
    assert now.tzinfo is UTC


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2026, 1, 31, 9, 30, tzinfo=UTC), "2026-01-31T09:30:00.000000Z"),
        (datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=UTC), "2026-01-31T09:30:00.123456Z"),
        (datetime(2026, 1, 31, 1, 30, tzinfo=timezone(timedelta(hours=2))), "2026-01-30T23:30:00.000000Z"),
    ],
)
def test_writes_utc_with_six_decimals(time: datetime, text: str) -> None:
    assert rfc3339(time) == text


@given(_MOMENTS, _MOMENTS)
def test_texts_sort_as_times_do(first: datetime, second: datetime) -> None:
    assert (rfc3339(first) < rfc3339(second)) == (first < second)


@given(_MOMENTS)
def test_reads_what_it_writes(time: datetime) -> None:
    assert parse_time(rfc3339(time)) == time


@pytest.mark.parametrize(
    "text",
    ["2016-10-27T08:38:43.094548Z", "2016-10-27T08:38:43.094548890Z", "2016-10-27T10:38:43.094548+02:00"],
)
def test_reads_any_offset_and_cuts_decimals(text: str) -> None:
    time = parse_time(text)
    assert time == datetime(2016, 10, 27, 8, 38, 43, 94548, tzinfo=UTC)
    assert time.tzinfo is UTC


@pytest.mark.parametrize("text", ["2016-10-27T08:38:43", "2016-10-27", "yesterday", ""])
def test_refuses_a_time_without_offset_and_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"offset|Invalid isoformat"):
        parse_time(text)
