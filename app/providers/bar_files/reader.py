"""What every reader of bar files offers, and its account of the rows."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from app.market.bars.candle import Candle, Granularity
from app.market.pair import CurrencyPair

LONGEST_EXAMPLE = 80
"""The number of characters shown of a row."""

_EXAMPLES_OF_A_REASON = 3


class RejectedRow(NamedTuple):
    """A row that gave no bar: its line, counted from 1, the reason, and the beginning of its text."""

    line: int
    reason: str
    text: str


class BarReader(Protocol):
    """Bars from a file, or from several that belong together.

    ``pair`` and ``granularity`` are those of every bar, or None when the rows give them. The counts are those of the current
    pass, or of the last: each of the ``rows`` is either ``accepted`` or ``rejected``, the latter counted by reason; ``examples``
    are the first few of each reason.
    """

    title: str
    pair: CurrencyPair | None
    granularity: Granularity | None

    @property
    def rows(self) -> int: ...
    @property
    def accepted(self) -> int: ...
    @property
    def rejected(self) -> Counter[str]: ...
    @property
    def examples(self) -> list[RejectedRow]: ...

    def candles(self) -> Iterator[Candle]:
        """Yield complete bars in order of time, for each pair and granularity; calling again starts over. Raises SourceError."""
        ...


class Tally:
    """The rows of one pass: how many there were, how many were used, and why the others were not."""

    def __init__(self) -> None:
        self.rows = 0
        self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self.examples: list[RejectedRow] = []

    def reject(self, line: int, reason: str, text: str, rows: int = 1) -> None:
        """Note ``rows`` rows, the given one being the first, that give no bar."""
        self.rejected[reason] += rows
        if sum(example.reason == reason for example in self.examples) < _EXAMPLES_OF_A_REASON:
            self.examples.append(RejectedRow(line, reason, text.strip()[:LONGEST_EXAMPLE]))
