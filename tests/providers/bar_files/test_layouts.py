"""A small file of every layout gives its bars, or the refusal."""

from decimal import Decimal
from pathlib import Path

import pytest

from app.errors import SourceError
from app.market.bars.candle import Candle, Granularity
from app.market.clock import parse_time
from app.providers.bar_files.opening import open_bar_files
from app.providers.bar_files.options import Options
from tests.project import PROJECT
from tests.providers.bar_files.layout_files import (
    CASES,
    HOURS,
    METATRADER_5,
    MINUTES,
    PLAIN,
    PRICES,
    SPREAD,
    Case,
    lines,
    table,
    write,
    zipped,
)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_file_of_the_layout_is_read(tmp_path: Path, case: Case) -> None:
    [reader] = open_bar_files([write(tmp_path, case)], case.options)
    bars = list(reader.candles())
    assert (len(bars), bars[0].time, bars[-1].time) == (case.count, parse_time(case.first), parse_time(case.last)), (
        reader.rejected
    )
    assert {(bar.pair.name, bar.granularity, bar.source, bar.complete) for bar in bars} == {
        (case.pair, Granularity(case.granularity), case.source, True)
    }
    first = bars[0]
    assert first.bid.open == Decimal("1.30660")
    assert (first.bid.high, first.bid.low) == (Decimal("1.30707"), Decimal("1.30649"))
    assert first.ask.open == Decimal(case.ask)
    assert first.mid.open == (first.bid.open + first.ask.open) / 2
    assert first.volume == case.volume
    assert reader.rows == reader.accepted + reader.rejected.total()
    if case.count == 3 and case.granularity != "M1":
        assert (bars[-1].bid.open, bars[-1].bid.close) == (Decimal("1.30717"), Decimal("1.30686"))


def test_bids_and_asks_of_dukascopy_go_together(tmp_path: Path) -> None:
    header = "Gmt time,Open,High,Low,Close,Volume"
    for side, row in (("BID", "{t},{o},{h},{l},{c},1.5"), ("ASK", "{t},{ao},{ah},{al},{ac},2.5")):
        text = table(header, HOURS, "%d.%m.%Y %H:%M:%S.000", row)
        (tmp_path / f"EURUSD_Candlestick_1_Hour_{side}_01.02.2012-03.02.2012.csv").write_text(text)
    [reader] = open_bar_files(sorted(tmp_path.iterdir()))
    bars = list(reader.candles())
    assert [(bar.bid.open, bar.ask.open - bar.bid.open, bar.source) for bar in bars] == [
        (Decimal(prices[0]), SPREAD, "dukascopy") for prices in PRICES
    ]
    for side, price in (("bid", "1.1"), ("ask", "1.2")):
        rows = (f"{int(time.timestamp())}000,{price},{price},{price},{price},0.5" for time in HOURS)
        (tmp_path / f"gbpusd-h1-{side}-2012-02-01.csv").write_text(lines("timestamp,open,high,low,close,volume", *rows))
    [reader] = open_bar_files(sorted(tmp_path.glob("gbpusd*")))
    assert [(str(bar.pair), bar.mid.close) for bar in reader.candles()] == [("GBP_USD", Decimal("1.15"))] * 3


SHARED = {
    "DAT_ASCII_EURUSD_M1_201202.csv": ("M1", "histdata", 180, "2012-02-01T05:00Z", "2012-02-01T07:59Z"),
    "EURUSD60.csv": ("H1", "metatrader", 48, "2012-02-01T00:00Z", "2012-02-02T23:00Z"),
    "EURUSD_H1_201202010000_201202022300.csv": ("H1", "metatrader", 48, "2012-02-01T00:00Z", "2012-02-02T23:00Z"),
    "EURUSD_Candlestick_1_Hour_BID_01.02.2012-03.02.2012.csv": (
        "H1", "dukascopy", 48, "2012-02-01T00:00Z", "2012-02-02T23:00Z",
    ),
    "EURUSD-2012-02.zip": ("M1", "truefx", 1, "2012-02-01T00:00Z", "2012-02-01T00:00Z"),
    "EURUSD_pandas_rangeindex.csv": ("H1", "import", 48, "2012-02-01T05:00Z", "2012-02-03T04:00Z"),
    "EURUSD_pandas_nanvol.csv": ("H1", "import", 48, "2012-02-01T00:00Z", "2012-02-02T23:00Z"),
    "EURUSD_yahoo_history.csv": ("D", "yahoo", 10, "2012-01-29T22:00Z", "2012-02-09T22:00Z"),
    "EURUSD_excel_de2.csv": ("H1", "import", 48, "2012-02-01T00:00Z", "2012-02-02T23:00Z"),
    "EURUSD_av_daily.csv": ("D", "import", 10, "2012-01-29T22:00Z", "2012-02-09T22:00Z"),
}  # fmt: skip


@pytest.mark.parametrize("name", SHARED)
def test_files_as_people_have_them_are_read(name: str) -> None:
    folder = PROJECT.parent / "shared" / "cases" / "files"
    if not folder.is_dir():
        pytest.skip(f"the files that this test reads are not at {folder}")
    assert {file.name for file in folder.iterdir()} == SHARED.keys()
    granularity, source, count, first, last = SHARED[name]
    [reader] = open_bar_files([folder / name])
    bars = list(reader.candles())
    assert (len(bars), bars[0].time, bars[-1].time) == (count, parse_time(first), parse_time(last))
    assert {(bar.pair.name, bar.granularity, bar.source) for bar in bars} == {("EUR_USD", Granularity(granularity), source)}
    # Days and hours begin with the same price in all of the files.
    assert bars[0].bid.open == Decimal("1.3066")
    assert (bars[-1].bid.close, bars[-1].mid.high) == _last(granularity, source, bars[-1])


def _last(granularity: str, source: str, bar: Candle) -> tuple[Decimal, Decimal]:
    if granularity == "H1":
        return Decimal("1.31292"), Decimal("1.31311")
    if granularity == "D":
        return Decimal("1.29827"), Decimal("1.30280")
    return (Decimal("1.30621"), Decimal("1.30624")) if source == "histdata" else (bar.bid.close, bar.mid.high)


@pytest.mark.parametrize(
    ("name", "text", "options", "said"),
    [
        (
            "20120201_eurusd.csv",
            lines(*(f"{second * 1000},1,1,1,1,0,2,2,2,2,0" for second in range(180))),
            Options(),
            "cannot be imported as bars of M1: its rows are 1 s apart, as line 2 is: '1000,1,1,1,1,0,2,2,2,2,0'; "
            "give --resample to make M1 bars of them",
        ),
        (
            "eurusd.csv",
            table(PLAIN, MINUTES, "%Y-%m-%dT%H:%M:%SZ", "{t},{o},{h},{l},{c}"),
            Options(granularity=Granularity.H1),
            "cannot be imported as bars of H1: its rows are 60 s apart, as line 3 is: "
            "'2012-02-01T00:01:00Z,1.30707,1.30725,1.30698,1.30717'; "
            "give --resample to make H1 bars of them, or --granularity M1",
        ),
        (
            "eurusd.csv",
            lines("Date;Open;High;Low;Close", "2012-02-01 00:00;eins;zwei;drei;vier", "2012-02-01 01:00;1;1;1;1;1"),
            Options(),
            "cannot be imported: none of its first rows can be read: line 2, column 2 (open): not a price: "
            "'2012-02-01 00:00;eins;zwei;drei;vier'",
        ),
        (
            "eurusd.csv",
            lines(PLAIN, "tomorrow,1,1,1,1"),
            Options(),
            "cannot be imported: none of its first rows can be read: line 2, column 1 (time): not a time: 'tomorrow,1,1,1,1'",
        ),
        ("eurusd.csv", "time,open,high,low,close\n", Options(), "cannot be imported: it has no rows"),
        (
            "prices.csv", METATRADER_5, Options(),
            "cannot be imported: neither its name nor its folder's names a pair; give --pair",
        ),
        ("eurusd.json", '{"candles": []}', Options(), "cannot be imported: its JSON holds no list of candles"),
        ("eurusd.json", '{"candles": [', Options(), "cannot be read: not JSON: "),
        ("eurusd.zip", zipped(a__csv="x", b__csv="y", c__txt="z"), Options(), "cannot be read: it holds 3 files, not one"),
    ],
)  # fmt: skip
def test_a_refusal_says_which_row_which_column_and_what_to_give(
    tmp_path: Path, name: str, text: str | bytes, options: Options, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SourceError) as caught:
        open_bar_files([path], options)[0].blocks()
    assert str(caught.value).startswith(f"{path} {said}")
