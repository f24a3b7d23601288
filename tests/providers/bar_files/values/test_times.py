from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import ConfigurationError
from app.market.blocks.starts import micros_of, moment_of
from app.providers.bar_files.text.rows import Rows
from app.providers.bar_files.values.clocks import parse_clock
from app.providers.bar_files.values.moments import day_first, read_moment, read_time_of_day
from app.providers.bar_files.values.times import UNKNOWN, TimeReader
from app.providers.bar_files.values.unusable import UnusableRow

_FORMS = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S.%f-05:00", "%Y%m%d %H%M%S", "%Y.%m.%d %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M %p", "%b %d, %Y", "%Y%m%d", "%s", "%s000", "%s.5", "%d.%m.%Y %H:%M:%S.000 GMT+0100",
)  # fmt: skip


@given(
    st.lists(
        st.one_of(
            st.builds(
                lambda time, form: time.strftime(form.replace("%s", str(int(time.timestamp())))),
                st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - given a zone
                st.sampled_from(_FORMS),
            ),
            st.sampled_from(["2012-02-30 10:00:00", "2012-02-01 24:00:00", "2012-13-01", "20121301", "soon", "", "99999999"]),
            st.text("0123456789-:. TZ/+", max_size=20),
        ),
        min_size=1,
        max_size=30,
    )
)
@settings(deadline=None)
def test_a_column_of_times_has_what_each_has_by_itself(texts: list[str]) -> None:
    rows = Rows("\n".join(f"{text};" for text in texts).encode(), 1, ";", 2)
    times = TimeReader(read_moment).read(rows.column(0))
    for row, text in enumerate(texts):
        try:
            expected = read_moment(text)
        except UnusableRow:
            assert not times.usable[row], text
            continue
        assert times.usable[row], text
        assert times.local[row] == expected.local, text
        assert times.offset[row] == (UNKNOWN if expected.offset is None else expected.offset), text


_AT = datetime(2012, 2, 1, 13, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "local", "hours"),
    [
        ("2012-02-01T13:05Z", _AT, 0),
        ("2012-02-01 13:05:00-05:00", _AT, -5),
        ("2012-02-01 13:05:00.123456789+0530", _AT + timedelta(microseconds=123456), 5.5),
        ("20120201 130500", _AT, None),
        ("20120201 130500123", _AT + timedelta(milliseconds=123), None),
        ("20120201T1305", _AT, None),
        ("201202011305", _AT, None),
        ("20120201130500", _AT, None),
        ("2012.02.01 13:05", _AT, None),
        ("2012/2/1 13:05", _AT, None),
        ("01.02.2012 13:05:00.000 GMT+0100", _AT, 1),
        ("1.2.12 13:05", _AT, None),
        ("02/01/2012 1:05 PM", _AT, None),
        ("Feb 1, 2012 13:05", _AT, None),
        ("1 Feb 2012 13:05", _AT, None),
        ("1328101500", _AT, 0),
        ("1328101500000", _AT, 0),
        ("1328101500000000", _AT, 0),
        ("1328101500000000000", _AT, 0),
        ("1328101500.0", _AT, 0),
        ("1.3281015e9", _AT, 0),
        ("2012-02-01", _AT.replace(hour=0, minute=0), None),
    ],
)
def test_times_as_people_write_them(text: str, local: datetime, hours: float | None) -> None:
    moment = read_moment(text)
    assert moment_of(moment.local) == local
    assert moment.offset == (None if hours is None else hours * 3_600_000_000)


@pytest.mark.parametrize(
    "text", ["", "soon", "2012-02-30", "2012-02-01 25:00", "2012-02-01 10:61", "13/13/2012", "2012-02-01 13:00 PM"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UnusableRow, match="not a time"):
        read_moment(text)


def test_a_day_before_the_month_is_seen_by_any_of_the_dates() -> None:
    assert day_first(["01/02/2012", "13/02/2012"]) is True
    assert day_first(["01/02/2012", "02/13/2012"]) is False
    assert day_first(["01/02/2012", "2012-02-01"]) is None
    assert moment_of(read_moment("01/02/2012", month_first=False).local) == datetime(2012, 2, 1, tzinfo=UTC)
    assert moment_of(read_moment("01/02/2012").local) == datetime(2012, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(("text", "seconds"), [("09:30", 34200), ("9:30:15", 34215), ("093015", 34215), ("00:00:00.250", 0.25)])
def test_times_of_day(text: str, seconds: float) -> None:
    assert read_time_of_day(text).local == seconds * 1_000_000


@pytest.mark.parametrize(
    ("clock", "local", "utc"),
    [
        ("EST", "2012-07-01 00:00", "2012-07-01 05:00"),
        ("America/New_York", "2012-07-01 00:00", "2012-07-01 04:00"),
        ("America/New_York+07:00", "2012-07-01 00:00", "2012-06-30 21:00"),
        ("America/New_York+7", "2012-02-01 00:00", "2012-01-31 22:00"),
        ("Europe/Athens", "2012-07-01 00:00", "2012-06-30 21:00"),
        ("+05:30", "2012-07-01 00:00", "2012-06-30 18:30"),
        ("-3", "2012-07-01 00:00", "2012-07-01 03:00"),
        ("Etc/GMT+2", "2012-07-01 00:00", "2012-07-01 02:00"),
        ("utc", "2012-07-01 00:00", "2012-07-01 00:00"),
    ],
)
def test_clocks(clock: str, local: str, utc: str) -> None:
    shown, expected = (micros_of(datetime.fromisoformat(text).replace(tzinfo=UTC)) for text in (local, utc))
    assert parse_clock(clock).to_utc(np.array([shown])) == [expected]


@pytest.mark.parametrize(
    "text", ["", "Europe/Atlantis", "+25:00", "+01:99", "/etc/passwd", "../x", "America/New_York+07:00+01:00"]
)
def test_what_is_no_clock(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--timezone: "):
        parse_clock(text)
