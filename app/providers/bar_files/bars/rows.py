"""Parsing blocks of text into frames; unusable rows are counted by reason."""

from collections.abc import Callable, Mapping

import numpy as np

from app.errors import InvalidPair
from app.market.bars.candle import Granularity
from app.market.blocks.block import Prices
from app.market.blocks.starts import micros_of
from app.market.pair import CurrencyPair
from app.providers.bar_files.bars.frame import Frame
from app.providers.bar_files.bars.sides import crossed_reasons, uncrossed
from app.providers.bar_files.layouts.layout import PRICES, Layout
from app.providers.bar_files.options import Crossed
from app.providers.bar_files.tally import Tally
from app.providers.bar_files.text.rows import Column, Flags, Ints, Rows
from app.providers.bar_files.values.clocks import UTC_CLOCK, Clock
from app.providers.bar_files.values.moments import DAY, read_moment, read_time_of_day
from app.providers.bar_files.values.numbers import Numbers, read_digits, read_prices, read_volumes
from app.providers.bar_files.values.times import UNKNOWN, TimeReader
from app.providers.bar_files.values.unusable import UnusableRow

_NO = ("false", "0", "no")
_MILLISECOND = 1000
_OF_MINUTES = {"1": Granularity.M1, "5": Granularity.M5, "15": Granularity.M15, "60": Granularity.H1, "240": Granularity.H4}
_EARLIEST, _LATEST = -62_100_000_000_000_000, 253_390_000_000_000_000
"""Range of supported times, in microseconds: the trading calendar needs some days before and after."""


class RowReader:
    """Parses consecutive blocks of one file according to its layout. ``tally`` counts unusable rows.

    ``naive`` is True once a time without an offset has been read.
    """

    def __init__(self, layout: Layout, *, clock: Clock | None, pair: CurrencyPair | None, crossed: Crossed, tally: Tally) -> None:
        self.tally = tally
        self.naive = False
        self._layout = layout
        self._clock = clock or layout.clock or UTC_CLOCK
        self._pair = pair
        self._crossed = crossed
        self._line = 1
        self._times = TimeReader(lambda text: read_moment(text, month_first=layout.time.month_first))
        self._times_of_day = TimeReader(read_time_of_day)
        self._carried: dict[int, tuple[int, int]] = {}

    @property
    def lines(self) -> int:
        """Lines read so far, including blank lines and the header."""
        return self._line - 1

    def read(self, block: bytes) -> Frame:
        """Return the usable rows of the next block, in file order."""
        layout = self._layout
        rows = Rows(block, self._line, layout.delimiter, layout.width)
        first_line, self._line = self._line, self._line + rows.count
        data = rows.lines >= layout.first_row
        self.tally.rows += int(data.sum())
        good = np.zeros(len(rows), bool)
        good[rows.good] = True
        self.tally.reject(rows.lines[data & rows.broken], "quotation marks that do not match")
        self.tally.reject(rows.lines[data & ~good & ~rows.broken], "wrong number of columns")
        kept = data[rows.good]

        def column(place: int) -> Column:
            whole = rows.column(place)
            return whole if first_line >= layout.first_row else whole.of(kept)

        return self._frame(column, rows.lines[rows.good][kept])

    def _frame(self, column: Callable[[int], Column], lines: Ints) -> Frame:
        layout = self._layout
        alive = np.ones(len(lines), bool)

        def reject(bad: Flags, reason: str, place: int | None = None) -> None:
            self.tally.reject(lines[alive & bad], reason, "" if place is None else layout.name_of(place))
            alive[bad] = False

        if layout.complete is not None:
            codes, texts = column(layout.complete).codes()
            reject(np.array([text.lower() in _NO for text in texts], bool)[codes], "not complete", layout.complete)
        local, time, usable = self._read_times(column)
        reject(~usable, "not a time", layout.time.place)
        prices, decimals = self._read_prices(column, reject)
        if layout.bars:
            self._check_bars(prices, reject)
        else:
            reject(prices["bid"][0] <= 0, "price not above 0", None)
        if layout.has_sides:
            prices = self._check_sides(prices, reject)
        volume = np.zeros(len(lines), np.int64)
        if layout.volume is not None:
            volume = read_volumes(column(layout.volume), layout.point)
        pair, pairs = self._read_pairs(column, reject, len(lines))
        granularity, granularities = self._read_granularities(column, reject, len(lines))
        frame = Frame(time, local, lines, prices, decimals, volume, pair, pairs, granularity, granularities)
        return frame if alive.all() else frame.take(alive)

    def _read_times(self, column: Callable[[int], Column]) -> tuple[Ints, Ints, Flags]:
        """Return local times, UTC times, and which of them are valid."""
        where = self._layout.time
        if where.midnight is not None:
            milliseconds, usable = read_digits(column(where.place))
            usable &= milliseconds < DAY // _MILLISECOND
            time = micros_of(where.midnight) + milliseconds * _MILLISECOND
            return time, time, usable
        times = self._times.read(column(where.place))
        local, usable = times.local, times.usable
        if where.of_day is not None:
            clock = self._times_of_day.read(column(where.of_day))
            local, usable = local + clock.local, usable & clock.usable & (local % DAY == 0)
        usable = usable & (local > _EARLIEST) & (local < _LATEST)
        local = np.where(usable, local, 0)
        naive = usable & (times.offset == UNKNOWN)
        self.naive |= bool(naive.any())
        time = local - np.where(times.offset == UNKNOWN, 0, times.offset)
        if naive.any() and self._clock is not UTC_CLOCK:
            time = np.where(naive, self._clock.to_utc(local), time)
        return local, time, usable

    def _read_prices(
        self, column: Callable[[int], Column], reject: Callable[[Flags, str, int | None], None]
    ) -> tuple[dict[str, Prices], int]:
        """Return the prices of each side with common decimals; invalid ones are 0."""
        layout = self._layout
        places: Mapping[str, tuple[int, ...]] = (
            {side: tuple(found) for side, found in layout.bars.items()}
            if layout.quotes is None
            else {"bid": (layout.quotes[0],), "ask": (layout.quotes[1],)}
        )
        read: dict[int, Numbers] = {}
        for place in dict.fromkeys(place for found in places.values() for place in found):
            numbers = read_prices(column(place), layout.point)
            if layout.carries:
                self._carry(numbers, column(place), place)
            reject(~numbers.usable, "not a price", place)
            read[place] = numbers
        decimals = max((int(numbers.decimals.max(initial=0)) for numbers in read.values()), default=0)
        scaled = {place: numbers.scaled(decimals) for place, numbers in read.items()}
        return {side: np.stack([scaled[place] for place in found]) for side, found in places.items()}, decimals

    def _carry(self, numbers: Numbers, column: Column, place: int) -> None:
        """Fill empty prices with the previous one, also from the previous block."""
        empty = column.widths == 0
        if len(column):
            before = np.maximum.accumulate(np.where(numbers.usable, np.arange(len(column)), -1))
            filled = empty & (before >= 0)
            from_ = before[filled]
            numbers.digits[filled], numbers.decimals[filled] = numbers.digits[from_], numbers.decimals[from_]
            numbers.usable[filled] = True
            if place in self._carried:
                rest = empty & (before < 0)
                numbers.digits[rest], numbers.decimals[rest] = self._carried[place]
                numbers.usable[rest] = True
            last = np.flatnonzero(numbers.usable)[-1:]
            if len(last):
                self._carried[place] = (int(numbers.digits[last[0]]), int(numbers.decimals[last[0]]))

    def _check_bars(self, prices: Mapping[str, Prices], reject: Callable[[Flags, str, int | None], None]) -> None:
        for side, (first, high, low, last) in prices.items():
            outside = (first > high) | (first < low) | (last > high) | (last < low)
            reject(outside, "a price outside low and high", self._layout.bars[side][PRICES.index("high")])
            reject(low <= 0, "price not above 0", self._layout.bars[side][PRICES.index("low")])

    def _check_sides(self, prices: dict[str, Prices], reject: Callable[[Flags, str, int | None], None]) -> dict[str, Prices]:
        if self._crossed is Crossed.REJECT:
            for bad, reason in crossed_reasons(prices["bid"], prices["ask"]):
                reject(bad, reason, None)
        elif self._crossed is Crossed.SWAP:
            prices = uncrossed(prices)
        if "mid" in prices:
            low, high = np.minimum(prices["bid"], prices["ask"]), np.maximum(prices["bid"], prices["ask"])
            outside = (prices["mid"] < low) | (prices["mid"] > high)
            reject(np.logical_or.reduce(outside, axis=0), "mid outside bid and ask", None)
        return prices

    def _read_pairs(
        self, column: Callable[[int], Column], reject: Callable[[Flags, str, int | None], None], count: int
    ) -> tuple[Ints, tuple[CurrencyPair, ...]]:
        place = self._layout.pair
        if place is None:
            assert self._pair is not None  # a file whose rows do not name their pair is opened with one
            return np.zeros(count, np.int64), (self._pair,)
        codes, texts = column(place).codes()
        found = [_pair_of(text) for text in texts]
        reject(np.array([pair is None for pair in found], bool)[codes], "not a pair", place)
        if self._pair is not None:
            reject(np.array([pair not in (None, self._pair) for pair in found], bool)[codes], "another pair", place)
        pairs = tuple(dict.fromkeys(pair for pair in found if pair is not None))
        return np.array([pairs.index(pair) if pair else 0 for pair in found], np.int64)[codes], pairs

    def _read_granularities(
        self, column: Callable[[int], Column], reject: Callable[[Flags, str, int | None], None], count: int
    ) -> tuple[Ints, tuple[Granularity | None, ...]]:
        place = self._layout.granularity
        if place is None:
            return np.zeros(count, np.int64), (None,)
        codes, texts = column(place).codes()
        found: list[Granularity | None] = []
        for text in texts:
            try:
                found.append(read_granularity(text))
            except UnusableRow:
                found.append(None)
        reject(np.array([length is None for length in found], bool)[codes], "not a granularity", place)
        lengths = tuple(dict.fromkeys(length for length in found if length is not None))
        return np.array([lengths.index(length) if length else 0 for length in found], np.int64)[codes], lengths or (None,)


def read_granularity(text: str) -> Granularity:
    """Read a granularity by name, or in minutes as Stooq writes it. Raises UnusableRow."""
    text = text.strip().upper()
    try:
        return _OF_MINUTES.get(text) or Granularity(text)
    except ValueError as error:
        raise UnusableRow("not a granularity") from error


def _pair_of(text: str) -> CurrencyPair | None:
    try:
        return CurrencyPair.parse(text.strip().upper().removesuffix("=X").removesuffix(".FX"))
    except InvalidPair:
        return None
