import csv
import zipfile
from datetime import UTC, datetime, time, timedelta
from io import TextIOWrapper
from itertools import combinations
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.clock import parse_time
from app.market.hours.calendar import Hours, is_open
from app.market.hours.session import SESSIONS, Session, overlaps, session_hours

_MICROSECOND = timedelta(microseconds=1)
_SYDNEY, _TOKYO, _LONDON, _NEW_YORK = SESSIONS

_ANY_MOMENT = st.datetimes(datetime(2020, 1, 1), datetime(2031, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
# Moments at and around the hours where something changes, which few of those above hit.
_MOMENTS = _ANY_MOMENT | st.builds(
    lambda moment, offset: moment.replace(minute=0, second=0, microsecond=0) + offset * _MICROSECOND,
    _ANY_MOMENT,
    st.integers(-1, 1),
)
_SESSIONS = st.sampled_from(SESSIONS)


def _hours(opens_at: str, closes_at: str) -> Hours:
    """Hours from short texts: ``01-14T20`` is 20:00 UTC on 14 January 2026."""
    return Hours(parse_time(f"2026-{opens_at}:00Z"), parse_time(f"2026-{closes_at}:00Z"))


def _named(moment: str) -> list[tuple[str, str, Hours]]:
    found = overlaps(parse_time(moment))
    return [(overlap.sessions[0].name, overlap.sessions[1].name, overlap.hours) for overlap in found]


def _is_at_work(session: Session, moment: datetime) -> bool:
    """Whether a session is open, judged by the local clocks alone."""
    local = moment.astimezone(session.zone)
    in_business_hours = local.weekday() < 5 and session.opening <= local.time() < session.closing
    return in_business_hours and (local.month, local.day) not in {(12, 25), (1, 1)} and _trades(moment)


def _trades(moment: datetime) -> bool:
    # In a zone seven hours ahead of New York every trading day is one date.
    ahead = moment.astimezone(ZoneInfo("America/New_York")).replace(tzinfo=None) + timedelta(hours=7)
    return ahead.weekday() < 5 and (ahead.month, ahead.day) not in {(12, 25), (1, 1)}


# ---------------------------------------------------------------- hours


@pytest.mark.parametrize(
    ("session", "january", "march", "july"),
    [
        (_SYDNEY, ("01-13T20", "01-14T05"), ("03-17T20", "03-18T05"), ("07-14T21", "07-15T06")),
        (_TOKYO, ("01-14T00", "01-14T09"), ("03-18T00", "03-18T09"), ("07-15T00", "07-15T09")),
        (_LONDON, ("01-14T08", "01-14T17"), ("03-18T08", "03-18T17"), ("07-15T07", "07-15T16")),
        (_NEW_YORK, ("01-14T13", "01-14T22"), ("03-18T12", "03-18T21"), ("07-15T12", "07-15T21")),
    ],
    ids=lambda value: value.name if isinstance(value, Session) else None,
)
def test_the_hours_of_a_wednesday_through_the_year(
    session: Session, january: tuple[str, str], march: tuple[str, str], july: tuple[str, str]
) -> None:
    for expected in (_hours(*january), _hours(*march), _hours(*july)):
        in_the_middle = expected.opens_at + (expected.closes_at - expected.opens_at) / 2
        for moment in (expected.opens_at, in_the_middle, expected.closes_at - _MICROSECOND):
            assert session_hours(session, moment) == expected
            assert moment in session_hours(session, moment)
        assert session_hours(session, expected.opens_at - _MICROSECOND) == expected
        assert session_hours(session, expected.closes_at).opens_at == expected.opens_at + timedelta(days=1)


@pytest.mark.parametrize(
    ("session", "moment", "expected"),
    [
        # The two Mondays about a change of clocks, which is on the Sunday between the weeks.
        (_NEW_YORK, "2026-03-06T12:00:00Z", ("03-06T13", "03-06T22")),
        (_NEW_YORK, "2026-03-08T12:00:00Z", ("03-09T12", "03-09T21")),
        (_NEW_YORK, "2026-10-30T11:00:00Z", ("10-30T12", "10-30T21")),
        (_NEW_YORK, "2026-11-01T12:00:00Z", ("11-02T13", "11-02T22")),
        (_LONDON, "2026-03-27T07:00:00Z", ("03-27T08", "03-27T17")),
        (_LONDON, "2026-03-29T12:00:00Z", ("03-30T07", "03-30T16")),
        (_LONDON, "2026-10-23T06:00:00Z", ("10-23T07", "10-23T16")),
        (_LONDON, "2026-10-25T12:00:00Z", ("10-26T08", "10-26T17")),
        (_SYDNEY, "2026-04-02T12:00:00Z", ("04-02T20", "04-03T05")),
        (_SYDNEY, "2026-04-05T12:00:00Z", ("04-05T21", "04-06T06")),
        (_SYDNEY, "2026-10-01T12:00:00Z", ("10-01T21", "10-02T06")),
        (_SYDNEY, "2026-10-04T12:00:00Z", ("10-04T21", "10-05T05")),  # from the open of the market, an hour late
        (_SYDNEY, "2026-10-05T12:00:00Z", ("10-05T20", "10-06T05")),
        (_TOKYO, "2026-03-08T12:00:00Z", ("03-09T00", "03-09T09")),
        (_TOKYO, "2026-11-01T12:00:00Z", ("11-02T00", "11-02T09")),
    ],
)
def test_a_change_of_clocks_moves_the_hours_of_its_own_zone(session: Session, moment: str, expected: tuple[str, str]) -> None:
    assert session_hours(session, parse_time(moment)) == _hours(*expected)


@pytest.mark.parametrize(
    ("opens", "closes"),
    [
        ("01-18T22", "01-19T05"),  # two hours late
        ("03-15T21", "03-16T05"),  # one hour late, New York alone on summer time
        ("07-12T21", "07-13T06"),
        ("11-01T22", "11-02T05"),  # the day on which New York leaves summer time
    ],
)
def test_on_a_sunday_sydney_opens_with_the_market_and_not_before(opens: str, closes: str) -> None:
    expected = _hours(opens, closes)
    assert session_hours(_SYDNEY, expected.opens_at - timedelta(hours=1)) == expected
    assert is_open(expected.opens_at)
    assert not is_open(expected.opens_at - _MICROSECOND)


def test_on_a_saturday_of_its_own_a_zone_has_no_session_though_the_market_is_still_open() -> None:
    friday_evening = parse_time("2026-01-16T20:30:00Z")
    assert is_open(friday_evening)
    assert session_hours(_SYDNEY, friday_evening) == _hours("01-18T22", "01-19T05")


@pytest.mark.parametrize("moment", ["2026-01-16T22:00:00Z", "2026-01-17T12:00:00Z", "2026-01-18T21:59:59.999999Z"])
def test_over_the_weekend_everything_is_closed(moment: str) -> None:
    assert not is_open(parse_time(moment))
    assert [session_hours(session, parse_time(moment)) for session in SESSIONS] == [
        _hours("01-18T22", "01-19T05"),
        _hours("01-19T00", "01-19T09"),
        _hours("01-19T08", "01-19T17"),
        _hours("01-19T13", "01-19T22"),
    ]


def test_the_zone_of_a_moment_does_not_matter() -> None:
    in_new_york = datetime(2026, 1, 14, 8, tzinfo=ZoneInfo("America/New_York"))
    hours = session_hours(_NEW_YORK, in_new_york)
    assert in_new_york in hours
    assert hours == _hours("01-14T13", "01-14T22")
    assert (hours.opens_at.tzinfo, hours.closes_at.tzinfo) == (UTC, UTC)


def test_hours_include_their_opening_and_not_their_closing() -> None:
    hours = _hours("01-14T13", "01-14T22")
    assert hours.opens_at in hours
    assert hours.closes_at - _MICROSECOND in hours
    assert hours.opens_at - _MICROSECOND not in hours
    assert hours.closes_at not in hours


def test_hours_end_with_the_trading_week() -> None:
    late = Session("Late", ZoneInfo("America/New_York"), time(10), time(20), "")
    for moment in ("2026-01-15T16:00:00Z", "2026-01-16T00:30:00Z"):
        assert session_hours(late, parse_time(moment)) == _hours("01-15T15", "01-16T01")
    assert session_hours(late, parse_time("2026-01-16T16:00:00Z")) == _hours("01-16T15", "01-16T22")


def test_a_day_whose_hours_lie_outside_the_trading_week_has_no_session() -> None:
    honolulu = Session("Honolulu", ZoneInfo("Pacific/Honolulu"), time(12), time(16), "")
    assert session_hours(honolulu, parse_time("2026-01-16T21:00:00Z")) == _hours("01-19T22", "01-20T02")


# ---------------------------------------------------------------- holidays


@pytest.mark.parametrize(
    ("closes", "opens"),
    [
        ("2025-12-24T22:00:00Z", "2025-12-25T22:00:00Z"),  # a Thursday
        ("2025-12-31T22:00:00Z", "2026-01-01T22:00:00Z"),
        ("2026-12-24T22:00:00Z", "2026-12-27T22:00:00Z"),  # a Friday, and so until Sunday
        ("2026-12-31T22:00:00Z", "2027-01-03T22:00:00Z"),
        ("2023-12-22T22:00:00Z", "2023-12-25T22:00:00Z"),  # a Monday, and so from Friday
        ("2022-12-23T22:00:00Z", "2022-12-25T22:00:00Z"),  # a Sunday, which is no trading day
        ("2021-12-24T22:00:00Z", "2021-12-26T22:00:00Z"),  # a Saturday
    ],
)
def test_holidays_are_closed_from_five_to_five_in_new_york(closes: str, opens: str) -> None:
    close, open_ = parse_time(closes), parse_time(opens)
    assert is_open(close - _MICROSECOND)
    assert not is_open(close)
    assert not is_open(open_ - _MICROSECOND)
    assert is_open(open_)
    assert session_hours(_SYDNEY, close).opens_at == open_
    assert session_hours(_NEW_YORK, close).opens_at == open_ + timedelta(hours=15)


def test_a_holiday_in_the_middle_of_a_week() -> None:
    christmas = parse_time("2025-12-25T02:00:00Z")
    on_the_next_day = [session_hours(session, christmas) for session in SESSIONS]
    assert [str(hours.opens_at) for hours in on_the_next_day] == [
        "2025-12-25 22:00:00+00:00",
        "2025-12-26 00:00:00+00:00",
        "2025-12-26 08:00:00+00:00",
        "2025-12-26 13:00:00+00:00",
    ]
    # Business in Sydney begins on 25 December before the trading day of the 24th ends.
    before = parse_time("2025-12-24T20:30:00Z")
    assert is_open(before)
    assert before not in session_hours(_SYDNEY, before)
    assert before in session_hours(_NEW_YORK, before)


@pytest.mark.parametrize("pair", ["eurusd", "nzdusd"])
def test_every_hour_traded_about_the_turn_of_nine_years_is_open(pair: str, fx_data: Path) -> None:
    with (
        zipfile.ZipFile(fx_data / "oanda" / "hour" / f"{pair}.zip") as archive,
        archive.open(f"{pair}.csv") as table,
    ):
        texts = [row[0] for row in csv.reader(TextIOWrapper(table))]
    hours = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts if text >= "2010"]
    turn = [hour for hour in hours if (hour.month, hour.day) >= (12, 20) or (hour.month, hour.day) <= (1, 5)]
    assert len(turn) > 1_500
    assert [hour for hour in turn if not is_open(hour)] == []


# ---------------------------------------------------------------- overlaps


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (
            "2026-01-14T12:00:00Z",
            [
                ("Sydney", "Tokyo", _hours("01-14T00", "01-14T05")),
                ("Tokyo", "London", _hours("01-14T08", "01-14T09")),
                ("London", "New York", _hours("01-14T13", "01-14T17")),
                ("Sydney", "New York", _hours("01-14T20", "01-14T22")),
            ],
        ),
        (
            "2026-03-18T12:00:00Z",
            [
                ("Sydney", "Tokyo", _hours("03-18T00", "03-18T05")),
                ("Tokyo", "London", _hours("03-18T08", "03-18T09")),
                ("London", "New York", _hours("03-18T12", "03-18T17")),
                ("Sydney", "New York", _hours("03-18T20", "03-18T21")),
            ],
        ),
        (
            "2026-07-15T12:00:00Z",
            [
                ("Sydney", "Tokyo", _hours("07-15T00", "07-15T06")),
                ("Tokyo", "London", _hours("07-15T07", "07-15T09")),
                ("London", "New York", _hours("07-15T12", "07-15T16")),
            ],
        ),
        (
            "2026-10-28T12:00:00Z",  # London has left summer time, New York has not
            [
                ("Sydney", "Tokyo", _hours("10-28T00", "10-28T05")),
                ("Tokyo", "London", _hours("10-28T08", "10-28T09")),
                ("London", "New York", _hours("10-28T12", "10-28T17")),
                ("Sydney", "New York", _hours("10-28T20", "10-28T21")),
            ],
        ),
    ],
)
def test_the_overlaps_of_a_wednesday_through_the_year(moment: str, expected: list[tuple[str, str, Hours]]) -> None:
    assert _named(moment) == expected


def test_the_trading_day_turns_at_five_in_new_york() -> None:
    before, after = _named("2026-01-14T21:59:59.999999Z"), _named("2026-01-14T22:00:00Z")
    assert [hours.opens_at.day for *_, hours in before] == [14] * 4
    assert [hours.opens_at.day for *_, hours in after] == [15] * 4


def test_on_a_friday_sydney_does_not_open_before_new_york_closes() -> None:
    assert [names for *names, _ in _named("2026-01-16T12:00:00Z")] == [
        ["Sydney", "Tokyo"],
        ["Tokyo", "London"],
        ["London", "New York"],
    ]


@pytest.mark.parametrize("moment", ["2026-01-16T22:00:00Z", "2026-01-17T12:00:00Z", "2026-01-18T21:59:59Z"])
def test_over_the_weekend_the_overlaps_are_those_of_the_monday(moment: str) -> None:
    assert _named(moment) == _named("2026-01-19T12:00:00Z")
    assert len(_named(moment)) == 4


def test_a_session_west_of_new_york_may_reach_into_the_next_trading_day() -> None:
    los_angeles = Session("Los Angeles", ZoneInfo("America/Los_Angeles"), time(8), time(17), "")
    [first, second, third] = overlaps(parse_time("2026-01-14T12:00:00Z"), (_SYDNEY, los_angeles, _NEW_YORK))[:3]
    assert [session.name for session in first.sessions] == ["Sydney", "Los Angeles"]
    assert first.hours == _hours("01-13T22", "01-14T01")
    assert [session.name for session in second.sessions] == ["Los Angeles", "New York"]
    assert second.hours == _hours("01-14T16", "01-14T22")
    assert third.hours == _hours("01-14T20", "01-14T22")


# ---------------------------------------------------------------- at any moment


@given(_MOMENTS)
def test_the_market_is_open_in_the_trading_week_but_for_holidays(moment: datetime) -> None:
    assert is_open(moment) is _trades(moment)


@given(_MOMENTS, _SESSIONS)
def test_a_session_is_open_by_its_local_clock(moment: datetime, session: Session) -> None:
    assert (moment in session_hours(session, moment)) is _is_at_work(session, moment)


@given(_MOMENTS, _SESSIONS)
def test_hours_are_current_or_to_come_and_inside_the_trading_week(moment: datetime, session: Session) -> None:
    hours = session_hours(session, moment)
    assert hours.opens_at < hours.closes_at
    assert moment < hours.closes_at
    assert (moment in hours) is (hours.opens_at <= moment < hours.closes_at)
    for edge in (hours.opens_at, hours.closes_at - _MICROSECOND):
        assert is_open(edge)
    assert hours.closes_at - hours.opens_at <= timedelta(hours=9)
    assert hours.opens_at - moment < timedelta(days=4)


@given(_MOMENTS, _SESSIONS, st.floats(0, 1))
def test_no_hours_are_left_out(moment: datetime, session: Session, share: float) -> None:
    hours = session_hours(session, moment)
    assert not _is_at_work(session, hours.opens_at - _MICROSECOND)
    assert not _is_at_work(session, hours.closes_at)
    is_on = moment in hours
    change = hours.closes_at if is_on else hours.opens_at
    before_the_change = min(moment + share * (change - moment), change - _MICROSECOND)
    assert _is_at_work(session, before_the_change) is is_on


@given(_MOMENTS)
def test_two_sessions_are_open_exactly_in_their_overlaps(moment: datetime) -> None:
    at_work = [session.name for session in SESSIONS if _is_at_work(session, moment)]
    found = overlaps(moment)
    now = [tuple(session.name for session in overlap.sessions) for overlap in found if moment in overlap.hours]
    assert sorted(now) == sorted(combinations(at_work, 2))
    assert [overlap.hours.opens_at for overlap in found] == sorted(overlap.hours.opens_at for overlap in found)
    for overlap in found:
        for session in overlap.sessions:
            assert _is_at_work(session, overlap.hours.opens_at)
            assert _is_at_work(session, overlap.hours.closes_at - _MICROSECOND)
