"""What the columns of a file are: the outcome of recognition, by which every row is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.market.bars.candle import Granularity
from app.market.pair import CurrencyPair
from app.providers.bar_files.values.clocks import Clock

UNKNOWN_SOURCE = "import"
"""The source of bars whose layout is nobody's in particular."""

PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class TimeColumns:
    """Where a row has its time: in one column, or the date in one and the time of day in another.

    With a ``midnight`` the column holds milliseconds since then. ``month_first`` is how 02/01/2012 is read.
    """

    place: int
    of_day: int | None = None
    midnight: datetime | None = None
    month_first: bool = True


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of a file are read. Columns are counted from 0.

    ``bars`` are the places of open, high, low and close by side, ``mid`` standing for prices of which no side is known;
    ``quotes`` those of bid and ask, where rows are ticks. ``clock`` is the one that times without an offset are written by;
    None where the layout does not tell. ``server`` is true of MetaTrader's, whose clock differs from broker to broker.
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
    """The only lengths of bars that come in the layout; none where any may."""
    alone: bool = False
    """Whether a file of bids is imported without that of the asks."""
    carries: bool = False
    """Whether an empty bid or ask is that of the row before, as in MetaTrader's ticks."""
    whole_day: bool = False
    """Whether a file of ticks holds its day to the end."""

    @property
    def has_sides(self) -> bool:
        """True where bids and asks are told apart."""
        return self.quotes is not None or {"bid", "ask"} <= self.bars.keys()

    def name_of(self, place: int) -> str:
        """``column 3 (high)``, as a refusal names it."""
        named = f" ({self.names[place]})" if place < len(self.names) and self.names[place] else ""
        return f"column {place + 1}{named}"


@dataclass(frozen=True, slots=True)
class Head:
    """What a layout is recognised by: the first lines of a file, the day that its name begins with, and all of its name."""

    lines: Sequence[str]
    midnight: datetime | None
    name: str

    @property
    def filled(self) -> list[tuple[int, str]]:
        """The lines that are not blank, with their numbers."""
        return [(number, line) for number, line in enumerate(self.lines, 1) if line.strip()]
