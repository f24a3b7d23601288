"""The bars of one file."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from pathlib import Path

from app.errors import SourceError
from app.market.bars.candle import Candle
from app.market.blocks.block import BarBlock
from app.market.blocks.starts import moment_of, starts
from app.providers.bar_files.bars.building import Built, Plan, build
from app.providers.bar_files.bars.days import placed
from app.providers.bar_files.bars.frame import Frame
from app.providers.bar_files.bars.loading import load
from app.providers.bar_files.bars.steps import in_words, shortest, steps_of
from app.providers.bar_files.bars.weeks import is_intraday, misfit
from app.providers.bar_files.layouts.layout import Layout
from app.providers.bar_files.options import Options
from app.providers.bar_files.reader import PreviewRow
from app.providers.bar_files.recognition import recognise_file
from app.providers.bar_files.tally import RejectedRow, Tally
from app.providers.bar_files.text.decoded import lines_at

_ANY = Options()
_FEW = 10
_SHARE = 0.01


class BarFile:
    """The bars of one file, plain or compressed, in any known layout; a BarReader.

    ``source`` is the vendor of the layout, ``import`` if there is none. The volume is the number of quotes, 0 if unknown. Missing
    mids are halfway between bid and ask, price by price; a single price is used as bid, mid and ask.

    Ticks become bars of M1, or another granularity up to H1. OANDA's daily tick files are complete to the end of their day; any
    other file ends within its last bar. Rows may be in any order.
    """

    def __init__(self, path: Path, options: Options = _ANY, side: str | None = None) -> None:
        """Open and recognise the file; ``side`` is given if its prices are only bids or only asks.

        Raises SourceError, naming the file and the option to give if something is missing.
        """
        self.path = path
        self._options = options
        self._file = recognise_file(path, options)
        self.pair, self.granularity = self._file.pair, self._file.granularity
        self.source = options.source or self.layout.source
        self.title = " ".join(str(part) for part in (self.pair, self.granularity, "bars from", path.name) if part is not None)
        self._tally = Tally()
        self._examples: list[RejectedRow] = []
        self._how: list[str] = []
        self._side = None if self.has_sides else side

    @property
    def layout(self) -> Layout:
        """How rows are parsed."""
        return self._file.layout

    @property
    def has_sides(self) -> bool:
        """True if the file has both bids and asks."""
        return self.layout.has_sides

    @property
    def notes(self) -> Sequence[str]:
        """How the file was interpreted."""
        notes = [f"Read as {self.layout.name}.", *self._file.notes, *as_sentences(self._how)]
        if self._side is not None:
            notes.append(
                f"The file has only {self._side}s, which are used for all prices; import it with the other side to have both."
            )
        return notes

    @property
    def rows(self) -> int:
        """Rows read, without blank lines and the header."""
        return self._tally.rows

    @property
    def accepted(self) -> int:
        """Rows that ended up in a bar."""
        return self._tally.accepted

    @property
    def rejected(self) -> Counter[str]:
        """Rejected rows by reason, in file order."""
        return in_order(self._tally)

    @property
    def examples(self) -> list[RejectedRow]:
        """The first rejected rows for each reason."""
        return self._examples

    def candles(self) -> Iterator[Candle]:
        """Yield the bars one by one. Raises SourceError."""
        for block in self.blocks():
            yield from block.candles()

    def blocks(self, reached: Callable[[float], None] = lambda fraction: None) -> Sequence[BarBlock]:
        """Read the file and return complete bars in order of time, a block per pair and granularity. Raises SourceError."""
        self._examples = []
        frame = self.load(reached)
        self.check(frame)
        built = self.build(frame, self._tally)
        self._how = built.how
        self._examples = self._tally.examples(lines_at(self.path, self._tally.shown_lines))
        return built.blocks

    def load(self, reached: Callable[[float], None] = lambda fraction: None) -> Frame:
        """Return all usable rows, in file order. Raises SourceError."""
        self._tally = Tally()
        return load(self.path, self._file.reader(self._options, self._tally), reached)

    @property
    def tally(self) -> Tally:
        """The counts of the current or last reading."""
        return self._tally

    def check(self, frame: Frame) -> None:
        """Raise SourceError if the rows as a whole contradict their granularity or time zone."""
        if len(frame) and self.granularity is not None and not self._file.aggregated:
            self._check_steps(frame)
        told = self._options.clock or self.layout.clock
        if told is None and self._file.naive and is_intraday(self.granularity) and not self._options.keep_closed:
            off = misfit(frame)
            if off is not None:
                raise SourceError(f"{self.path} cannot be imported: {off.words}")

    def _check_steps(self, frame: Frame) -> None:
        """Raise SourceError if many rows are off the grid and closer together than the bars are long."""
        granularity = self.granularity
        assert granularity is not None
        if not is_intraday(granularity):
            return
        between = starts(frame.time, granularity) != frame.time
        count = int(between.sum())
        if count <= max(_FEW, _SHARE * len(frame)):
            return
        steps = steps_of(frame)
        closer = int((steps < shortest(granularity)).sum())
        if closer > max(_FEW, _SHARE * len(frame)):
            line = int(frame.line[between][0])
            text = lines_at(self.path, {line}).get(line, "").strip()
            raise SourceError(
                f"{self.path} cannot be imported as bars of {granularity}: {closer:,} of its rows are closer together, the least "
                f"{in_words(int(steps.min()))}, the first at line {line}: {text[:80]!r}; "
                f"give --resample to make {granularity} bars of them"
            )

    def build(self, frame: Frame, tally: Tally, source: str | None = None) -> Built:
        """Turn rows into bars, counted by ``tally``."""
        plan = Plan(
            self.granularity,
            self._options.granularity,
            source or self.source,
            aggregated=self._file.aggregated,
            ticks=self.layout.quotes is not None,
            keeps_closed=self._options.keep_closed or self._options.sources.of(source or self.source).always_open,
            holds_until=self._file.holds_until,
        )
        return build(frame, plan, tally)

    def preview(self, count: int) -> list[PreviewRow]:
        """Return the first usable rows as they are interpreted."""
        frame, lines = self._file.head, self._file.lines
        granularity = self.granularity or frame.granularities[0]
        shown = []
        if len(frame) and granularity is not None:
            bars = starts(frame.time, granularity) if is_intraday(granularity) else placed(frame, granularity).times
            for row in range(min(count, len(frame))):
                line = int(frame.line[row])
                prices = {
                    side: " ".join(f"{int(price) / 10**frame.decimals:.{frame.decimals}f}" for price in of_side[:, row])
                    for side, of_side in frame.prices.items()
                }
                time = moment_of(frame.time[row]).astimezone(UTC)
                pair = frame.pairs[int(frame.pair[row])]
                shown.append(PreviewRow(line, lines[line - 1].strip(), time, moment_of(bars[row]), pair, prices))
        return shown


def as_sentences(clauses: Sequence[str]) -> list[str]:
    """Return the clauses as sentences."""
    return [f"{clause[0].upper()}{clause[1:]}." for clause in clauses]


def in_order(*tallies: Tally) -> Counter[str]:
    """Merge the rejections of several tallies, ordered by the first line of each reason."""
    first: dict[str, int] = {}
    for tally in tallies:
        for reason, lines in tally.lines.items():
            first[reason] = min(lines[0], first.get(reason, lines[0]))
    counts = sum((tally.rejected for tally in tallies), Counter[str]())
    return Counter({reason: counts[reason] for reason in sorted(first, key=lambda reason: first[reason])})
