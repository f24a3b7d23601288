"""Bars in a closed market, and files whose clock is not the one they are read by."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from app.errors import SourceError
from app.market.bars.candle import Granularity, Ohlc
from app.market.hours.calendar import is_open
from app.providers.bar_files.options import Options
from app.providers.bar_files.values.clocks import parse_clock
from app.sources import SOURCES
from tests.providers.bar_files.bars.tables import every, flat, read, row, table

_HOUR = timedelta(hours=1)


def _z(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_flat_bars_of_a_weekend_are_left_out_and_counted_unless_they_are_to_be_kept(tmp_path: Path) -> None:
    """Dukascopy, FXCM and some of MetaTrader's fill the weekend up with the last price."""
    times = every(_HOUR, "2012-02-02T00:00Z", "2012-02-07T23:00Z")
    rows = [row(_z(time), place) if is_open(time) else flat(_z(time)) for place, time in enumerate(times)]
    path = table(tmp_path / "eurusd.csv", rows)
    file, bars = read(path)
    assert [bar.time for bar in bars] == [time for time in times if is_open(time)]
    assert file.rejected == {"market closed": 48}
    assert file.examples[0].text.startswith("2012-02-03T22:00:00Z,1.30000")
    file, bars = read(path, Options(keep_closed=True))
    assert [bar.time for bar in bars] == times
    assert file.rejected == {}


def test_bars_of_a_weekend_that_move_are_left_out_too_but_for_a_source_that_is_always_open(tmp_path: Path) -> None:
    times = every(_HOUR, "2012-02-03T20:00Z", "2012-02-06T00:00Z")
    path = table(tmp_path / "eurusd.csv", [row(_z(time), place) for place, time in enumerate(times)])
    file, bars = read(path)
    assert (len(bars), file.rejected) == (5, {"market closed": 48})
    file, bars = read(path, Options(source="kraken", sources=SOURCES))
    assert (len(bars), file.rejected) == (len(times), {})


@pytest.mark.parametrize(("moves", "count"), [(True, 24), (False, 0)])
def test_a_holiday_is_closed_where_no_bar_of_it_moves(tmp_path: Path, moves: bool, count: int) -> None:
    times = every(_HOUR, "2012-12-24T22:00Z", "2012-12-25T21:00Z")
    rows = [flat(_z(time)) for time in times[:-1]] + [row(_z(times[-1])) if moves else flat(_z(times[-1]))]
    file, bars = read(table(tmp_path / "eurusd.csv", rows))
    assert (len(bars), file.rejected.total()) == (count, 24 - count)


def test_ticks_of_a_weekend_are_left_out(tmp_path: Path) -> None:
    rows = [
        "2012-02-03 21:59:59,1.1,1.2",
        "2012-02-04 12:00:00,1.1,1.2",
        "2012-02-05 22:00:00,1.1,1.2",
        "2012-02-05 22:01:00,1.1,1.2",
    ]
    file, bars = read(table(tmp_path / "eurusd.csv", rows, "timestamp,bid,ask"))
    assert [_z(bar.time) for bar in bars] == ["2012-02-03T21:59:00Z", "2012-02-05T22:00:00Z"]
    assert file.rejected == {"market closed": 1, "in the bar that the file ends within": 1}


def _on_a_server(
    folder: Path, clock: str, first: str = "2012-02-05T00:00Z", last: str = "2012-04-14T00:00Z"
) -> tuple[Path, list[datetime]]:
    """Ten weeks of hours as MetaTrader writes them whose server shows a clock; and when they really were."""
    shown = every(_HOUR, first, last)
    rows, moments = [], []
    for place, local in enumerate(shown):
        moment = _moment(local, clock)
        if is_open(moment):
            moments.append(moment)
            rows.append(row(local.strftime("%Y.%m.%d,%H:%M"), place) + ",100")
    path = folder / "EURUSD60.csv"
    path.write_text("\r\n".join(rows) + "\r\n")
    return path, moments


def _moment(local: datetime, clock: str) -> datetime:
    micros = np.array([int(local.timestamp() * 1_000_000)])
    return local + timedelta(microseconds=int(parse_clock(clock).to_utc(micros)[0] - micros[0]))


@pytest.mark.parametrize("clock", ["America/New_York+07:00", "America/New_York", "+03:00", "-05:00"])
def test_weeks_that_are_not_new_york_s_are_refused_with_the_clock_that_fits(tmp_path: Path, clock: str) -> None:
    path, moments = _on_a_server(tmp_path, clock)
    with pytest.raises(SourceError) as caught:
        read(path)
    said = str(caught.value)
    assert said.startswith(f"{path} cannot be imported: read as UTC, ")
    assert said.endswith(f"give --timezone {clock}, or --timezone UTC to read it as it is")
    file, bars = read(path, Options(clock=parse_clock(clock)))
    assert [bar.time for bar in bars] == moments
    assert file.notes[1] == f"Times are read as {clock}."
    file, bars = read(path, Options(clock=parse_clock("UTC")))
    assert file.rejected.keys() == {"market closed"}


def test_weeks_that_fit_are_read_with_a_note(tmp_path: Path) -> None:
    path, moments = _on_a_server(tmp_path, "UTC")
    file, bars = read(path)
    assert [bar.time for bar in bars] == moments
    assert file.notes[1].startswith("MetaTrader does not write down the clock of its server: times are read as UTC")


def test_a_weekend_that_is_filled_up_shows_no_wrong_clock(tmp_path: Path) -> None:
    times = every(_HOUR, "2012-02-01T00:00Z", "2012-02-20T00:00Z")
    rows = [
        row(f"{time:%Y-%m-%d %H:%M}", place) if is_open(time) else flat(f"{time:%Y-%m-%d %H:%M}")
        for place, time in enumerate(times)
    ]
    file, bars = read(table(tmp_path / "eurusd.csv", rows))
    assert file.rejected == {"market closed": sum(not is_open(time) for time in times)}
    assert all(is_open(bar.time) for bar in bars)


def test_second_rows_after_minutes_refuse_the_whole_file(tmp_path: Path) -> None:
    minutes = [row(_z(time)) for time in every(timedelta(minutes=1), "2012-02-01T00:00Z", "2012-02-03T00:00Z")]
    seconds = [row(_z(time)) for time in every(timedelta(seconds=1), "2012-02-03T00:01Z", "2012-02-03T00:05Z")]
    path = table(tmp_path / "eurusd.csv", [*minutes, *seconds])
    with pytest.raises(SourceError) as caught:
        read(path)
    said = "240 of its rows are closer together, the least 1 s, the first at line 2884: '2012-02-03T00:01:01Z"
    assert f"cannot be imported as bars of M1: {said}" in str(caught.value)
    assert str(caught.value).endswith("give --resample to make M1 bars of them")


@pytest.mark.parametrize(
    ("step", "granularity", "wanted"),
    [(1, "M1", None), (30, "M1", None), (60, "H1", "H1"), (1800, "H1", None), (7200, "H4", None)],
)
def test_rows_closer_together_are_aggregated_where_that_is_asked_for(
    tmp_path: Path, step: int, granularity: str, wanted: str | None
) -> None:
    times = every(timedelta(seconds=step), "2012-02-01T02:00Z", "2012-02-01T09:59:59Z")
    path = table(
        tmp_path / "eurusd.csv", [f"{row(_z(time), place)},2" for place, time in enumerate(times)], "time,o,h,l,c,volume"
    )
    with pytest.raises(SourceError, match="give --resample to make"):
        read(path, Options(granularity=Granularity(wanted) if wanted else None))
    file, bars = read(path, Options(granularity=Granularity(wanted) if wanted else None, resample=True))
    length = Granularity(granularity)
    assert [(bar.time, bar.granularity) for bar in bars] == [
        (start, length) for start in dict.fromkeys(length.start(time) for time in times)
    ]
    assert sum(bar.volume for bar in bars) == 2 * len(times) == 2 * file.accepted
    in_first = [place for place, time in enumerate(times) if length.start(time) == bars[0].time]
    opens = Decimal(row("", in_first[0]).split(",")[1])
    closes = Decimal(row("", in_first[-1]).split(",")[4])
    highest = max(Decimal(row("", place).split(",")[2]) for place in in_first)
    lowest = min(Decimal(row("", place).split(",")[3]) for place in in_first)
    assert bars[0].mid == Ohlc(opens, highest, lowest, closes)


def test_the_bar_that_the_file_ends_within_is_not_made(tmp_path: Path) -> None:
    times = every(timedelta(minutes=1), "2012-02-01T02:00Z", "2012-02-01T03:30Z")
    path = table(tmp_path / "eurusd.csv", [row(_z(time), place) for place, time in enumerate(times)])
    file, bars = read(path, Options(granularity=Granularity.H1, resample=True))
    assert [_z(bar.time) for bar in bars] == ["2012-02-01T02:00:00Z"]
    assert file.rejected == {"in the bar that the file ends within": 31}
