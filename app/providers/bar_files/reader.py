"""What every reader of files of bars offers."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.market.bars.candle import Candle, Granularity
from app.market.blocks.block import BarBlock
from app.market.pair import CurrencyPair
from app.providers.bar_files.tally import RejectedRow


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """How a row was understood: its line and text, its time in UTC, and its prices by side.

    ``bar`` is the start of the bar that it goes into.
    """

    line: int
    text: str
    time: datetime
    bar: datetime
    pair: CurrencyPair
    prices: dict[str, str]


class BarReader(Protocol):
    """Bars from a file, or from several that belong together.

    ``pair`` and ``granularity`` are those of every bar, None where the rows name them. ``notes`` say how the file was understood,
    a sentence each. The counts are those of the last reading: each of the ``rows`` is among the ``accepted`` or the ``rejected``,
    which are counted by the reason in words; ``examples`` are the first few of each reason.
    """

    title: str
    pair: CurrencyPair | None
    granularity: Granularity | None

    @property
    def notes(self) -> Sequence[str]: ...
    @property
    def rows(self) -> int: ...
    @property
    def accepted(self) -> int: ...
    @property
    def rejected(self) -> Counter[str]: ...
    @property
    def examples(self) -> list[RejectedRow]: ...

    def blocks(self, reached: Callable[[float], None] = lambda fraction: None) -> Sequence[BarBlock]:
        """Read all of the file: complete bars in the order of time, a block for each pair and granularity.

        ``reached`` is called with the share of the file read, and may be called from another thread. Raises SourceError.
        """
        ...

    def candles(self) -> Iterator[Candle]:
        """The same bars one by one. Raises SourceError."""
        ...

    def preview(self, count: int) -> list[PreviewRow]:
        """The first ``count`` rows that can be used, as they are understood. Raises SourceError."""
        ...
