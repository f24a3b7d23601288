"""A small file of every layout, made from its public description with prices of our own: its bars, or the refusal."""

import gzip
import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypedDict

import orjson
import pytest

from app.errors import SourceError
from app.market.bars.candle import Candle, Granularity
from app.market.clock import parse_time
from app.providers.bar_files.opening import open_bar_files
from app.providers.bar_files.options import Options
from app.providers.bar_files.values.clocks import parse_clock
from tests.project import PROJECT

_PRICES = [
    ("1.30660", "1.30707", "1.30649", "1.30707"),
    ("1.30707", "1.30725", "1.30698", "1.30717"),
    ("1.30717", "1.30740", "1.30664", "1.30686"),
]
"""Open, high, low and close of three bars."""

_DAY = datetime(2012, 2, 1, tzinfo=UTC)
_HOURS = [_DAY + hour * timedelta(hours=1) for hour in range(3)]
_MINUTES = [_DAY + minute * timedelta(minutes=1) for minute in range(3)]
_DATES = [_DAY + day * timedelta(days=1) for day in range(3)]
_ANY = Options()
_PLAIN = "time,open,high,low,close"
_SPREAD = Decimal("0.00012")


@dataclass(frozen=True)
class Case:
    """A file by its name and contents, and what is expected: the first and the last time in UTC, the length, and the source."""

    name: str
    contents: str | bytes
    first: str
    last: str
    granularity: str = "H1"
    source: str = "import"
    count: int = 3
    pair: str = "EUR_USD"
    options: Options = _ANY
    volume: int = 0
    ask: str = "1.30660"


def _lines(*lines: str, end: str = "\n") -> str:
    return end.join(lines) + end


def _rows(times: Iterable[datetime], form: str, row: str, prices: Sequence[Sequence[str]] = _PRICES) -> list[str]:
    """A row for each time: ``{t}`` is the time in the form, ``{o}`` to ``{c}`` the prices, ``{ao}`` to ``{ac}`` those of asks."""
    rows = []
    for time, four in zip(times, prices, strict=True):
        asks = {f"a{name}": str(Decimal(price) + _SPREAD) for name, price in zip("ohlc", four, strict=True)}
        stamp = str(int(time.timestamp())) if form == "epoch" else time.strftime(form)
        rows.append(row.format(t=stamp, **dict(zip("ohlc", four, strict=True)), **asks))
    return rows


def _table(header: str, times: Iterable[datetime], form: str, row: str) -> str:
    return _lines(header, *_rows(times, form, row))


def _zip(**files: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return packed.getvalue()


_HISTDATA = _lines(*_rows(_MINUTES, "%Y%m%d %H%M%S", "{t};{o}0;{h}0;{l}0;{c}0;0"))
_METATRADER_4 = _lines(*_rows(_HOURS, "%Y.%m.%d,%H:%M", "{t},{o},{h},{l},{c},100"), end="\r\n")
_METATRADER_5 = _table(
    "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
    _HOURS, "%Y.%m.%d\t%H:%M:%S", "{t}\t{o}\t{h}\t{l}\t{c}\t100\t0\t12",
)  # fmt: skip
_TICKS = [_DAY + timedelta(milliseconds=count) for count in (250, 30_500, 59_999, 60_000)]


def _ticks(header: str, form: str, row: str, *, crossed: bool = False) -> str:
    """Three ticks of a minute and one of the next, which is not over: one bar comes of them."""
    prices = (("1.30660", "1.30672"), ("1.30707", "1.30719"), ("1.30649", "1.30661"), ("1.3", "1.4"))
    rows = []
    for time, (bid, ask) in zip(_TICKS, prices, strict=True):
        stamp = str(int(time.timestamp() * 1000)) if form == "ms" else time.strftime(form)
        stamp = stamp[:-3] if form.endswith("%f") else stamp
        rows.append(row.format(t=stamp, b=bid, a=ask))
    return _lines(*([header] if header else []), *rows)


_JSON = orjson.dumps(
    {
        "instrument": "EUR_USD",
        "granularity": "H1",
        "candles": [
            {
                "complete": number < 3,
                "volume": 100,
                "time": f"2012-02-01T{number:02}:00:00.000000000Z",
                **{side: dict(zip("ohlc", prices, strict=True)) for side in ("bid", "mid", "ask")},
            }
            for number, prices in enumerate([*_PRICES, _PRICES[0]])
        ],
    }
).decode()


class _Span(TypedDict):
    first: str
    last: str


class _SpanOf(_Span):
    granularity: str


class _Bar(_SpanOf):
    count: int


_ONE_BAR: _Bar = {"granularity": "M1", "count": 1, "first": "2012-02-01T00:00Z", "last": "2012-02-01T00:00Z"}
_D: _SpanOf = {"granularity": "D", "first": "2012-01-31T22:00Z", "last": "2012-02-02T22:00Z"}
_H: _Span = {"first": "2012-02-01T00:00Z", "last": "2012-02-01T02:00Z"}
_UTC_5: _Span = {"first": "2012-02-01T05:00Z", "last": "2012-02-01T07:00Z"}

CASES = {
    "HistData ASCII M1": Case(
        "DAT_ASCII_EURUSD_M1_201202.csv", _HISTDATA, "2012-02-01T05:00Z", "2012-02-01T05:02Z", "M1", "histdata"
    ),
    "HistData ASCII M1, zip with its report": Case(
        "HISTDATA_COM_ASCII_EURUSD_M1201202.zip",
        _zip(DAT_ASCII_EURUSD_M1_201202__csv=_HISTDATA, DAT_ASCII_EURUSD_M1_201202__txt="Missing gaps: none"),
        "2012-02-01T05:00Z", "2012-02-01T05:02Z", "M1", "histdata",
    ),
    "HistData ASCII M1 in summer": Case(
        "DAT_ASCII_EURUSD_M1_201207.csv",
        _lines(*_rows([time + timedelta(days=152) for time in _MINUTES], "%Y%m%d %H%M%S", "{t};{o};{h};{l};{c};0")),
        "2012-07-02T05:00Z", "2012-07-02T05:02Z", "M1", "histdata",
    ),
    "HistData ASCII ticks": Case(
        "DAT_ASCII_EURUSD_T_201202.csv", _ticks("", "%Y%m%d %H%M%S%f", "{t},{b},{a},0"),
        "2012-02-01T05:00Z", "2012-02-01T05:00Z", "M1", "histdata", 1, volume=3, ask="1.30672",
    ),
    "HistData MetaTrader": Case(
        "DAT_MT_EURUSD_M1_201202.csv", _lines(*_rows(_MINUTES, "%Y.%m.%d,%H:%M", "{t},{o},{h},{l},{c},0")),
        "2012-02-01T05:00Z", "2012-02-01T05:02Z", "M1", "histdata",
    ),
    "Dukascopy web export, GMT": Case(
        "EURUSD_Candlestick_1_Hour_BID_01.02.2012-03.02.2012.csv",
        _table("Gmt time,Open,High,Low,Close,Volume", _HOURS, "%d.%m.%Y %H:%M:%S.000", "{t},{o},{h},{l},{c},3912.3701"),
        **_H, source="dukascopy", volume=3912,
    ),
    "Dukascopy web export, local": Case(
        "EURUSD_Candlestick_1_Hour_ASK_01.02.2012-03.02.2012.csv",
        _table(
            "Local time,Open,High,Low,Close,Volume", _HOURS, "%d.%m.%Y %H:%M:%S.000 GMT+0100", "{t},{o},{h},{l},{c},3912.3701"
        ),
        "2012-01-31T23:00Z", "2012-02-01T01:00Z", source="dukascopy", volume=3912,
    ),
    "Dukascopy web ticks": Case(
        "EURUSD_Ticks_01.02.2012-01.02.2012.csv",
        _ticks("Gmt time,Ask,Bid,AskVolume,BidVolume", "%d.%m.%Y %H:%M:%S.%f", "{t},{a},{b},1.5,0.75"),
        **_ONE_BAR, source="dukascopy", volume=3, ask="1.30672",
    ),
    "dukascopy-node bars": Case(
        "eurusd-h1-2012-02-01-2012-02-02.csv",
        _table("timestamp,open,high,low,close,volume", _HOURS, "epoch", "{t}000,{o},{h},{l},{c},3912.37"),
        **_H, volume=3912,
    ),
    "dukascopy-node ticks": Case(
        "eurusd-tick-2012-02-01-2012-02-02.csv",
        _ticks("timestamp,askPrice,bidPrice,askVolume,bidVolume", "ms", "{t},{a},{b},1.5,0.75"),
        **_ONE_BAR, source="dukascopy", volume=3, ask="1.30672",
    ),
    "MetaTrader 4 without header": Case("EURUSD60.csv", _METATRADER_4, **_H, source="metatrader", volume=100),
    "MetaTrader 4 with header": Case(
        "EURUSD60.csv", _table("Date,Time,Open,High,Low,Close,Volume", _HOURS, "%Y.%m.%d,%H:%M", "{t},{o},{h},{l},{c},100"),
        **_H, volume=100,
    ),
    "MetaTrader 4 on a server's clock": Case(
        "EURUSD60.csv", _METATRADER_4, "2012-01-31T22:00Z", "2012-02-01T00:00Z", source="metatrader", volume=100,
        options=Options(clock=parse_clock("America/New_York+07:00")),
    ),
    "MetaTrader 5": Case("EURUSD_H1_201202010000.csv", _METATRADER_5, **_H, source="metatrader", volume=100),
    "MetaTrader 5 in UTF-16": Case(
        "EURUSD_H1_201202010000.csv", _METATRADER_5.encode("utf-16"), **_H, source="metatrader", volume=100
    ),
    "MetaTrader 5 in UTF-16 without a mark": Case(
        "EURUSD_H1_201202010000.csv", _METATRADER_5.encode("utf-16-le"), **_H, source="metatrader", volume=100
    ),
    "MetaTrader 5 daily": Case(
        "EURUSD_Daily.csv",
        _table(
            "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
            _DATES, "%Y.%m.%d", "{t}\t{o}\t{h}\t{l}\t{c}\t100\t0\t12",
        ),
        **_D, source="metatrader", volume=100,
    ),
    "MetaTrader 5 ticks": Case(
        "EURUSD_201202010000.csv",
        _lines(
            "<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>\t<FLAGS>",
            "2012.02.01\t00:00:00.250\t1.30660\t1.30672\t\t\t6",
            "2012.02.01\t00:00:30.500\t\t1.30719\t\t\t4",
            "2012.02.01\t00:00:31.500\t1.30707\t\t\t\t2",
            "2012.02.01\t00:00:59.999\t1.30649\t\t\t\t2",
            "2012.02.01\t00:01:00.000\t1.3\t1.4\t\t\t6",
        ),
        **_ONE_BAR, source="metatrader", volume=4, ask="1.30672",
    ),
    "TrueFX month": Case(
        "EURUSD-2012-02.csv", _ticks("", "%Y%m%d %H:%M:%S.%f", "EUR/USD,{t},{b},{a}"),
        **_ONE_BAR, source="truefx", volume=3, ask="1.30672",
    ),
    "TrueFX month, zip": Case(
        "EURUSD-2012-02.zip", _zip(EURUSD_2012_02__csv=_ticks("", "%Y%m%d %H:%M:%S.%f", "EUR/USD,{t},{b},{a}")),
        **_ONE_BAR, source="truefx", volume=3, ask="1.30672",
    ),
    "FXCM candles": Case(
        "EURUSD/2012/5.csv.gz",
        gzip.compress(
            _table(
                "DateTime,BidOpen,BidHigh,BidLow,BidClose,AskOpen,AskHigh,AskLow,AskClose",
                _HOURS, "%m/%d/%Y %H:%M:%S.000", "{t},{o},{h},{l},{c},{ao},{ah},{al},{ac}",
            ).encode()
        ),
        **_H, source="fxcm", ask="1.30672",
    ),
    "FXCM ticks": Case(
        "EURUSD/2012/5.csv.gz", gzip.compress(_ticks("DateTime,Bid,Ask", "%m/%d/%Y %H:%M:%S.%f", "{t},{b},{a}").encode("utf-16")),
        **_ONE_BAR, source="fxcm", volume=3, ask="1.30672",
    ),
    "fxcmpy": Case(
        "eurusd.csv",
        _table(
            "date,bidopen,bidclose,bidhigh,bidlow,askopen,askclose,askhigh,asklow,tickqty",
            _HOURS, "%Y-%m-%d %H:%M:%S", "{t},{o},{c},{h},{l},{ao},{ac},{ah},{al},100",
        ),
        **_H, source="fxcm", volume=100, ask="1.30672",
    ),
    "Stooq daily from its site": Case(
        "eurusd_d.csv", _table("Date,Open,High,Low,Close", _DATES, "%Y-%m-%d", "{t},{o},{h},{l},{c}"), **_D
    ),
    "Stooq daily": Case(
        "eurusd.txt",
        _table(
            "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
            _DATES, "%Y%m%d", "EURUSD,D,{t},000000,{o},{h},{l},{c},0,0",
        ),
        **_D, source="stooq",
    ),
    "Stooq hourly": Case(
        "eurusd.txt",
        _table(
            "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
            _HOURS, "%Y%m%d,%H%M%S", "EURUSD,60,{t},{o},{h},{l},{c},0,0",
        ),
        **_H, source="stooq",
    ),
    "Yahoo's site": Case(
        "EURUSD=X.csv", _table("Date,Open,High,Low,Close,Adj Close,Volume", _DATES, "%Y-%m-%d", "{t},{o},{h},{l},{c},{c},0"),
        **_D, source="yahoo",
    ),
    "yfinance download()": Case(
        "prices.csv",
        _lines(
            "Price,Close,High,Low,Open,Volume",
            "Ticker,EURUSD=X,EURUSD=X,EURUSD=X,EURUSD=X,EURUSD=X",
            "Date,,,,,",
            *_rows(_DATES, "%Y-%m-%d", "{t},{c},{h},{l},{o},0"),
        ),
        **_D, source="yahoo",
    ),
    "yfinance history()": Case(
        "eurusd.csv",
        _lines(
            "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits",
            "2012-02-01 00:00:00+00:00,1.3065999746322632,1.307070016860962,1.3064899444580078,1.307070016860962,0,0.0,0.0",
            "2012-02-02 00:00:00+00:00,1.307070016860962,1.3072500228881836,1.3069800138473511,1.3071700334548950,0,0.0,0.0",
            "2012-02-03 00:00:00+00:00,1.3071700334548950,1.3073999881744385,1.3066400289535522,1.3068599700927734,0,0.0,0.0",
        ),
        **_D, source="yahoo",
    ),
    "Alpha Vantage, newest first": Case(
        "eurusd.csv",
        _lines("timestamp,open,high,low,close", *_rows(_HOURS, "%Y-%m-%d %H:%M:%S", "{t},{o},{h},{l},{c}")[::-1], end="\r\n"),
        **_H,
    ),
    "Investing.com": Case(
        "EUR_USD Historical Data.csv",
        _lines(
            '\ufeff"Date","Price","Open","High","Low","Vol.","Change %"',
            *_rows(_DATES, "%m/%d/%Y", '"{t}","{c}","{o}","{h}","{l}","","0.04%"')[::-1],
        ),
        **_D, source="investing",
    ),
    "Investing.com, months by name": Case(
        "EUR_USD Historical Data.csv",
        _lines(
            '"Date","Price","Open","High","Low","Change %"',
            *_rows(_DATES, "%b %d, %Y", '"{t}","{c}","{o}","{h}","{l}","0.04%"')[::-1],
        ),
        **_D, source="investing",
    ),
    "Kraken OHLCVT": Case(
        "EURUSD_60.csv", _lines(*_rows(_HOURS, "epoch", "{t},{o},{h},{l},{c},1234.5678,42")), **_H, source="kraken", volume=42
    ),
    "OANDA candles as JSON": Case("candles.json", _JSON, **_H, source="oanda", volume=100),
    "TradingView": Case(
        "FX_EURUSD, 60.csv", _table("time,open,high,low,close,Volume", _HOURS, "epoch", "{t},{o},{h},{l},{c},100"),
        **_H, volume=100,
    ),
    "TradingView, ISO": Case(
        "FX_EURUSD, 60.csv", _table(_PLAIN, _HOURS, "%Y-%m-%dT%H:%M:%S-05:00", "{t},{o},{h},{l},{c}"), **_UTC_5
    ),
    "pandas, unnamed index of times": Case(
        "eurusd.csv", _table(",open,high,low,close", _HOURS, "%Y-%m-%d %H:%M:%S-05:00", "{t},{o},{h},{l},{c}"), **_UTC_5
    ),
    "pandas, unnamed index of numbers": Case(
        "eurusd.csv", _table(",time,open,high,low,close", _HOURS, "%Y-%m-%d %H:%M:%S", "0,{t},{o},{h},{l},{c}"), **_H
    ),
    "pandas, seconds": Case("eurusd.csv", _table(_PLAIN, _HOURS, "epoch", "{t},{o},{h},{l},{c}"), **_H),
    "pandas, milliseconds": Case("eurusd.csv", _table(_PLAIN, _HOURS, "epoch", "{t}000,{o},{h},{l},{c}"), **_H),
    "pandas, nanoseconds": Case(
        "eurusd.csv", _table(_PLAIN, _HOURS, "epoch", "{t}000000000,{o},{h},{l},{c}"), **_H
    ),
    "pandas, seconds with a fraction": Case(
        "eurusd.csv", _table(_PLAIN, _HOURS, "epoch", "{t}.0,{o},{h},{l},{c}"), **_H
    ),
    "pandas, NaN volume": Case(
        "eurusd.csv", _table(f"{_PLAIN},volume", _HOURS, "%Y-%m-%d %H:%M:%S+00:00", "{t},{o},{h},{l},{c},NaN"), **_H
    ),
    "Excel, German": Case(
        "eurusd.csv",
        _lines(
            "\ufeffZeit;Eröffnung;Hoch;Tief;Schluss", *_rows(_HOURS, "%d.%m.%Y %H:%M", "{t};{o};{h};{l};{c}"), end="\r\n"
        ).replace("1.3", "1,3"),
        **_H,
    ),
    "Excel, German, date and time apart, not UTF-8": Case(
        "eurusd.csv",
        _lines("Datum;Uhrzeit;Eröffnung;Hoch;Tief;Schluss", *_rows(_HOURS, "%d.%m.%Y;%H:%M", "{t};{o};{h};{l};{c}"))
        .replace("1.3", "1,3")
        .encode("cp1252"),
        **_H,
    ),
    "Excel, sep=;": Case(
        "eurusd.csv", _lines("sep=;", "time;open;high;low;close", *_rows(_HOURS, "%Y-%m-%d %H:%M", "{t};{o};{h};{l};{c}")), **_H
    ),
    "Excel, English": Case(
        "eurusd.csv", _table("Date,Open,High,Low,Close", _HOURS, "%m/%d/%Y %I:%M %p", "{t},{o},{h},{l},{c}"), **_H
    ),
    "Excel, day first": Case(
        "eurusd.csv",
        _lines(
            "Date,Open,High,Low,Close",
            *_rows([time + timedelta(days=13) for time in _HOURS], "%d/%m/%Y %H:%M", "{t},{o},{h},{l},{c}"),
        ),
        "2012-02-14T00:00Z", "2012-02-14T02:00Z",
    ),
    "Lean daily": Case(
        "eurusd.csv", _lines(*_rows(_DATES, "%Y%m%d %H:%M", "{t},{o},{h},{l},{c},0,{ao},{ah},{al},{ac},0")),
        **_D, source="oanda", ask="1.30672",
    ),
    "Lean seconds, aggregated": Case(
        "20120201_eurusd.csv",
        _lines(*(f"{time}000,1.30660,1.30707,1.30649,1.30707,0,1.30672,1.30719,1.30661,1.30719,0" for time in range(180))),
        "2012-02-01T00:00Z", "2012-02-01T00:02Z", "M1", "oanda", options=Options(resample=True), ask="1.30672",
    ),
    "an order of rows by chance": Case(
        "eurusd.csv",
        _lines(_PLAIN, *(_rows(_HOURS, "%Y-%m-%d %H:%M", "{t},{o},{h},{l},{c}")[place] for place in (1, 2, 0))),
        **_H,
    ),
}  # fmt: skip


def _write(folder: Path, case: Case) -> Path:
    path = folder / case.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(case.contents if isinstance(case.contents, bytes) else case.contents.encode())
    return path


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_file_of_the_layout_is_read(tmp_path: Path, case: Case) -> None:
    [reader] = open_bar_files([_write(tmp_path, case)], case.options)
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
        text = _table(header, _HOURS, "%d.%m.%Y %H:%M:%S.000", row)
        (tmp_path / f"EURUSD_Candlestick_1_Hour_{side}_01.02.2012-03.02.2012.csv").write_text(text)
    [reader] = open_bar_files(sorted(tmp_path.iterdir()))
    bars = list(reader.candles())
    assert [(bar.bid.open, bar.ask.open - bar.bid.open, bar.source) for bar in bars] == [
        (Decimal(prices[0]), _SPREAD, "dukascopy") for prices in _PRICES
    ]
    for side, price in (("bid", "1.1"), ("ask", "1.2")):
        rows = (f"{int(time.timestamp())}000,{price},{price},{price},{price},0.5" for time in _HOURS)
        (tmp_path / f"gbpusd-h1-{side}-2012-02-01.csv").write_text(_lines("timestamp,open,high,low,close,volume", *rows))
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
            _lines(*(f"{second * 1000},1,1,1,1,0,2,2,2,2,0" for second in range(180))),
            Options(),
            "cannot be imported as bars of M1: its rows are 1 s apart, as line 2 is: '1000,1,1,1,1,0,2,2,2,2,0'; "
            "give --resample to make M1 bars of them",
        ),
        (
            "eurusd.csv",
            _table(_PLAIN, _MINUTES, "%Y-%m-%dT%H:%M:%SZ", "{t},{o},{h},{l},{c}"),
            Options(granularity=Granularity.H1),
            "cannot be imported as bars of H1: its rows are 60 s apart, as line 3 is: "
            "'2012-02-01T00:01:00Z,1.30707,1.30725,1.30698,1.30717'; "
            "give --resample to make H1 bars of them, or --granularity M1",
        ),
        (
            "eurusd.csv",
            _lines("Date;Open;High;Low;Close", "2012-02-01 00:00;eins;zwei;drei;vier", "2012-02-01 01:00;1;1;1;1;1"),
            Options(),
            "cannot be imported: none of its first rows can be read: line 2, column 2 (open): not a price: "
            "'2012-02-01 00:00;eins;zwei;drei;vier'",
        ),
        (
            "eurusd.csv",
            _lines(_PLAIN, "tomorrow,1,1,1,1"),
            Options(),
            "cannot be imported: none of its first rows can be read: line 2, column 1 (time): not a time: 'tomorrow,1,1,1,1'",
        ),
        ("eurusd.csv", "time,open,high,low,close\n", Options(), "cannot be imported: it has no rows"),
        (
            "prices.csv", _METATRADER_5, Options(),
            "cannot be imported: neither its name nor its folder's names a pair; give --pair",
        ),
        ("eurusd.json", '{"candles": []}', Options(), "cannot be imported: its JSON holds no list of candles"),
        ("eurusd.json", '{"candles": [', Options(), "cannot be read: not JSON: "),
        ("eurusd.zip", _zip(a__csv="x", b__csv="y", c__txt="z"), Options(), "cannot be read: it holds 3 files, not one"),
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
