"""Layouts with a header, whose columns may come in any order; unknown columns are ignored.

The vendor is recognised by names that only its headers have, and implies the source, the clock and the order of day and month.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from app.errors import InvalidPair
from app.market.pair import CurrencyPair
from app.providers.bar_files.layouts.headers import (
    ASKS,
    BIDS,
    COMPLETES,
    DATES,
    GRANULARITIES,
    PAIRS,
    TIMES,
    TIMES_OF_DAY,
    VOLUMES,
    normal,
    place_of,
    price_places,
)
from app.providers.bar_files.layouts.layout import UNKNOWN_SOURCE, Head, Layout, TimeColumns
from app.providers.bar_files.values.clocks import UTC_CLOCK, Clock
from app.providers.bar_files.values.moments import day_first, read_time_of_day
from app.providers.bar_files.values.unusable import UnusableRow

_DELIMITERS = ",;\t|"
_LINES_TO_FIND_THE_HEADER_IN = 5
_SAMPLE = 2000
_FEW = 50
_DECIMAL_COMMA = re.compile(r"\d+,\d+")
_DECIMAL_POINT = re.compile(r"\d+\.\d+")
_EXCEL_DELIMITER = re.compile(r"sep=(.)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Vendor:
    """A vendor, the column names that identify it (all names of one group), and the properties of its files."""

    name: str
    source: str
    signs: Sequence[frozenset[str]]
    clock: Clock | None = None
    server: bool = False
    alone: bool = False
    carries: bool = False
    month_first: bool | None = None


def _signs(*groups: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(group.split()) for group in groups)


_VENDORS = (
    _Vendor("Dukascopy", "dukascopy", _signs("gmt_time", "local_time"), clock=UTC_CLOCK, alone=True),
    _Vendor("dukascopy-node", "dukascopy", _signs("askprice bidprice"), clock=UTC_CLOCK),
    _Vendor("MetaTrader 5 ticks", "metatrader", _signs("date time bid ask last flags"), server=True, carries=True),
    _Vendor("MetaTrader 5", "metatrader", _signs("tickvol spread", "tickvol vol"), server=True),
    _Vendor("FXCM candles", "fxcm", _signs("datetime bidopen askopen"), clock=UTC_CLOCK, month_first=True),
    _Vendor("FXCM ticks", "fxcm", _signs("datetime bid ask"), clock=UTC_CLOCK, month_first=True),
    _Vendor("fxcmpy", "fxcm", _signs("bidopen askopen tickqty", "bidopen askopen date"), clock=UTC_CLOCK),
    _Vendor("Stooq", "stooq", _signs("ticker per")),
    _Vendor("yfinance", "yahoo", _signs("stock_splits", "adj_close", "capital_gains")),
    _Vendor("Investing.com", "investing", _signs("price change_%", "zuletzt +/__%", "price vol_"), month_first=True),
    _Vendor("TrueFX ticks", "truefx", _signs("timestamp bid ask"), clock=UTC_CLOCK),
    _Vendor("OANDA candles", "oanda", _signs("complete mid_o instrument", "complete bid_o instrument"), clock=UTC_CLOCK),
)


@dataclass(frozen=True, slots=True)
class _Header:
    """The column names, the delimiter, the first line of data, and a pair named in the header."""

    names: tuple[str, ...]
    delimiter: str
    first_row: int
    instrument: CurrencyPair | None = None


def recognise_headed(head: Head) -> Layout | None:
    """Return the layout of a file with a header, or None if none of its first lines names a time and prices."""
    for header in _headers(head):
        layout = _layout(header, head)
        if layout is not None:
            return layout
    return None


def _headers(head: Head) -> Iterator[_Header]:
    lines = head.filled
    told = _EXCEL_DELIMITER.fullmatch(lines[0][1].strip()) if lines else None
    if told is not None:
        lines = lines[1:]
    for place, (number, line) in enumerate(lines[:_LINES_TO_FIND_THE_HEADER_IN]):
        delimiter = told[1] if told else max(_DELIMITERS, key=line.count)
        names = _fields(line, delimiter)
        # yfinance's download() has three lines: the prices, the tickers, and the name of the index.
        if names and names[0] == "price" and place + 2 < len(lines):
            tickers, index = _fields(lines[place + 1][1], delimiter), _fields(lines[place + 2][1], delimiter)
            if tickers[:1] == ("ticker",) and len(tickers) == len(names) and index[:1]:
                instrument = _pair_of(next((ticker for ticker in tickers[1:] if ticker), ""))
                yield _Header((index[0], *names[1:]), delimiter, lines[place + 2][0] + 1, instrument)
        yield _Header(names, delimiter, number + 1)


def _fields(line: str, delimiter: str) -> tuple[str, ...]:
    try:
        return tuple(normal(name) for name in next(csv.reader([line.strip(" \r\n\ufeff")], delimiter=delimiter), []))
    except csv.Error:
        return ()


def _layout(header: _Header, head: Head) -> Layout | None:
    names = header.names
    places = {name: place for place, name in reversed(list(enumerate(names)))}
    sides = price_places(places)
    bid, ask = place_of(places, BIDS), place_of(places, ASKS)
    quotes = (bid, ask) if not sides and bid is not None and ask is not None else None
    if quotes is None and "mid" not in sides and len(sides) < 2:
        return None
    rows = [_raw(line, header.delimiter) for number, line in head.filled if number >= header.first_row][:_SAMPLE]
    rows = [row for row in rows if len(row) == len(names)]
    time = _time(places, names, rows)
    if time is None:
        return None
    vendor = next((vendor for vendor in _VENDORS if any(sign <= places.keys() for sign in vendor.signs)), None)
    of_prices = [place for side in sides.values() for place in side] or list(quotes or ())
    first = day_first([row[time.place] for row in rows])
    month_first = not first if first is not None else vendor is None or vendor.month_first is not False
    layout = Layout(
        "a table with a header",
        UNKNOWN_SOURCE,
        header.delimiter,
        len(names),
        replace(time, month_first=month_first),
        sides,
        quotes,
        point=_point(rows, of_prices, header.delimiter),
        first_row=header.first_row,
        names=names,
        volume=place_of(places, VOLUMES),
        pair=place_of(places, PAIRS),
        granularity=place_of(places, GRANULARITIES),
        complete=place_of(places, COMPLETES),
        instrument=header.instrument,
    )
    if header.instrument is not None:
        layout = replace(layout, name="yfinance", source="yahoo")
    if vendor is not None:
        layout = replace(
            layout,
            name=vendor.name,
            source=vendor.source,
            clock=vendor.clock,
            server=vendor.server,
            alone=vendor.alone,
            carries=vendor.carries,
        )
    return layout


def _time(places: Mapping[str, int], names: Sequence[str], rows: Sequence[Sequence[str]]) -> TimeColumns | None:
    """Find the time: a date and a time of day, one column for both, or an unnamed first column."""
    date, of_day = place_of(places, DATES), place_of(places, TIMES_OF_DAY)
    if date is not None and of_day is not None and _are_times_of_day([row[of_day] for row in rows[:_FEW]]):
        return TimeColumns(date, of_day)
    place = place_of(places, TIMES)
    if place is None and names and not names[0]:
        place = 0
    return None if place is None else TimeColumns(place)


def _are_times_of_day(texts: Sequence[str]) -> bool:
    good = 0
    for text in texts:
        try:
            read_time_of_day(text)
        except UnusableRow:
            continue
        good += 1
    return 2 * good > len(texts)


def _point(rows: Sequence[Sequence[str]], places: Sequence[int], delimiter: str) -> str:
    """Return the decimal separator of prices: a comma if it is more common than a point."""
    if delimiter == ",":
        commas = [row[place] for row in rows[:_FEW] for place in places if "," in row[place]]
        points = [row[place] for row in rows[:_FEW] for place in places if "." in row[place]]
        return "," if len(commas) > len(points) and all(_DECIMAL_COMMA.fullmatch(text.strip()) for text in commas) else "."
    prices = [row[place].strip() for row in rows[:_FEW] for place in places]
    commas = [price for price in prices if _DECIMAL_COMMA.fullmatch(price)]
    points = [price for price in prices if _DECIMAL_POINT.fullmatch(price)]
    return "," if len(commas) > len(points) else "."


def _raw(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _pair_of(ticker: str) -> CurrencyPair | None:
    """Read ``EURUSD=X``, as Yahoo writes it."""
    try:
        return CurrencyPair.parse(ticker.upper().removesuffix("=X"))
    except InvalidPair:
        return None
