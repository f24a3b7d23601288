"""The interface of readers of bar files."""

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
    """How a row was interpreted: its line and text, its time in UTC, and its prices by side.

    ``bar`` is the start of its bar.
    """

    line: int
    text: str
    time: datetime
    bar: datetime
    pair: CurrencyPair
    prices: dict[str, str]


class BarReader(Protocol):
    """Bars from a file, or from two that belong together.

    ``pair`` and ``granularity`` are those of every bar, None if the rows name them. ``notes`` are sentences on how the file was
    interpreted. The counts are those of the last reading: each of the ``rows`` is either ``accepted`` or among the ``rejected``,
    which are counted by reason; ``examples`` are the first few for each reason.
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
        """Read the file and return complete bars in order of time, a block per pair and granularity.

        ``reached`` is called with the share of the file read, and may be called from another thread. Raises SourceError.
        """
        ...

    def candles(self) -> Iterator[Candle]:
        """Yield the same bars one by one. Raises SourceError."""
        ...

    def preview(self, count: int) -> list[PreviewRow]:
        """Return the first ``count`` usable rows as they are interpreted. Raises SourceError."""
        ...
