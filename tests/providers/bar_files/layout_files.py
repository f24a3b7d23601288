"""A small file of every layout, made from its public description with prices of our own, and what has to come of it."""

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

from app.providers.bar_files.options import Options
from app.providers.bar_files.values.clocks import parse_clock

PRICES = [
    ("1.30660", "1.30707", "1.30649", "1.30707"),
    ("1.30707", "1.30725", "1.30698", "1.30717"),
    ("1.30717", "1.30740", "1.30664", "1.30686"),
]
"""Open, high, low and close of three bars."""

_DAY = datetime(2012, 2, 1, tzinfo=UTC)
HOURS = [_DAY + hour * timedelta(hours=1) for hour in range(3)]
MINUTES = [_DAY + minute * timedelta(minutes=1) for minute in range(3)]
_DATES = [_DAY + day * timedelta(days=1) for day in range(3)]
_ANY = Options()
PLAIN = "time,open,high,low,close"
SPREAD = Decimal("0.00012")


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


def lines(*lines: str, end: str = "\n") -> str:
    return end.join(lines) + end


def _rows(times: Iterable[datetime], form: str, row: str, prices: Sequence[Sequence[str]] = PRICES) -> list[str]:
    """A row for each time: ``{t}`` is the time in the form, ``{o}`` to ``{c}`` the prices, ``{ao}`` to ``{ac}`` those of asks."""
    rows = []
    for time, four in zip(times, prices, strict=True):
        asks = {f"a{name}": str(Decimal(price) + SPREAD) for name, price in zip("ohlc", four, strict=True)}
        stamp = str(int(time.timestamp())) if form == "epoch" else time.strftime(form)
        rows.append(row.format(t=stamp, **dict(zip("ohlc", four, strict=True)), **asks))
    return rows


def table(header: str, times: Iterable[datetime], form: str, row: str) -> str:
    return lines(header, *_rows(times, form, row))


def zipped(**files: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return packed.getvalue()


_HISTDATA = lines(*_rows(MINUTES, "%Y%m%d %H%M%S", "{t};{o}0;{h}0;{l}0;{c}0;0"))
_METATRADER_4 = lines(*_rows(HOURS, "%Y.%m.%d,%H:%M", "{t},{o},{h},{l},{c},100"), end="\r\n")
METATRADER_5 = table(
    "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
    HOURS, "%Y.%m.%d\t%H:%M:%S", "{t}\t{o}\t{h}\t{l}\t{c}\t100\t0\t12",
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
    return lines(*([header] if header else []), *rows)


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
            for number, prices in enumerate([*PRICES, PRICES[0]])
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
        zipped(DAT_ASCII_EURUSD_M1_201202__csv=_HISTDATA, DAT_ASCII_EURUSD_M1_201202__txt="Missing gaps: none"),
        "2012-02-01T05:00Z", "2012-02-01T05:02Z", "M1", "histdata",
    ),
    "HistData ASCII M1 in summer": Case(
        "DAT_ASCII_EURUSD_M1_201207.csv",
        lines(*_rows([time + timedelta(days=152) for time in MINUTES], "%Y%m%d %H%M%S", "{t};{o};{h};{l};{c};0")),
        "2012-07-02T05:00Z", "2012-07-02T05:02Z", "M1", "histdata",
    ),
    "HistData ASCII ticks": Case(
        "DAT_ASCII_EURUSD_T_201202.csv", _ticks("", "%Y%m%d %H%M%S%f", "{t},{b},{a},0"),
        "2012-02-01T05:00Z", "2012-02-01T05:00Z", "M1", "histdata", 1, volume=3, ask="1.30672",
    ),
    "HistData MetaTrader": Case(
        "DAT_MT_EURUSD_M1_201202.csv", lines(*_rows(MINUTES, "%Y.%m.%d,%H:%M", "{t},{o},{h},{l},{c},0")),
        "2012-02-01T05:00Z", "2012-02-01T05:02Z", "M1", "histdata",
    ),
    "Dukascopy web export, GMT": Case(
        "EURUSD_Candlestick_1_Hour_BID_01.02.2012-03.02.2012.csv",
        table("Gmt time,Open,High,Low,Close,Volume", HOURS, "%d.%m.%Y %H:%M:%S.000", "{t},{o},{h},{l},{c},3912.3701"),
        **_H, source="dukascopy", volume=3912,
    ),
    "Dukascopy web export, local": Case(
        "EURUSD_Candlestick_1_Hour_ASK_01.02.2012-03.02.2012.csv",
        table(
            "Local time,Open,High,Low,Close,Volume", HOURS, "%d.%m.%Y %H:%M:%S.000 GMT+0100", "{t},{o},{h},{l},{c},3912.3701"
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
        table("timestamp,open,high,low,close,volume", HOURS, "epoch", "{t}000,{o},{h},{l},{c},3912.37"),
        **_H, volume=3912,
    ),
    "dukascopy-node ticks": Case(
        "eurusd-tick-2012-02-01-2012-02-02.csv",
        _ticks("timestamp,askPrice,bidPrice,askVolume,bidVolume", "ms", "{t},{a},{b},1.5,0.75"),
        **_ONE_BAR, source="dukascopy", volume=3, ask="1.30672",
    ),
    "MetaTrader 4 without header": Case("EURUSD60.csv", _METATRADER_4, **_H, source="metatrader", volume=100),
    "MetaTrader 4 with header": Case(
        "EURUSD60.csv", table("Date,Time,Open,High,Low,Close,Volume", HOURS, "%Y.%m.%d,%H:%M", "{t},{o},{h},{l},{c},100"),
        **_H, volume=100,
    ),
    "MetaTrader 4 on a server's clock": Case(
        "EURUSD60.csv", _METATRADER_4, "2012-01-31T22:00Z", "2012-02-01T00:00Z", source="metatrader", volume=100,
        options=Options(clock=parse_clock("America/New_York+07:00")),
    ),
    "MetaTrader 5": Case("EURUSD_H1_201202010000.csv", METATRADER_5, **_H, source="metatrader", volume=100),
    "MetaTrader 5 in UTF-16": Case(
        "EURUSD_H1_201202010000.csv", METATRADER_5.encode("utf-16"), **_H, source="metatrader", volume=100
    ),
    "MetaTrader 5 in UTF-16 without a mark": Case(
        "EURUSD_H1_201202010000.csv", METATRADER_5.encode("utf-16-le"), **_H, source="metatrader", volume=100
    ),
    "MetaTrader 5 daily": Case(
        "EURUSD_Daily.csv",
        table(
            "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
            _DATES, "%Y.%m.%d", "{t}\t{o}\t{h}\t{l}\t{c}\t100\t0\t12",
        ),
        **_D, source="metatrader", volume=100,
    ),
    "MetaTrader 5 ticks": Case(
        "EURUSD_201202010000.csv",
        lines(
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
        "EURUSD-2012-02.zip", zipped(EURUSD_2012_02__csv=_ticks("", "%Y%m%d %H:%M:%S.%f", "EUR/USD,{t},{b},{a}")),
        **_ONE_BAR, source="truefx", volume=3, ask="1.30672",
    ),
    "FXCM candles": Case(
        "EURUSD/2012/5.csv.gz",
        gzip.compress(
            table(
                "DateTime,BidOpen,BidHigh,BidLow,BidClose,AskOpen,AskHigh,AskLow,AskClose",
                HOURS, "%m/%d/%Y %H:%M:%S.000", "{t},{o},{h},{l},{c},{ao},{ah},{al},{ac}",
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
        table(
            "date,bidopen,bidclose,bidhigh,bidlow,askopen,askclose,askhigh,asklow,tickqty",
            HOURS, "%Y-%m-%d %H:%M:%S", "{t},{o},{c},{h},{l},{ao},{ac},{ah},{al},100",
        ),
        **_H, source="fxcm", volume=100, ask="1.30672",
    ),
    "Stooq daily from its site": Case(
        "eurusd_d.csv", table("Date,Open,High,Low,Close", _DATES, "%Y-%m-%d", "{t},{o},{h},{l},{c}"), **_D
    ),
    "Stooq daily": Case(
        "eurusd.txt",
        table(
            "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
            _DATES, "%Y%m%d", "EURUSD,D,{t},000000,{o},{h},{l},{c},0,0",
        ),
        **_D, source="stooq",
    ),
    "Stooq hourly": Case(
        "eurusd.txt",
        table(
            "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
            HOURS, "%Y%m%d,%H%M%S", "EURUSD,60,{t},{o},{h},{l},{c},0,0",
        ),
        **_H, source="stooq",
    ),
    "Yahoo's site": Case(
        "EURUSD=X.csv", table("Date,Open,High,Low,Close,Adj Close,Volume", _DATES, "%Y-%m-%d", "{t},{o},{h},{l},{c},{c},0"),
        **_D, source="yahoo",
    ),
    "yfinance download()": Case(
        "prices.csv",
        lines(
            "Price,Close,High,Low,Open,Volume",
            "Ticker,EURUSD=X,EURUSD=X,EURUSD=X,EURUSD=X,EURUSD=X",
            "Date,,,,,",
            *_rows(_DATES, "%Y-%m-%d", "{t},{c},{h},{l},{o},0"),
        ),
        **_D, source="yahoo",
    ),
    "yfinance history()": Case(
        "eurusd.csv",
        lines(
            "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits",
            "2012-02-01 00:00:00+00:00,1.3065999746322632,1.307070016860962,1.3064899444580078,1.307070016860962,0,0.0,0.0",
            "2012-02-02 00:00:00+00:00,1.307070016860962,1.3072500228881836,1.3069800138473511,1.3071700334548950,0,0.0,0.0",
            "2012-02-03 00:00:00+00:00,1.3071700334548950,1.3073999881744385,1.3066400289535522,1.3068599700927734,0,0.0,0.0",
        ),
        **_D, source="yahoo",
    ),
    "Alpha Vantage, newest first": Case(
        "eurusd.csv",
        lines("timestamp,open,high,low,close", *_rows(HOURS, "%Y-%m-%d %H:%M:%S", "{t},{o},{h},{l},{c}")[::-1], end="\r\n"),
        **_H,
    ),
    "Investing.com": Case(
        "EUR_USD Historical Data.csv",
        lines(
            '\ufeff"Date","Price","Open","High","Low","Vol.","Change %"',
            *_rows(_DATES, "%m/%d/%Y", '"{t}","{c}","{o}","{h}","{l}","","0.04%"')[::-1],
        ),
        **_D, source="investing",
    ),
    "Investing.com, months by name": Case(
        "EUR_USD Historical Data.csv",
        lines(
            '"Date","Price","Open","High","Low","Change %"',
            *_rows(_DATES, "%b %d, %Y", '"{t}","{c}","{o}","{h}","{l}","0.04%"')[::-1],
        ),
        **_D, source="investing",
    ),
    "Kraken OHLCVT": Case(
        "EURUSD_60.csv", lines(*_rows(HOURS, "epoch", "{t},{o},{h},{l},{c},1234.5678,42")), **_H, source="kraken", volume=42
    ),
    "OANDA candles as JSON": Case("candles.json", _JSON, **_H, source="oanda", volume=100),
    "TradingView": Case(
        "FX_EURUSD, 60.csv", table("time,open,high,low,close,Volume", HOURS, "epoch", "{t},{o},{h},{l},{c},100"),
        **_H, volume=100,
    ),
    "TradingView, ISO": Case(
        "FX_EURUSD, 60.csv", table(PLAIN, HOURS, "%Y-%m-%dT%H:%M:%S-05:00", "{t},{o},{h},{l},{c}"), **_UTC_5
    ),
    "pandas, unnamed index of times": Case(
        "eurusd.csv", table(",open,high,low,close", HOURS, "%Y-%m-%d %H:%M:%S-05:00", "{t},{o},{h},{l},{c}"), **_UTC_5
    ),
    "pandas, unnamed index of numbers": Case(
        "eurusd.csv", table(",time,open,high,low,close", HOURS, "%Y-%m-%d %H:%M:%S", "0,{t},{o},{h},{l},{c}"), **_H
    ),
    "pandas, seconds": Case("eurusd.csv", table(PLAIN, HOURS, "epoch", "{t},{o},{h},{l},{c}"), **_H),
    "pandas, milliseconds": Case("eurusd.csv", table(PLAIN, HOURS, "epoch", "{t}000,{o},{h},{l},{c}"), **_H),
    "pandas, nanoseconds": Case(
        "eurusd.csv", table(PLAIN, HOURS, "epoch", "{t}000000000,{o},{h},{l},{c}"), **_H
    ),
    "pandas, seconds with a fraction": Case(
        "eurusd.csv", table(PLAIN, HOURS, "epoch", "{t}.0,{o},{h},{l},{c}"), **_H
    ),
    "pandas, NaN volume": Case(
        "eurusd.csv", table(f"{PLAIN},volume", HOURS, "%Y-%m-%d %H:%M:%S+00:00", "{t},{o},{h},{l},{c},NaN"), **_H
    ),
    "Excel, German": Case(
        "eurusd.csv",
        lines(
            "\ufeffZeit;Eröffnung;Hoch;Tief;Schluss", *_rows(HOURS, "%d.%m.%Y %H:%M", "{t};{o};{h};{l};{c}"), end="\r\n"
        ).replace("1.3", "1,3"),
        **_H,
    ),
    "Excel, German, date and time apart, not UTF-8": Case(
        "eurusd.csv",
        lines("Datum;Uhrzeit;Eröffnung;Hoch;Tief;Schluss", *_rows(HOURS, "%d.%m.%Y;%H:%M", "{t};{o};{h};{l};{c}"))
        .replace("1.3", "1,3")
        .encode("cp1252"),
        **_H,
    ),
    "Excel, sep=;": Case(
        "eurusd.csv", lines("sep=;", "time;open;high;low;close", *_rows(HOURS, "%Y-%m-%d %H:%M", "{t};{o};{h};{l};{c}")), **_H
    ),
    "Excel, English": Case(
        "eurusd.csv", table("Date,Open,High,Low,Close", HOURS, "%m/%d/%Y %I:%M %p", "{t},{o},{h},{l},{c}"), **_H
    ),
    "Excel, day first": Case(
        "eurusd.csv",
        lines(
            "Date,Open,High,Low,Close",
            *_rows([time + timedelta(days=13) for time in HOURS], "%d/%m/%Y %H:%M", "{t},{o},{h},{l},{c}"),
        ),
        "2012-02-14T00:00Z", "2012-02-14T02:00Z",
    ),
    "Lean daily": Case(
        "eurusd.csv", lines(*_rows(_DATES, "%Y%m%d %H:%M", "{t},{o},{h},{l},{c},0,{ao},{ah},{al},{ac},0")),
        **_D, source="oanda", ask="1.30672",
    ),
    "Lean seconds, aggregated": Case(
        "20120201_eurusd.csv",
        lines(*(f"{time}000,1.30660,1.30707,1.30649,1.30707,0,1.30672,1.30719,1.30661,1.30719,0" for time in range(180))),
        "2012-02-01T00:00Z", "2012-02-01T00:02Z", "M1", "oanda", options=Options(resample=True), ask="1.30672",
    ),
    "an order of rows by chance": Case(
        "eurusd.csv",
        lines(PLAIN, *(_rows(HOURS, "%Y-%m-%d %H:%M", "{t},{o},{h},{l},{c}")[place] for place in (1, 2, 0))),
        **_H,
    ),
}  # fmt: skip


def write(folder: Path, case: Case) -> Path:
    """Write the file of a case into a folder."""
    path = folder / case.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(case.contents if isinstance(case.contents, bytes) else case.contents.encode())
    return path
