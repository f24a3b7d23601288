"""The layouts of files of bars and ticks, and how to read their rows.

======================  ===============================================================================================
OANDA hours             ``YYYYMMDD HH:MM,bid open,high,low,close,0,ask open,high,low,close,0``, the time in UTC
OANDA minutes           the same, with milliseconds since midnight of the day that the file name starts with
OANDA ticks             ``milliseconds since midnight,bid,ask``
TrueFX ticks            ``timestamp,bid,ask``
columns by name         a header with a time and ``open,high,low,close``, or ``bid_open …`` and ``ask_open …``
======================  ===============================================================================================

The times of bars are their starts: ISO 8601, in UTC unless they have an offset, or seconds or milliseconds since 1970.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from app.market.bars.candle import Granularity, Ohlc
from app.market.pair import CurrencyPair
from app.providers.bar_files.fields import (
    UnusableRow,
    check_sides,
    halfway,
    read_granularity,
    read_moment,
    read_moment_of_day,
    read_ohlc,
    read_pair,
    read_price,
    read_volume,
    split_row,
)
from app.providers.oanda import TRAITS as OANDA

_DELIMITERS = ",;\t"
_TIMES = ("time", "timestamp", "datetime", "date")
_PAIRS = ("pair", "instrument", "symbol")
_NO = ("false", "0", "no")
_OANDA_COLUMNS, _TICK_COLUMNS = 11, 3


class BarRow(NamedTuple):
    """A bar as a row gives it. ``is_date`` means that its time is a date alone.

    ``pair`` and ``granularity`` are None, and the volume is 0, when the row does not give them.
    """

    time: datetime
    is_date: bool
    bid: Ohlc
    mid: Ohlc
    ask: Ohlc
    volume: int = 0
    pair: CurrencyPair | None = None
    granularity: Granularity | None = None


class TickRow(NamedTuple):
    """A quote as a row gives it."""

    time: datetime
    bid: Decimal
    ask: Decimal


@dataclass(frozen=True, slots=True)
class OandaBars:
    """Bids and asks without a header: minutes when there is a ``midnight`` that times count from, otherwise hours."""

    midnight: datetime | None
    source = OANDA.name

    @property
    def granularity(self) -> Granularity:
        """The only length of bars in this layout."""
        return Granularity.H1 if self.midnight is None else Granularity.M1

    def parse(self, line: str) -> BarRow:
        """Read a row. Raises UnusableRow."""
        fields = split_row(line, ",", _OANDA_COLUMNS)
        time = read_moment(fields[0])[0] if self.midnight is None else read_moment_of_day(self.midnight, fields[0])
        bid, ask = read_ohlc(fields[1:5]), read_ohlc(fields[6:10])
        check_sides(bid, ask)
        return BarRow(time, False, bid, halfway(bid, ask), ask)


@dataclass(frozen=True, slots=True)
class Ticks:
    """Single quotes: OANDA's when there is a ``midnight`` that times count from, otherwise TrueFX's."""

    midnight: datetime | None
    has_header: bool

    @property
    def source(self) -> str:
        """The source that uses this layout."""
        return "truefx" if self.midnight is None else OANDA.name

    def parse(self, line: str) -> TickRow:
        """Read a row. Raises UnusableRow."""
        fields = split_row(line, ",", _TICK_COLUMNS)
        time = read_moment(fields[0])[0] if self.midnight is None else read_moment_of_day(self.midnight, fields[0])
        bid, ask = read_price(fields[1]), read_price(fields[2])
        if not bid:
            raise UnusableRow("price not above 0")
        if ask < bid:
            raise UnusableRow("ask below bid")
        return TickRow(time, bid, ask)


class NamedColumns:
    """Bars whose columns are named in a header, in any case and order; other columns are ignored.

    The time is ``time``, ``timestamp``, ``datetime`` or ``date``. Prices are ``open``, ``high``, ``low`` and ``close``, or their
    first letters: mids, unless ``bid`` or ``ask`` (or ``mid``) is put before or after, as in ``bid_open``. Optional columns are
    ``volume``, ``pair`` (or ``instrument``, ``symbol``), ``granularity`` and ``complete``. The separator is a comma, a semicolon
    or a tab.
    """

    source = "import"

    def __init__(self, header: str) -> None:
        """Raises ValueError for a line that does not name a time and prices."""
        self._delimiter = max(_DELIMITERS, key=header.count)
        self.names = tuple(_normal(name) for name in next(csv.reader([header.strip()], delimiter=self._delimiter), []))
        places = {name: place for place, name in reversed(list(enumerate(self.names)))}
        time = _place(places, _TIMES)
        if time is None:
            raise ValueError("no column of this header is a time")
        self._time = time
        self._sides = {side: found for side in ("bid", "mid", "ask") if (found := _price_places(places, side)) is not None}
        plain = _price_places(places, "")
        if plain is not None:
            self._sides.setdefault("mid", plain)
        if "mid" not in self._sides and len(self._sides) < 2:
            raise ValueError("the columns of this header are no prices of bars")
        self._pair = _place(places, _PAIRS)
        self._granularity, self._volume, self._complete = (places.get(name) for name in ("granularity", "volume", "complete"))

    @property
    def has_sides(self) -> bool:
        """True when there are bids and asks, not just one price."""
        return "bid" in self._sides and "ask" in self._sides

    @property
    def has_pairs(self) -> bool:
        """True when each row gives its pair."""
        return self._pair is not None

    @property
    def has_granularities(self) -> bool:
        """True when each row gives its granularity."""
        return self._granularity is not None

    def parse(self, line: str) -> BarRow:
        """Read a row. Raises UnusableRow."""
        fields = split_row(line, self._delimiter, len(self.names))
        if self._complete is not None and fields[self._complete].strip().lower() in _NO:
            raise UnusableRow("not complete")
        time, is_date = read_moment(fields[self._time])
        prices = {side: read_ohlc([fields[place] for place in places]) for side, places in self._sides.items()}
        if self.has_sides:
            bid, ask = prices["bid"], prices["ask"]
            check_sides(bid, ask)
            mid = prices.get("mid") or halfway(bid, ask)
            if "mid" in prices and not all(
                low <= price <= high for low, price, high in zip(*map(_four, (bid, mid, ask)), strict=True)
            ):
                raise UnusableRow("mid outside bid and ask")
        else:
            bid = mid = ask = prices["mid"]
        return BarRow(
            time,
            is_date,
            bid,
            mid,
            ask,
            0 if self._volume is None else read_volume(fields[self._volume]),
            None if self._pair is None else read_pair(fields[self._pair]),
            None if self._granularity is None else read_granularity(fields[self._granularity]),
        )


BarLayout: TypeAlias = OandaBars | NamedColumns


def recognise(head: Sequence[str], midnight: datetime | None) -> BarLayout | Ticks | None:
    """Return the layout of a file by its first lines, or None. ``midnight`` is that of the day in the file name."""
    lines = [line for line in head if line.strip()]
    if not lines:
        return None
    try:
        return NamedColumns(lines[0])
    except (ValueError, csv.Error):
        pass
    has_header = tuple(_normal(name) for name in lines[0].split(",")) == ("timestamp", "bid", "ask")
    for layout in _candidates(midnight, has_header):
        for line in lines:
            try:
                layout.parse(line)
            except UnusableRow:
                continue
            return layout
    return None


def _candidates(midnight: datetime | None, has_header: bool) -> Iterator[OandaBars | Ticks]:
    if midnight is not None:
        yield OandaBars(midnight)
        yield Ticks(midnight, has_header)
    yield OandaBars(None)
    yield Ticks(None, has_header)


def _normal(name: str) -> str:
    """Return the normal form of a column name: ``bid_open`` for `` Bid Open``."""
    return name.strip().strip("<>").lower().replace(" ", "_").replace("-", "_").replace(".", "_")


def _place(places: Mapping[str, int], names: Sequence[str]) -> int | None:
    return next((places[name] for name in names if name in places), None)


def _price_places(places: Mapping[str, int], side: str) -> tuple[int, ...] | None:
    """Return the places of open, high, low and close of a side; None if one is missing."""
    found = []
    for price in ("open", "high", "low", "close"):
        names = [price, price[0]]
        if side:
            names = [form for name in names for form in (f"{side}_{name}", f"{side}{name}", f"{name}_{side}")]
        place = _place(places, names)
        if place is None:
            return None
        found.append(place)
    return tuple(found)


def _four(prices: Ohlc) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    return prices.open, prices.high, prices.low, prices.close
