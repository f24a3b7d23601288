import gzip
import zipfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import SourceError
from app.market.bars.candle import Candle, Granularity, Ohlc, aggregate
from app.market.clock import parse_time, utc_now
from app.market.pair import CurrencyPair
from app.providers.bar_files.file import BarFile
from app.providers.bar_files.opening import open_bar_files
from app.providers.bar_files.options import Options
from app.providers.bar_files.reader import BarReader
from app.providers.bar_files.tally import RejectedRow

_EUR_USD = CurrencyPair("EUR", "USD")
_HOUR = "20140505 21:00,1.1,1.3,1.0,1.2,0,1.2,1.4,1.1,1.3,0"


def _zip(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.csv", text)
    return path


def _gzip(path: Path, *rows: str) -> Path:
    path.write_bytes(gzip.compress("\n".join(("timestamp,open,high,low,close", *rows)).encode()))
    return path


def _ohlc(prices: str) -> Ohlc:
    return Ohlc(*(Decimal(price) for price in prices.split()))


def _read(reader: BarReader) -> list[Candle]:
    """Every bar, once it is sure that every row is accounted for."""
    candles = list(reader.candles())
    assert reader.rows == reader.accepted + reader.rejected.total()
    shown = Counter(example.reason for example in reader.examples)
    assert shown.keys() == reader.rejected.keys()
    assert all(count <= min(3, reader.rejected[reason]) for reason, count in shown.items())
    return candles


@pytest.mark.usefixtures("untraced_test")
@pytest.mark.parametrize(
    ("name", "title", "count", "first", "last"),
    [
        ("oanda/hour/eurusd.zip", "EUR_USD H1", 74_439, "2007-01-01T21:00Z", "2018-12-31T21:00Z"),
        ("oanda/hour/nzdusd.zip", "NZD_USD H1", 74_451, "2007-01-01T21:00Z", "2018-12-31T21:00Z"),
        ("oanda/minute/eurusd/20140505_quote.zip", "EUR_USD M1", 1350, "2014-05-05T00:00Z", "2014-05-05T23:59Z"),
    ],
)
def test_every_real_bar_is_read(fx_data: Path, name: str, title: str, count: int, first: str, last: str) -> None:
    [reader] = open_bar_files([fx_data / name])
    candles = _read(reader)
    assert reader.title == f"{title} bars from {Path(name).name}"
    assert (len(candles), reader.rows, reader.accepted, reader.rejected) == (count, count, count, Counter())
    assert (candles[0].time, candles[-1].time) == (parse_time(first), parse_time(last))
    assert {(bar.pair, bar.granularity, bar.source, bar.volume, bar.complete) for bar in candles} == {
        (reader.pair, reader.granularity, "oanda", 0, True)
    }


def test_a_bar_has_the_prices_of_its_row_and_mids_halfway(fx_data: Path) -> None:
    [reader] = open_bar_files([fx_data / "oanda" / "hour" / "eurusd.zip"])
    assert next(iter(reader.candles())) == Candle(
        _EUR_USD,
        Granularity.H1,
        datetime(2007, 1, 1, 21, tzinfo=UTC),
        bid=_ohlc("1.31927 1.31955 1.3187 1.31935"),
        mid=_ohlc("1.31977 1.32005 1.3192 1.31985"),
        ask=_ohlc("1.32027 1.32055 1.3197 1.32035"),
        volume=0,
        complete=True,
        source="oanda",
    )


def test_ticks_become_the_minutes_that_oanda_made_of_them(fx_data: Path) -> None:
    ticks, minutes = open_bar_files([fx_data / "oanda" / kind / "eurusd" / "20140505_quote.zip" for kind in ("tick", "minute")])
    built, read = _read(ticks), _read(minutes)
    assert [(bar.time, bar.bid, bar.ask) for bar in built] == [(bar.time, bar.bid, bar.ask) for bar in read]
    assert sum(bar.volume for bar in built) == ticks.rows == ticks.accepted == 25_177


def test_ticks_become_longer_bars_if_that_is_wanted(fx_data: Path) -> None:
    file = fx_data / "oanda" / "tick" / "eurusd" / "20140505_quote.zip"
    hours = _read(BarFile(file, Options(granularity=Granularity.H1)))
    assert hours == aggregate(_read(BarFile(file)), Granularity.H1, until=datetime(2014, 5, 6, tzinfo=UTC))
    with pytest.raises(SourceError, match="ticks become bars of an hour at most, not of H4"):
        BarFile(file, Options(granularity=Granularity.H4))


def test_the_ticks_of_the_last_bar_wait_for_its_end(fx_data: Path) -> None:
    [reader] = open_bar_files([fx_data / "truefx" / "usdjpy-ticks.csv"])
    candles = _read(reader)
    assert (reader.rows, reader.accepted) == (1000, 991)
    assert reader.rejected == {"in the bar that the file ends within": 9}
    assert reader.examples[0].line == 993
    assert reader.examples[0].text == "2013-01-01 22:35:00.406000+00:00,86.833,86.843"
    assert {(str(bar.pair), bar.source) for bar in candles} == {("USD_JPY", "truefx")}
    assert sum(bar.volume for bar in candles) == 991
    assert candles[-1].time == datetime(2013, 1, 1, 22, 34, tzinfo=UTC)


def test_bids_and_asks_of_two_files_are_joined_and_dirty_rows_are_counted(fx_data: Path) -> None:
    files = [fx_data / "fxcm" / f"gbpusd-m1-{side}-2012.csv.gz" for side in ("ask", "bid")]
    [reader] = open_bar_files(files)
    candles = _read(reader)
    assert (reader.rows, reader.accepted, len(candles)) == (30_117, 28_914, 28_914)
    assert reader.rejected == {
        "ask below bid at the close": 347,
        "ask below bid at the open": 329,
        "ask below bid at the high": 392,
        "ask below bid at the low": 135,
    }
    assert candles[0] == Candle(
        CurrencyPair("GBP", "USD"),
        Granularity.M1,
        datetime(2012, 2, 1, tzinfo=UTC),
        bid=_ohlc("1.57597 1.57606 1.57576 1.57576"),
        mid=_ohlc("1.576025 1.57608 1.575805 1.575805"),
        ask=_ohlc("1.57608 1.57610 1.57585 1.57585"),
        volume=0,
        complete=True,
        source="fxcm",
    )
    assert RejectedRow(
        526, "ask below bid at the close", "bid 2012-02-01 08:47:00+00:00,1.57409,1.57429,1.57406,1.57429"
    ) in reader.examples  # fmt: skip
    assert reader.title == "GBP_USD M1 bars from gbpusd-m1-bid-2012.csv.gz and gbpusd-m1-ask-2012.csv.gz"


def test_a_row_that_one_of_two_files_lacks_is_rejected(tmp_path: Path) -> None:
    def row(minute: int, price: str) -> str:
        return f"2012-02-01 00:{minute:02}:00+00:00,{price},{price},{price},{price}"

    bids = _gzip(tmp_path / "eurusd-m1-BID.csv.gz", *(row(minute, "1.1") for minute in (0, 1, 2, 4, 5)))
    asks = _gzip(tmp_path / "eurusd-m1-ASK.csv.gz", row(0, "1.2"), row(1, "1.0"), row(2, "x"), row(3, "1.2"), row(4, "1.2"))
    [reader] = open_bar_files([bids, asks], Options(source="broker"))
    for _ in range(2):
        assert [(bar.time.minute, bar.source) for bar in _read(reader)] == [(0, "broker"), (4, "broker")]
        assert reader.rows == 7
        assert sorted(reader.examples) == [
            (3, "ask below bid at the close", "bid 2012-02-01 00:01:00+00:00,1.1,1.1,1.1,1.1"),
            (4, "no ask of this time", "bid 2012-02-01 00:02:00+00:00,1.1,1.1,1.1,1.1"),
            (4, "not a price", "ask 2012-02-01 00:02:00+00:00,x,x,x,x"),
            (5, "no bid of this time", "ask 2012-02-01 00:03:00+00:00,1.2,1.2,1.2,1.2"),
            (6, "no ask of this time", "bid 2012-02-01 00:05:00+00:00,1.1,1.1,1.1,1.1"),
        ]


def test_one_side_alone_is_refused(fx_data: Path) -> None:
    for side, other in (("bid", "asks"), ("ask", "bids")):
        with pytest.raises(
            SourceError, match=rf"-{side}-2012\.csv\.gz cannot be imported alone: the file of the {other} is needed"
        ):
            open_bar_files([fx_data / "fxcm" / f"gbpusd-m1-{side}-2012.csv.gz"])


def test_sides_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    minutes = [f"2012-02-01 00:0{minute}:00,1,1,1,1" for minute in range(3)]
    hours = [f"2012-02-01 0{hour}:00:00,1,1,1,1" for hour in range(3)]
    bids, asks = _gzip(tmp_path / "eurusd-bid.csv.gz", *minutes), _gzip(tmp_path / "eurusd-ask.csv.gz", *hours)
    with pytest.raises(SourceError, match=r"cannot be joined: one has EUR_USD M1 bars .* one has EUR_USD H1 bars"):
        open_bar_files([bids, asks])
    _zip(tmp_path / "eurusd-bid.zip", _HOUR)
    _zip(tmp_path / "eurusd-ask.zip", _HOUR)
    with pytest.raises(SourceError, match=r"eurusd-bid\.zip cannot be imported as one side"):
        open_bar_files([tmp_path / "eurusd-bid.zip", tmp_path / "eurusd-ask.zip"])


def test_readers_come_in_the_order_of_the_files(fx_data: Path) -> None:
    assert open_bar_files([]) == []
    names = (
        "fxcm/gbpusd-m1-bid-2012.csv.gz",
        "oanda/hour/eurusd.zip",
        "fxcm/gbpusd-m1-ask-2012.csv.gz",
        "truefx/usdjpy-ticks.csv",
    )
    readers = open_bar_files([fx_data / name for name in names])
    assert [str(reader.pair) for reader in readers] == ["GBP_USD", "EUR_USD", "USD_JPY"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("20140505 22:00,1.1,1.3,1.0,1.2,0,1.2,1.4,1.1,1.3", "wrong number of columns"),
        ("20140505 25:00,1.1,1.3,1.0,1.2,0,1.2,1.4,1.1,1.3,0", "not a time"),
        ("99999999 22:00,1.1,1.3,1.0,1.2,0,1.2,1.4,1.1,1.3,0", "not a time"),
        ("20140505 22:30,1.1,1.3,1.0,1.2,0,1.2,1.4,1.1,1.3,0", "not the start of a bar of H1"),
        ("20140505 22:00,1.1,NaN,1.0,1.2,0,1.2,1.4,1.1,1.3,0", "not a price"),
        ("20140505 22:00,1.1,1e1,1.0,1.2,0,1.2,1.4,1.1,1.3,0", "not a price"),
        ("20140505 22:00,1.1,1_3,1.0,1.2,0,1.2,1.4,1.1,1.3,0", "not a price"),
        ("20140505 22:00,1.1,１.3,1.0,1.2,0,1.2,1.4,1.1,1.3,0", "not a price"),
        ("20140505 22:00,1.1,-1.3,1.0,1.2,0,1.2,1.4,1.1,1.3,0", "not a price"),
        ("20140505 22:00,1.1,1.30000000000000000001,1.0,1.2,0,1.2,1.4,1.1,1.3,0", "not a price"),
        ("20140505 22:00,1.1,1.3,0,1.2,0,1.2,1.4,1.1,1.3,0", "price not above 0"),
        ("20140505 22:00,1.4,1.3,1.0,1.2,0,1.2,1.4,1.1,1.3,0", "a price outside low and high"),
        ("20140505 22:00,1.1,1.3,1.0,1.2,0,1.2,1.4,1.1,1.0,0", "a price outside low and high"),
        ("20140505 22:00,1.1,1.3,1.0,1.2,0,1.2,1.4,1.1,1.1,0", "ask below bid at the close"),
        ("20140505 22:00,1.3,1.3,1.0,1.2,0,1.2,1.4,1.1,1.3,0", "ask below bid at the open"),
        ("20140505 22:00,1.1,1.5,1.0,1.2,0,1.2,1.4,1.1,1.3,0", "ask below bid at the high"),
        ("20140505 22:00,1.2,1.3,1.2,1.2,0,1.2,1.4,1.1,1.3,0", "ask below bid at the low"),
        (_HOUR, "repeated time"),
        ("20140504 20:00,1.1,1.3,1.0,1.2,0,1.2,1.4,1.1,1.3,0", "market closed"),
        ("99991231 23:00,1.1,1.3,1.0,1.2,0,1.2,1.4,1.1,1.3,0", "not a time"),
        ("29991231 23:00,1.1,1.3,1.0,1.2,0,1.2,1.4,1.1,1.3,0", "not over yet"),
    ],
)
def test_a_row_that_cannot_be_used_is_counted_and_shown(tmp_path: Path, row: str, reason: str) -> None:
    after = _HOUR.replace("20140505 21", "20140505 23")
    file = BarFile(_zip(tmp_path / "eurusd.zip", f"{_HOUR}\r\n\r\n{row}\r\n{after}\r\n"))
    assert [bar.time.hour for bar in _read(file)] == [21, 23]
    assert file.examples == [(3, reason, row[:80])]
    assert file.rows == 3


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("61000,1.1", "wrong number of columns"),
        ("86400000,1.1,1.2", "not a time"),
        ("-1,1.1,1.2", "not a time"),
        ("61000,0,1.2", "price not above 0"),
        ("61000,1.3,1.2", "ask below bid"),
    ],
)
def test_a_tick_that_cannot_be_used_is_counted_and_shown(tmp_path: Path, row: str, reason: str) -> None:
    file = BarFile(_zip(tmp_path / "20140505_eurusd.zip", f"60000,1.1,1.2\n{row}\n60000,1.2,1.3"), Options(pair=_EUR_USD))
    assert [(bar.time.minute, bar.volume, bar.bid) for bar in _read(file)] == [(1, 2, _ohlc("1.1 1.2 1.1 1.2"))]
    assert file.examples == [(2, reason, row)]


def test_rows_in_any_order_are_sorted(tmp_path: Path) -> None:
    hours = [_HOUR.replace("20140505 21", f"20140506 {hour:02}") for hour in (7, 5, 6, 4)]
    file = BarFile(_zip(tmp_path / "eurusd.zip", "\n".join(hours)))
    assert [bar.time.hour for bar in _read(file)] == [4, 5, 6, 7]
    ticks = BarFile(_zip(tmp_path / "20140505_eurusd.zip", "120000,1.3,1.4\n60000,1.1,1.2\n60500,1.2,1.3"))
    assert [(bar.time.minute, bar.volume, bar.bid) for bar in _read(ticks)] == [
        (1, 2, _ohlc("1.1 1.2 1.1 1.2")),
        (2, 1, _ohlc("1.3 1.3 1.3 1.3")),
    ]


def test_a_day_that_is_not_over_leaves_its_last_bar_open(tmp_path: Path) -> None:
    today = utc_now() + timedelta(hours=1)  # a day that does not end while this test runs
    folder = tmp_path / "eurusd"
    kept = Options(keep_closed=True)  # it may be a Saturday
    file = BarFile(_zip(folder / f"{today:%Y%m%d}_quote.zip", "0,1.1,1.2\n86399999,1.1,1.2"), kept)
    tomorrow = BarFile(_zip(folder / f"{today + timedelta(days=2):%Y%m%d}_quote.zip", "0,1.1,1.2"), kept)
    assert _read(file) == []
    assert file.rejected["in the future"] + file.rejected["in the bar that the file ends within"] == 2
    assert _read(tomorrow) == []
    assert tomorrow.rejected == {"in the future": 1}


def test_days_in_the_layout_of_hours_are_days(tmp_path: Path) -> None:
    rows = (_HOUR.replace("20140505 21:00", f"201405{day:02} 00:00") for day in (5, 6, 7, 8, 9))
    file = BarFile(_zip(tmp_path / "eurusd.zip", "\n".join(rows)))
    assert [(bar.granularity, bar.time.day, bar.time.hour) for bar in _read(file)] == [("D", day, 21) for day in (4, 5, 6, 7, 8)]
    rows = (_HOUR.replace("20140505 21:00", f"201405{day:02} 00:00") for day in (5, 12, 19))
    with pytest.raises(SourceError, match="its rows are 604800 s apart, not an hour"):
        BarFile(_zip(tmp_path / "weeks" / "eurusd.zip", "\n".join(rows)))


def test_bars_of_another_length_than_wanted_are_refused(fx_data: Path) -> None:
    with pytest.raises(SourceError, match=r"eurusd\.zip cannot be imported as bars of M5: it holds bars of H1"):
        BarFile(fx_data / "oanda" / "hour" / "eurusd.zip", Options(granularity=Granularity.M5))


_NO_NAMES = "which names no column of times with one of open, high, low and close, or of bid and ask"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        ("a;b;c\n1;2;3\n", f"line 1 is 'a;b;c', {_NO_NAMES}"),
        ("\ntime,price\n1,2\n", f"line 2 is 'time,price', {_NO_NAMES}"),
        ("\x00\x01\xff", f"line 1 is '\\x00\\x01ÿ', {_NO_NAMES}"),
        (
            "60000,1.1,1.2\n",
            "line 1 is '60000,1.1,1.2', a row of no layout that is known without a header; give the file a header such as "
            "time,open,high,low,close, or its day at the start of its name where rows hold milliseconds since midnight",
        ),
    ],
)
def test_rows_of_no_known_layout_are_refused_with_what_is_missing(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "eurusd.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SourceError) as caught:
        BarFile(path)
    assert str(caught.value) == f"{path} cannot be imported: its rows are neither bars nor ticks of a known layout: {why}"


def test_a_file_without_a_pair_is_refused_unless_it_is_told(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x" / "hours.zip", _HOUR)
    with pytest.raises(SourceError, match=r"hours\.zip cannot be imported: neither its name nor its folder's names a pair"):
        BarFile(path)
    assert [bar.pair for bar in _read(BarFile(path, Options(pair=_EUR_USD)))] == [_EUR_USD]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        open_bar_files([tmp_path / "eurusd.zip"])
    assert str(caught.value) == f"{tmp_path / 'eurusd.zip'} cannot be read: No such file or directory"


def test_a_damaged_file_gives_no_bars(tmp_path: Path, fx_data: Path) -> None:
    packed = (fx_data / "fxcm" / "gbpusd-m1-bid-2012.csv.gz").read_bytes()
    for side, size in (("bid", len(packed)), ("ask", len(packed) // 2)):
        (tmp_path / f"gbpusd-{side}.csv.gz").write_bytes(packed[:size])
    [reader] = open_bar_files(sorted(tmp_path.iterdir()))
    with pytest.raises(SourceError, match=r"gbpusd-ask\.csv\.gz cannot be read: Compressed file ended"):
        next(reader.candles())
    assert reader.accepted == 0


_ROWS = st.one_of(
    st.just(_HOUR),
    st.text("0123456789 :.,-eN\"'\x00é", max_size=60),
    st.builds(
        lambda day, hour, prices: f"201405{day:02} {hour:02}:00,{','.join(prices[:4])},0,{','.join(prices[4:])},0",
        st.integers(0, 40),
        st.integers(0, 30),
        st.lists(st.sampled_from(["1.1", "1.2", "1.3", "0", "", "x"]), min_size=8, max_size=8),
    ),
)


@given(st.lists(_ROWS, max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_accounted_for_whatever_it_holds(tmp_path: Path, rows: list[str]) -> None:
    path = tmp_path / "eurusd.csv"
    hours = (_HOUR.replace("20140505 21", f"20140401 {hour:02}") for hour in range(24))
    path.write_text("\n".join([*hours, *rows]), encoding="utf-8", newline="\n")
    file = BarFile(path)
    candles = _read(file)
    assert len(candles) == file.accepted
    assert [bar.time for bar in candles] == sorted({bar.time for bar in candles})
