"""Which trading day a daily row means."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from app.market.bars.candle import Granularity
from app.market.clock import rfc3339
from app.providers.bar_files.options import Options
from tests.providers.bar_files.bars.tables import flat, read, row, table


def _starts(*days: int) -> list[str]:
    """The starts of the trading days of these dates in February 2012, 17:00 in New York on the day before."""
    return [f"2012-02-{day - 1:02}T22:00" for day in days]


def _of(path: Path, options: Options | None = None) -> tuple[list[str], str, dict[str, int]]:
    file, bars = read(path, options or Options(granularity=Granularity.D))
    return [rfc3339(bar.time)[:16] for bar in bars], file.notes[-1], dict(file.rejected)


def _rows(*dates: str) -> list[str]:
    return [row(date, place) for place, date in enumerate(dates)]


@pytest.mark.parametrize(
    ("stamps", "days", "how"),
    [
        (["2012-02-06", "2012-02-07", "2012-02-10"], (6, 7, 10), "Dates are those of trading days"),
        (["2012-02-06 00:00:00-05:00", "2012-02-07 00:00:00-05:00"], (6, 7), "Dates are those of trading days"),
        (["2012.02.05", "2012.02.06", "2012.02.09"], (6, 7, 10), "Dates are those on which trading days begin"),
        (
            ["2012-02-05T22:00Z", "2012-02-06T22:00Z", "2012-02-09T22:00Z"],
            (6, 7, 10),
            "Times are those at which trading days begin",
        ),
        (
            ["2012-02-06T22:00Z", "2012-02-07T22:00Z", "2012-02-10T22:00Z"],
            (6, 7, 10),
            "Times are those at which trading days end",
        ),
        (["2012-02-05 21:00", "2012-02-06 21:00", "2012-02-09 21:00"], (6, 7, 10), "Times are those at which trading days begin"),
        (["2012-02-06 16:59:59-05:00", "2012-02-10 16:59:59-05:00"], (6, 10), "Times are those at which trading days end"),
        (
            ["2012-02-06 12:00", "2012-02-07 12:00", "2012-02-10 12:00"],
            (6, 7, 10),
            "Each row is the trading day that its time lies in",
        ),
    ],
)
def test_a_day_is_the_trading_day_that_its_stamp_means(
    tmp_path: Path, stamps: list[str], days: tuple[int, ...], how: str
) -> None:
    starts, note, rejected = _of(table(tmp_path / "eurusd.csv", _rows(*stamps)))
    assert starts == _starts(*days)
    assert note.startswith(how)
    assert rejected == {}


def test_a_sunday_beside_a_friday_is_the_beginning_of_monday(tmp_path: Path) -> None:
    rows = [
        "2012-02-03,1.30,1.31,1.29,1.305",
        "2012-02-05,1.306,1.307,1.280,1.304",
        "2012-02-06,1.304,1.320,1.300,1.310",
        "2012-02-07,1.310,1.311,1.309,1.310",
    ]
    file, bars = read(table(tmp_path / "eurusd.csv", rows))
    assert [rfc3339(bar.time)[:16] for bar in bars] == ["2012-02-02T22:00", "2012-02-05T22:00", "2012-02-06T22:00"]
    monday = bars[1].mid
    assert (monday.open, monday.high, monday.low, monday.close) == tuple(map(Decimal, ("1.306", "1.320", "1.280", "1.310")))
    assert (file.rows, file.accepted) == (4, 4)
    assert file.notes[-1].endswith("a Sunday is the beginning of Monday.")


def test_saturdays_and_flat_sundays_are_closed(tmp_path: Path) -> None:
    rows = [*_rows("2012-02-02", "2012-02-03"), row("2012-02-04"), flat("2012-02-05"), *_rows("2012-02-06", "2012-02-06")]
    starts, _, rejected = _of(table(tmp_path / "eurusd.csv", rows))
    assert starts == _starts(2, 3, 6)
    assert rejected == {"market closed": 2, "repeated time": 1}
    starts, _, rejected = _of(table(tmp_path / "eurusd.csv", rows), Options(granularity=Granularity.D, keep_closed=True))
    assert starts == _starts(2, 3, 4, 6)


def test_a_flat_holiday_is_closed(tmp_path: Path) -> None:
    rows = [row("2012-12-24"), flat("2012-12-25"), row("2012-12-26")]
    starts, _, rejected = _of(table(tmp_path / "eurusd.csv", rows))
    assert starts == ["2012-12-23T22:00", "2012-12-25T22:00"]
    assert rejected == {"market closed": 1}


@pytest.mark.parametrize(
    ("granularity", "stamps", "starts"),
    [
        ("W", ["2012-02-05", "2012-02-12"], ["2012-02-03T22:00", "2012-02-10T22:00"]),
        ("W", ["2012-02-06", "2012-02-13"], ["2012-02-03T22:00", "2012-02-10T22:00"]),
        ("W", ["2012-02-10", "2012-02-17"], ["2012-02-03T22:00", "2012-02-10T22:00"]),
        ("W", ["2012-02-03T22:00Z", "2012-02-10T22:00Z"], ["2012-02-03T22:00", "2012-02-10T22:00"]),
        ("M", ["2012-02-01", "2012-03-01"], ["2012-01-31T22:00", "2012-02-29T22:00"]),
        ("M", ["2012-02-29", "2012-03-30"], ["2012-01-31T22:00", "2012-02-29T22:00"]),
        ("M", ["2012-01-31T22:00Z", "2012-02-29T22:00Z"], ["2012-01-31T22:00", "2012-02-29T22:00"]),
    ],
)
def test_weeks_and_months_are_those_of_the_trading_day(
    tmp_path: Path, granularity: str, stamps: list[str], starts: list[str]
) -> None:
    found, _, rejected = _of(table(tmp_path / "eurusd.csv", _rows(*stamps)), Options(granularity=Granularity(granularity)))
    assert (found, rejected) == (starts, {})


def test_days_of_a_year_about_both_changes_of_the_clocks(tmp_path: Path) -> None:
    """Midnight in London, as Yahoo writes it."""
    days = [datetime(2012, 1, 2) + day * timedelta(days=1) for day in range(300)]  # noqa: DTZ001 - dates
    days = [day for day in days if day.weekday() < 5]
    stamps = [f"{day:%Y-%m-%d} 00:00:00+{1 if datetime(2012, 3, 25) < day < datetime(2012, 10, 28) else 0:02}:00" for day in days]  # noqa: DTZ001
    _, bars = read(table(tmp_path / "eurusd.csv", _rows(*stamps)))
    assert [Granularity.D.end(bar.time).date() for bar in bars] == [day.date() for day in days]
