"""The account of the rows of a file: how many there were, how many are in bars, and why the others are not."""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from app.providers.bar_files.text.rows import Ints

LONGEST_EXAMPLE = 80
"""Characters shown of a row."""

_EXAMPLES_OF_A_REASON = 3


class RejectedRow(NamedTuple):
    """A row that gave no bar: its line, counted from 1, why, and how it begins."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The first row that could not be read: its line, why, and the column, as it is named."""

    line: int
    reason: str
    column: str


class Tally:
    """Rows of one reading. ``lines`` are those of a few rows rejected for each reason; ``first`` the first unreadable row."""

    def __init__(self) -> None:
        self.rows = 0
        self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self.lines: dict[str, list[int]] = {}
        self.first: Refused | None = None

    def reject(self, lines: Ints, reason: str, column: str = "", rows: int | None = None) -> None:
        """Count rows with these lines, or as many as ``rows`` says of which these are the first, as rejected."""
        if not len(lines):
            return
        self.rejected[reason] += len(lines) if rows is None else rows
        shown = self.lines.setdefault(reason, [])
        shown += [int(line) for line in lines[: _EXAMPLES_OF_A_REASON - len(shown)]]
        if self.first is None or lines[0] < self.first.line:
            self.first = Refused(int(lines[0]), reason, column)

    def examples(self, texts: dict[int, str], label: str = "") -> list[RejectedRow]:
        """The first few rows of each reason, by the lines' texts, in the order of the file."""
        found = [
            RejectedRow(line, reason, f"{label}{texts.get(line, '').strip()}"[:LONGEST_EXAMPLE])
            for reason, lines in self.lines.items()
            for line in lines
        ]
        return sorted(found)

    @property
    def shown_lines(self) -> set[int]:
        """The lines whose texts ``examples`` needs."""
        return {line for lines in self.lines.values() for line in lines}
