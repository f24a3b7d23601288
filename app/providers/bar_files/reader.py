"""What every reader of files of bars offers, and the account it gives of their rows."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from app.market.bars.candle import Candle, Granularity
from app.market.pair import CurrencyPair

LONGEST_EXAMPLE = 80
"""Characters shown of a row."""

_EXAMPLES_OF_A_REASON = 3


class RejectedRow(NamedTuple):
    """A row that gave no bar: its line, counted from 1, why, and how it begins."""

    line: int
    reason: str
    text: str


class BarReader(Protocol):
    """Bars from a file, or from several that belong together.

    ``pair`` and ``granularity`` are those of every bar, None where the rows name them. The counts are those of the reading
    under way, or of the last: each of the ``rows`` is among the ``accepted`` or the ``rejected``, which are counted by
    the reason in words; ``examples`` are the first few of each reason.
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
        """Complete bars in the order of time, for each pair and granularity; a second call begins anew. Raises SourceError."""
        ...


class Tally:
    """Rows of one reading: how many there were, how many of them were of use, and why the others were not."""

    def __init__(self) -> None:
        self.rows = 0
        self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self.examples: list[RejectedRow] = []

    def reject(self, line: int, reason: str, text: str, rows: int = 1) -> None:
        """Take note of so many rows, of which this is the first, that give no bar."""
        self.rejected[reason] += rows
        if sum(example.reason == reason for example in self.examples) < _EXAMPLES_OF_A_REASON:
            self.examples.append(RejectedRow(line, reason, text.strip()[:LONGEST_EXAMPLE]))
