"""Tables with a header that names their columns."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from app.errors import SourceError
from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.clock import parse_time, rfc3339
from app.market.pair import CurrencyPair
from app.providers.bar_files.file import BarFile
from app.providers.bar_files.opening import open_bar_files
from app.providers.bar_files.options import Options

_EUR_USD, _USD_JPY = CurrencyPair("EUR", "USD"), CurrencyPair("USD", "JPY")
_MIDS = "time,open,high,low,close"


def _file(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _read(file: BarFile) -> list[Candle]:
    """Every bar, once it is sure that every row is accounted for."""
    candles = list(file.candles())
    assert file.rows == file.accepted + file.rejected.total()
    assert len(candles) == file.accepted
    return candles


def _ohlc(*prices: str) -> Ohlc:
    return Ohlc(*map(Decimal, prices))


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("time,open,high,low,close", "2024-01-05T10:00:00Z,1.1,1.4,1.0,1.2"),
        ("Timestamp,Open,High,Low,Close,Volume", "2024-01-05 10:00:00,1.1,1.4,1.0,1.2,0"),
        ("close,low,high,open,remark,DATE", "1.2,1.0,1.4,1.1,Größe,2024-01-05 11:00+01:00"),
        ("datetime;o;h;l;c", "2024-01-05T10:00;1.1;1.4;1.0;1.2"),
        ("<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>", "20240105T1000\t1.1\t1.4\t1.0\t1.2"),
        ('"time","mid.o","mid.h","mid.l","mid.c"', '"2024-01-05T10:00:00.000000000Z","1.1","1.4","1.0","1.2"'),
        ("\ufefftime, open, high, low, close", " 2024-01-05T10:00Z , 1.1, 1.4, 1.0, 1.2"),
        ("\n \ntime,open,high,low,close", "\n2024-01-05 10:00Z,1.1,1.4,1.0,1.2"),
        ("time,open,high,low,close", "1704448800,1.1,1.4,1.0,1.2"),
        ("time,open,high,low,close", "1704448800000,1.1,1.4,1.0,1.2"),
        ("time,mid_open,mid_high,mid_low,mid_close,bid_open", "2024-01-05T10:00Z,1.1,1.4,1.0,1.2,x"),
    ],
)
def test_one_price_is_bid_mid_and_ask(tmp_path: Path, header: str, row: str) -> None:
    file = BarFile(_file(tmp_path / "eurusd.csv", header, row), Options(granularity=Granularity.H1))
    prices = _ohlc("1.1", "1.4", "1.0", "1.2")
    time = datetime(2024, 1, 5, 10, tzinfo=UTC)
    assert _read(file) == [Candle(_EUR_USD, Granularity.H1, time, prices, prices, prices, 0, complete=True, source="import")]


@pytest.mark.parametrize(
    "header",
    [
        "time,bid_open,bid_high,bid_low,bid_close,ask_open,ask_high,ask_low,ask_close,volume",
        "time,bid_o,bid_h,bid_l,bid_c,ask_o,ask_h,ask_l,ask_c,volume",
        "Time,BidOpen,BidHigh,BidLow,BidClose,AskOpen,AskHigh,AskLow,AskClose,Volume",
        "time,Open Bid,High Bid,Low Bid,Close Bid,Open Ask,High Ask,Low Ask,Close Ask,Volume",
    ],
)
def test_mids_that_a_table_lacks_are_halfway(tmp_path: Path, header: str) -> None:
    row = "2024-01-05T10:00Z,1.1,1.4,1.0,1.2,1.3,1.5,1.2,1.3,17.0"
    [candle] = _read(BarFile(_file(tmp_path / "eurusd.csv", header, row), Options(granularity=Granularity.H1)))
    assert candle.bid == _ohlc("1.1", "1.4", "1.0", "1.2")
    assert candle.mid == _ohlc("1.2", "1.45", "1.1", "1.25")
    assert candle.ask == _ohlc("1.3", "1.5", "1.2", "1.3")
    assert candle.volume == 17


def test_mids_that_a_table_has_are_kept_where_they_can_be(tmp_path: Path) -> None:
    sides = ",".join(f"{side}_{price}" for side in ("bid", "mid", "ask") for price in "ohlc")
    mids = ("1.11,1.28,1.11,1.2", "1.2,1.31,1.2,1.2")
    rows = (f"2024-01-05T1{hour}:00Z,1.1,1.1,1.1,1.1,{mid},1.3,1.3,1.3,1.3" for hour, mid in enumerate(mids))
    file = BarFile(_file(tmp_path / "eurusd.csv", f"time,{sides}", *rows), Options(granularity=Granularity.H1))
    assert [bar.mid for bar in _read(file)] == [_ohlc("1.11", "1.28", "1.11", "1.2")]
    assert file.rejected == {"mid outside bid and ask": 1}


def test_pairs_and_granularities_may_be_columns(tmp_path: Path) -> None:
    path = _file(
        tmp_path / "prices.csv",
        "pair,granularity,time,open,high,low,close,complete,volume",
        "EUR_USD,H1,2024-01-05T10:00Z,1,1,1,1,true,3",
        "usd/jpy,H1,2024-01-05T10:00Z,150,150,150,150,true,",
        "EUR_USD,d,2024-01-03T22:00Z,1,1,1,1,1,5",
        "EURUSD,H1,2024-01-05T11:00Z,1,1,1,1,true,4",
        "EURUSD,H1,2024-01-05T12:00Z,1,1,1,1,False,4",
        "EURUSD,H2,2024-01-05T12:00Z,1,1,1,1,true,4",
        "gold,H1,2024-01-05T12:00Z,1,1,1,1,true,4",
        "EURUSD,H1,2024-01-05T13:00Z,1,1,1,1,true,some",
    )
    file = BarFile(path)
    assert [(bar.pair.name, bar.granularity, rfc3339(bar.time)[8:13], bar.volume) for bar in _read(file)] == [
        ("EUR_USD", "H1", "05T10", 3),
        ("EUR_USD", "H1", "05T11", 4),
        ("EUR_USD", "H1", "05T13", 0),
        ("USD_JPY", "H1", "05T10", 0),
        ("EUR_USD", "D", "03T22", 5),
    ]
    assert (file.pair, file.granularity, file.title) == (None, None, "bars from prices.csv")
    assert {example.line: example.reason for example in file.examples} == {
        6: "not complete",
        7: "not a granularity",
        8: "not a pair",
    }
    file = BarFile(path, Options(pair=_USD_JPY, source="broker"))
    assert [(bar.pair, bar.source) for bar in _read(file)] == [(_USD_JPY, "broker")]
    assert file.rejected["another pair"] == 5
    file = BarFile(path, Options(pair=_EUR_USD, granularity=Granularity.D))
    assert [bar.granularity for bar in _read(file)] == [Granularity.D]
    assert (file.rejected["another pair"], file.rejected["another granularity"]) == (1, 3)


@pytest.mark.parametrize("granularity", Granularity)
def test_granularity_is_the_usual_step_from_bar_to_bar(tmp_path: Path, granularity: Granularity) -> None:
    starts = [granularity.start(parse_time("2024-03-02T00:00Z"))]  # clocks in New York change on 10 March
    while len(starts) < 20:
        starts.append(granularity.end(starts[-1]))
    del starts[5]
    path = _file(tmp_path / "eurusd.csv", _MIDS, *(f"{rfc3339(time)},1,1,1,1" for time in starts))
    [reader] = open_bar_files([path], Options(keep_closed=True))
    assert reader.granularity is granularity
    assert [bar.time for bar in reader.candles()] == starts


@pytest.mark.parametrize(
    ("dates", "granularity", "starts"),
    [
        (["2024-03-07", "2024-03-08", "2024-03-11"], "D", ["2024-03-06T22:00Z", "2024-03-07T22:00Z", "2024-03-10T21:00Z"]),
        (["20240226", "20240304", "20240311"], "W", ["2024-02-23T22:00Z", "2024-03-01T22:00Z", "2024-03-08T22:00Z"]),
        (["2024-03-01", "2024-04-01", "2024-05-01"], "M", ["2024-02-29T22:00Z", "2024-03-31T21:00Z", "2024-04-30T21:00Z"]),
        (["2024-03-07", "2024-03-08", "2024-03-11"], "H1", ["2024-03-07T00:00Z", "2024-03-08T00:00Z", "2024-03-11T00:00Z"]),
    ],
)
def test_a_date_alone_is_a_trading_day(tmp_path: Path, dates: list[str], granularity: str, starts: list[str]) -> None:
    path = _file(tmp_path / "eurusd.csv", "date,open,high,low,close", *(f"{date},1,1,1,1" for date in dates))
    file = BarFile(path, Options(granularity=Granularity.H1 if granularity == "H1" else None))
    assert file.granularity == granularity
    assert [bar.time for bar in _read(file)] == [parse_time(start) for start in starts]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("yesterday,1,1,1,1", "not a time"),
        ("2024-01-05 11:00:61,1,1,1,1", "not a time"),
        ("0001-01-01T00:00+02:00,1,1,1,1", "not a time"),
        ("99999999999999999999999,1,1,1,1", "not a time"),
        (",1,1,1,1", "not a time"),
        ("2024-01-05 11:00:00,1,1,1", "wrong number of columns"),
        ("2024-01-05 11:00:00,1,1,1,1,1", "wrong number of columns"),
        ('"2024-01-05 11:00:00,1,1,1,1', "quotation marks that do not match"),
        ("2024-01-05 11:00:00,1,1,1,.", "not a price"),
        ("2024-01-05 11:00:00.000001,1,1,1,1", "not the start of a bar of H1"),
    ],
)
def test_a_row_that_cannot_be_used_is_counted_and_shown(tmp_path: Path, row: str, reason: str) -> None:
    rows = ("2024-01-05 10:00,1,1,1,1", row, "2024-01-05 12:00,1,1,1,1")
    file = BarFile(_file(tmp_path / "eurusd.csv", _MIDS, *rows), Options(granularity=Granularity.H1))
    assert [bar.time.hour for bar in _read(file)] == [10, 12]
    assert file.examples == [(3, reason, row)]


def test_a_trading_day_before_all_dates_is_no_time(tmp_path: Path) -> None:
    file = BarFile(_file(tmp_path / "eurusd.csv", "date,o,h,l,c", "0001-01-01,1,1,1,1"), Options(granularity=Granularity.D))
    assert _read(file) == []
    assert file.rejected == {"not a time": 1}


def test_three_rows_of_each_reason_are_shown_and_cut(tmp_path: Path) -> None:
    rows = [f"2024-01-05 10:00,{'1' * 100},1,1,{number}" for number in range(5)]
    file = BarFile(_file(tmp_path / "eurusd.csv", _MIDS, *rows), Options(granularity=Granularity.M1))
    assert _read(file) == []
    assert file.rejected == {"not a price": 5}
    assert [(example.line, example.text) for example in file.examples] == [(line, rows[0][:80]) for line in (2, 3, 4)]


def test_the_pair_given_is_preferred_to_the_name_s(tmp_path: Path) -> None:
    path = _file(tmp_path / "export.csv", _MIDS, "2024-01-05T10:00Z,1,1,1,1")
    assert BarFile(path, Options(pair=_EUR_USD, granularity=Granularity.H1)).pair == _EUR_USD


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["2024-01-05 10:00,1,1,1,1"], "its rows are too few to show how far apart they are; give --granularity"),
        (
            ["2024-01-05 10:00,1,1,1,1", "2024-01-05 10:30,1,1,1,1"],
            "its rows are 1800 s apart, as no bars here are; give --resample to make H1 bars of them",
        ),
    ],
)
def test_a_granularity_that_rows_do_not_tell_must_be_given(tmp_path: Path, rows: list[str], reason: str) -> None:
    path = _file(tmp_path / "eurusd.csv", _MIDS, *rows)
    with pytest.raises(SourceError) as caught:
        BarFile(path)
    assert str(caught.value) == f"{path} cannot be imported: {reason}"
    assert len(_read(BarFile(path, Options(granularity=Granularity.M5)))) == len(rows)


@pytest.mark.parametrize(
    "header",
    ["open,high,low,close", "time,open,high,low", "time,bid_open,bid_high,bid_low,bid_close", "time,open,high,low,c lose"],
)
def test_a_header_without_time_or_prices_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(SourceError, match="its rows are neither bars nor ticks of a known layout"):
        BarFile(_file(tmp_path / "eurusd.csv", header, "2024-01-05T10:00Z,1,1,1,1"))


def test_bids_and_asks_in_one_file_need_no_other(tmp_path: Path) -> None:
    header = "time,bid_o,bid_h,bid_l,bid_c,ask_o,ask_h,ask_l,ask_c"
    path = _file(tmp_path / "eurusd-bid.csv", header, *(f"2024-01-05T1{hour}:00Z,1,1,1,1,2,2,2,2" for hour in range(3)))
    [reader] = open_bar_files([path])
    assert len(list(reader.candles())) == 3


def test_two_tables_that_are_not_fxcm_s_are_joined_as_imported(tmp_path: Path) -> None:
    for side, price in (("bid", "1.1"), ("ask", "1.2")):
        rows = (f"2024-01-05T1{hour}:00Z,{price},{price},{price},{price},{hour}" for hour in range(3))
        _file(tmp_path / f"eurusd_{side}.csv", f"{_MIDS},volume", *rows)
    [reader] = open_bar_files(sorted(tmp_path.iterdir()))
    assert [(bar.bid.open, bar.ask.open, bar.volume, bar.source) for bar in reader.candles()] == [
        (Decimal("1.1"), Decimal("1.2"), hour, "import") for hour in range(3)
    ]
