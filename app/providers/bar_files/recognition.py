"""Recognising a file by its first rows and its name: layout, pair and granularity."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from app.errors import SourceError
from app.market.bars.candle import Granularity
from app.market.pair import CurrencyPair
from app.providers.bar_files.bars.frame import Frame
from app.providers.bar_files.bars.rows import RowReader
from app.providers.bar_files.bars.steps import (
    are_closer,
    granularity_of,
    in_words,
    longer_than,
    shortest,
    steps_of,
    usual,
)
from app.providers.bar_files.bars.weeks import is_intraday
from app.providers.bar_files.layouts.layout import Head, Layout
from app.providers.bar_files.layouts.table import recognise, why_not
from app.providers.bar_files.options import Crossed, Options
from app.providers.bar_files.tally import Tally
from app.providers.bar_files.text.decoded import first_lines
from app.providers.bar_files.text.names import day_in_name, pair_in_name
from app.providers.bar_files.text.packed import name_inside
from app.providers.bar_files.values.moments import DAY, HOUR

ROWS_TO_RECOGNISE_BY = 2000
_OF_TICKS = (Granularity.M1, Granularity.M5, Granularity.M15, Granularity.H1)
_DAY = timedelta(days=1)
_ANY_PAIR = CurrencyPair("EUR", "USD")
_LONGEST_SHOWN = 80
_GIVE_PAIR = {"imported": "; give --pair", "replayed": ""}


@dataclass(frozen=True, slots=True)
class Recognised:
    """A recognised file.

    ``granularity`` is that of the bars to make, None if rows name their own; they are ``aggregated`` from ticks or shorter bars.
    ``naive`` is True if times have no offset from UTC. ``holds_until`` is the time up to which the file has every tick, if known.
    """

    path: Path
    layout: Layout
    pair: CurrencyPair | None
    granularity: Granularity | None
    aggregated: bool
    head: Frame
    lines: Sequence[str]
    notes: tuple[str, ...]
    naive: bool
    holds_until: datetime | None = None

    def reader(self, options: Options, tally: Tally) -> RowReader:
        """Return a parser for the rows of the file."""
        return RowReader(self.layout, clock=options.clock, pair=self.pair or options.pair, crossed=options.crossed, tally=tally)


def recognise_file(path: Path, options: Options) -> Recognised:
    """Recognise a file by its first rows. Raises SourceError, which says what to give if something cannot be inferred."""
    layout, lines = recognise_layout(path, "imported")
    pair = pair_of(path, layout, options.pair, "imported")
    tally = Tally()
    of_rows = options.pair if layout.pair is not None else pair or _ANY_PAIR
    reader = RowReader(layout, clock=options.clock, pair=of_rows, crossed=options.crossed, tally=tally)
    head = reader.read(_text(lines))
    # The step between rows does not depend on which of them are crossed.
    every = RowReader(layout, clock=options.clock, pair=of_rows, crossed=Crossed.KEEP, tally=Tally()).read(_text(lines))
    granularity, aggregated, notes = _granularity(path, layout, options, every, tally, lines)
    holds_until = layout.time.midnight + _DAY if layout.whole_day and layout.time.midnight is not None else None
    if reader.naive:
        notes.insert(0, _of_clock(layout, options, granularity))
    return Recognised(path, layout, pair, granularity, aggregated, head, lines, tuple(notes), reader.naive, holds_until)


def recognise_layout(path: Path, wanted: str, rows: int = ROWS_TO_RECOGNISE_BY) -> tuple[Layout, list[str]]:
    """Return the layout of a file and its first lines. Raises SourceError; ``wanted`` (imported, replayed) is for its text."""
    lines = first_lines(path, rows)
    inside = name_inside(path)
    midnight = day_in_name(path)
    if midnight is None:
        midnight = day_in_name(Path(inside))
    head = Head(lines, midnight, f"{path.name} {inside}")
    layout = recognise(head)
    if layout is None:
        raise SourceError(f"{path} cannot be {wanted}: its rows are neither bars nor ticks of a known layout: {why_not(head)}")
    return layout, lines


def pair_of(path: Path, layout: Layout, given: CurrencyPair | None, wanted: str) -> CurrencyPair | None:
    """Return the pair of all rows, None if each row names its own. Raises SourceError if it is unknown."""
    if layout.pair is not None:
        return given
    pair = given or layout.instrument or pair_in_name(path, name_inside(path))
    if pair is None:
        raise SourceError(f"{path} cannot be {wanted}: neither its name nor its folder's names a pair{_GIVE_PAIR[wanted]}")
    return pair


def _of_clock(layout: Layout, options: Options, granularity: Granularity | None) -> str:
    """Describe the clock used for times without an offset."""
    clock = options.clock or layout.clock
    if clock is not None:
        return f"Times are read as {clock.name}."
    if not is_intraday(granularity):
        return "Dates are read as they are written."
    unknown = "MetaTrader does not write down the clock of its server" if layout.server else "The file names no time zone"
    return f"{unknown}: times are read as UTC; give --timezone where they are not."


def _text(lines: Sequence[str]) -> bytes:
    return "\n".join(lines).encode("utf-8", "replace")


def _granularity(
    path: Path, layout: Layout, options: Options, head: Frame, tally: Tally, lines: Sequence[str]
) -> tuple[Granularity | None, bool, list[str]]:
    """Return the granularity, whether rows have to be aggregated to it, and notes. Raises SourceError."""
    wanted = options.granularity
    if layout.quotes is not None:
        if wanted is not None and wanted not in _OF_TICKS:
            raise SourceError(f"{path} cannot be imported: ticks become bars of an hour at most, not of {wanted}")
        return wanted or Granularity.M1, True, []
    if layout.granularity is not None:
        return None, False, []
    steps = steps_of(head)
    step = usual(steps)
    own = None if step is None else granularity_of(step)
    if layout.granularities and own not in layout.granularities:
        own = layout.granularities[0]
        if step is not None and step > shortest(own) and not _comes_in(step):
            raise SourceError(f"{path} cannot be imported: its rows are {in_words(step)} apart, not {_length_of(own)}")
    target = wanted or own
    if target is None:
        if step is None:
            raise SourceError(f"{path} cannot be imported: {_why_no_step(head, tally, lines)}")
        if not options.resample:
            raise SourceError(
                f"{path} cannot be imported: its rows are {in_words(step)} apart, as no bars here are; "
                f"give --resample to make {longer_than(step)} bars of them"
            )
        target = longer_than(step)
    if not are_closer(steps, target):
        if layout.granularities and wanted not in (None, own):
            raise SourceError(f"{path} cannot be imported as bars of {wanted}: it holds bars of {own}")
        return target, False, []
    assert step is not None
    if not options.resample:
        raise SourceError(
            f"{path} cannot be imported as bars of {target}: {_closer(head, lines, step)}; "
            f"give --resample to make {target} bars of them" + (f", or --granularity {own}" if own is not None else "")
        )
    return target, True, [f"Rows {in_words(step)} apart are aggregated to {target}."]


def _comes_in(step: int) -> bool:
    """Return True if rows with this step can be minutes or hours with gaps."""
    return step < DAY - HOUR or granularity_of(step) is None


def _length_of(granularity: Granularity) -> str:
    return "an hour" if granularity is Granularity.H1 else "a minute"


def _closer(head: Frame, lines: Sequence[str], step: int) -> str:
    """Name a row that is too close to the previous one."""
    line = int(head.line[1]) if len(head) > 1 else int(head.line[0])
    return f"its rows are {in_words(step)} apart, as line {line} is: {lines[line - 1].strip()[:_LONGEST_SHOWN]!r}"


def _why_no_step(head: Frame, tally: Tally, lines: Sequence[str]) -> str:
    """Explain why the granularity cannot be inferred, and what to give."""
    if not len(head):
        return why_unreadable(tally, lines)
    return "its rows are too few to show how far apart they are; give --granularity"


def why_unreadable(tally: Tally, lines: Sequence[str]) -> str:
    """Explain why none of the first rows can be read: the first of them, its column, and the reason."""
    first = tally.first
    if first is None:
        return "it has no rows"
    column = f", {first.column}" if first.column else ""
    text = lines[first.line - 1].strip()[:_LONGEST_SHOWN]
    return f"none of its first rows can be read: line {first.line}{column}: {first.reason}: {text!r}"
