"""The layout of a file: which column holds what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.market.bars.candle import Granularity
from app.market.pair import CurrencyPair
from app.providers.bar_files.values.clocks import Clock

UNKNOWN_SOURCE = "import"
"""The source of bars whose vendor is unknown."""

PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class TimeColumns:
    """The columns with the time: a single one, or a date and a time of day.

    With ``midnight``, the column holds milliseconds since then. ``month_first`` tells how to read 02/01/2012.
    """

    place: int
    of_day: int | None = None
    midnight: datetime | None = None
    month_first: bool = True


@dataclass(frozen=True, slots=True)
class Layout:
    """How to parse the rows of a file. Columns are counted from 0.

    ``bars`` has the columns of open, high, low and close by side, with ``mid`` for prices without a side; ``quotes`` has those
    of bid and ask if rows are ticks. ``clock`` applies to times without an offset, None if unknown. ``server`` is True for
    MetaTrader, whose clock depends on the broker.
    """

    name: str
    source: str
    delimiter: str
    width: int
    time: TimeColumns
    bars: Mapping[str, Sequence[int]] = field(default_factory=dict)
    quotes: tuple[int, int] | None = None
    point: str = "."
    first_row: int = 1
    names: tuple[str, ...] = ()
    volume: int | None = None
    pair: int | None = None
    granularity: int | None = None
    complete: int | None = None
    clock: Clock | None = None
    server: bool = False
    instrument: CurrencyPair | None = None
    granularities: tuple[Granularity, ...] = ()
    """The only granularities of the layout; empty if there may be any."""
    alone: bool = False
    """Whether a file of bids can be imported without the asks."""
    carries: bool = False
    """Whether an empty bid or ask repeats the previous one, as in MetaTrader's ticks."""
    whole_day: bool = False
    """Whether a file of ticks is complete to the end of its day."""

    @property
    def has_sides(self) -> bool:
        """True if there are both bids and asks."""
        return self.quotes is not None or {"bid", "ask"} <= self.bars.keys()

    def name_of(self, place: int) -> str:
        """Describe a column for error messages, as ``column 3 (high)``."""
        named = f" ({self.names[place]})" if place < len(self.names) and self.names[place] else ""
        return f"column {place + 1}{named}"


@dataclass(frozen=True, slots=True)
class Head:
    """What a layout is recognised from: the first lines, the day at the start of the file name, and the file name."""

    lines: Sequence[str]
    midnight: datetime | None
    name: str

    @property
    def filled(self) -> list[tuple[int, str]]:
        """The non-blank lines with their numbers."""
        return [(number, line) for number, line in enumerate(self.lines, 1) if line.strip()]
