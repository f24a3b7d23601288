"""Historical bars from one file: OANDA's hours, minutes and ticks, TrueFX's ticks, tables with a header.

Every row is validated; one that cannot be used is counted and shown with the reason.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from app.errors import SourceError
from app.market.bars.candle import Candle, CandleBuilder, Granularity
from app.market.clock import utc_now
from app.market.hours.calendar import trading_hours
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.providers.bar_files.fields import UnusableRow
from app.providers.bar_files.layouts import BarLayout, BarRow, NamedColumns, OandaBars, TickRow, Ticks, recognise
from app.providers.bar_files.reader import RejectedRow, Tally
from app.providers.bar_files.steps import DAY, granularity_of, in_words, most_frequent_step
from app.providers.bar_files.text import day_in_name, pair_in_name, read_lines

_ROWS_TO_RECOGNISE_BY = 2000
_LONGEST_BAR = timedelta(days=32)
_BY_THE_DATE = (Granularity.D, Granularity.W, Granularity.M)
_OF_TICKS = (Granularity.M1, Granularity.M5, Granularity.M15, Granularity.H1)

_IN_AN_UNFINISHED_BAR = "in the bar that the file ends within"


class BarFile:
    """The bars of one file, plain or compressed by zip or gzip, whose layout is recognised from its rows; a BarReader.

    The ``source`` of the bars is ``oanda`` or ``truefx`` by layout, and ``import`` for a table with a header. The volume is the
    number of quotes, or 0 when the file does not give it. Mids missing beside bids and asks are halfway between them, price by
    price; a single price serves as bid, mid and ask.

    Ticks become bars of M1, or of another length up to H1. An OANDA file of a day is taken to contain that day to its end; any
    other file of ticks ends within its last bar. A D, W or M bar dated with a date alone is that of its (first) trading day.
    """

    def __init__(
        self, path: Path, *, pair: CurrencyPair | None = None, granularity: Granularity | None = None, source: str | None = None
    ) -> None:
        """Open the file and recognise its layout.

        ``pair`` is needed when neither the name nor the rows give it, and otherwise selects rows. ``granularity`` is for tables
        with a header, when it differs from the most frequent step between rows. Raises SourceError, naming the file.
        """
        self._path = path
        head = list(islice(read_lines(path), _ROWS_TO_RECOGNISE_BY))
        layout = recognise(head, day_in_name(path))
        if layout is None:
            raise SourceError(f"{path} cannot be imported: its rows are neither bars nor ticks of a known layout")
        self._layout: BarLayout | Ticks = layout
        self._header = _place_of_header(layout, head)
        self._wanted = granularity
        self.pair = pair if self._has_pairs else pair or pair_in_name(path)
        if self.pair is None and not self._has_pairs:
            raise SourceError(f"{path} cannot be imported: neither its name nor its folder's names a pair")
        self.granularity = self._recognise_granularity(head)
        self.source = source or layout.source
        self.title = " ".join(str(part) for part in (self.pair, self.granularity, "bars from", path.name) if part is not None)
        self._tally = Tally()
        self.line = 0
        self.text = ""

    @property
    def rows(self) -> int:
        """Rows read, without blank lines and the header."""
        return self._tally.rows

    @property
    def accepted(self) -> int:
        """Rows that are in a bar returned."""
        return self._tally.accepted

    @property
    def rejected(self) -> Counter[str]:
        """Rows that are in no bar, by reason."""
        return self._tally.rejected

    @property
    def examples(self) -> list[RejectedRow]:
        """The first few rejected rows for each reason."""
        return self._tally.examples

    @property
    def columns(self) -> tuple[str, ...]:
        """The names in the header, in lower case; empty for a layout without a header."""
        return self._layout.names if isinstance(self._layout, NamedColumns) else ()

    @property
    def has_sides(self) -> bool:
        """True when bids and asks are separate."""
        return not isinstance(self._layout, NamedColumns) or self._layout.has_sides

    def candles(self) -> Iterator[Candle]:
        """Yield the bars, complete, in order of time. Raises SourceError if the file cannot be read to its end."""
        self._tally = Tally()
        if isinstance(self._layout, Ticks):
            return self._built(self._layout)
        return self._read(self._layout)

    def _rows(self) -> Iterator[str]:
        """Yield and count the rows; ``line`` and ``text`` are those of the current one."""
        for number, text in enumerate(read_lines(self._path), 1):
            if number != self._header and text.strip():
                self.line, self.text = number, text
                self._tally.rows += 1
                yield text

    def _read(self, layout: BarLayout) -> Iterator[Candle]:
        newest: dict[tuple[CurrencyPair, Granularity], datetime] = {}
        now = utc_now()
        for text in self._rows():
            try:
                candle = self._candle(layout.parse(text), now)
                before = newest.get(key := (candle.pair, candle.granularity))
                if before is not None and candle.time <= before:
                    raise UnusableRow("repeated time" if candle.time == before else "out of order")
            except UnusableRow as unusable:
                self._tally.reject(self.line, str(unusable), text)
                continue
            newest[key] = candle.time
            self._tally.accepted += 1
            yield candle

    def _candle(self, row: BarRow, now: datetime) -> Candle:
        """Return the bar of a row. Raises UnusableRow."""
        pair, granularity = row.pair or self.pair, row.granularity or self.granularity
        # If the file does not give them, every row does.
        assert pair is not None
        assert granularity is not None
        if self.pair is not None and pair != self.pair:
            raise UnusableRow("another pair")
        if self._wanted is not None and granularity is not self._wanted:
            raise UnusableRow("another granularity")
        try:
            time = row.time
            if row.is_date and granularity in _BY_THE_DATE:
                time = granularity.start(trading_hours(time.date()).opens_at)
            if granularity.start(time) != time:
                raise UnusableRow(f"not the start of a bar of {granularity}")
            if time > now - _LONGEST_BAR and granularity.end(time) > now:
                raise UnusableRow("not over yet")
        except OverflowError as error:
            raise UnusableRow("not a time") from error
        return Candle(pair, granularity, time, row.bid, row.mid, row.ask, row.volume, complete=True, source=self.source)

    def _built(self, layout: Ticks) -> Iterator[Candle]:
        assert self.pair is not None
        assert self.granularity is not None
        builder, now = CandleBuilder(self.pair, self.granularity), utc_now()
        reached: datetime | None = None
        begun = (0, "")
        for text in self._rows():
            try:
                tick = _in_order(layout.parse(text), reached, now)
            except UnusableRow as unusable:
                self._tally.reject(self.line, str(unusable), text)
                continue
            reached = tick.time
            candle = builder.add(Quote(self.pair, tick.bid, tick.ask, tick.time, self.source))
            if builder.unfinished is not None and builder.unfinished.volume == 1:
                begun = (self.line, text)
            if candle is not None:
                self._tally.accepted += candle.volume
                yield candle
        if layout.midnight is not None and layout.midnight + DAY <= now:
            candle = builder.advance(layout.midnight + DAY)
            if candle is not None:
                self._tally.accepted += candle.volume
                yield candle
        if builder.unfinished is not None:
            self._tally.reject(begun[0], _IN_AN_UNFINISHED_BAR, begun[1], builder.unfinished.volume)

    @property
    def _has_pairs(self) -> bool:
        return isinstance(self._layout, NamedColumns) and self._layout.has_pairs

    def _recognise_granularity(self, head: Sequence[str]) -> Granularity | None:
        if isinstance(self._layout, Ticks):
            if self._wanted is not None and self._wanted not in _OF_TICKS:
                raise SourceError(f"{self._path} cannot be imported: ticks become bars of an hour at most, not of {self._wanted}")
            return self._wanted or Granularity.M1
        if isinstance(self._layout, NamedColumns):
            if self._layout.has_granularities:
                return self._wanted
            return self._wanted or self._usual_step(self._layout, head)
        own = self._layout.granularity
        if self._wanted not in (None, own):
            raise SourceError(f"{self._path} cannot be imported as bars of {self._wanted}: it holds bars of {own}")
        self._check_hours(self._layout, head)
        return own

    def _check_hours(self, layout: OandaBars, head: Sequence[str]) -> None:
        """Raise SourceError for days in the layout of hours: each would be taken for the hour at midnight."""
        step = most_frequent_step(layout, head)
        if layout.granularity is Granularity.H1 and step is not None and granularity_of(step) is Granularity.D:
            raise SourceError(f"{self._path} cannot be imported: its rows are {in_words(step)} apart, not an hour")

    def _usual_step(self, layout: NamedColumns, head: Sequence[str]) -> Granularity:
        step = most_frequent_step(layout, head)
        if step is None:
            raise SourceError(
                f"{self._path} cannot be imported: too few rows to recognise their granularity, so it must be given"
            )
        granularity = granularity_of(step)
        if granularity is None:
            raise SourceError(
                f"{self._path} cannot be imported: its rows are {in_words(step)} apart, which is no known granularity"
            )
        return granularity


def _place_of_header(layout: BarLayout | Ticks, head: Sequence[str]) -> int:
    """Return the line number of the header, 0 if there is none."""
    has_header = layout.has_header if isinstance(layout, Ticks) else isinstance(layout, NamedColumns)
    return next(number for number, line in enumerate(head, 1) if line.strip()) if has_header else 0


def _in_order(tick: TickRow, reached: datetime | None, now: datetime) -> TickRow:
    if reached is not None and tick.time < reached:
        raise UnusableRow("out of order")
    if tick.time > now:
        raise UnusableRow("in the future")
    return tick
