"""Counts of accepted and rejected rows."""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from app.providers.bar_files.text.rows import Ints

LONGEST_EXAMPLE = 80
"""Maximum characters shown of a row."""

_EXAMPLES_OF_A_REASON = 3


class RejectedRow(NamedTuple):
    """A rejected row: its line, counted from 1, the reason, and the beginning of its text."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The first unreadable row: its line, the reason, and a description of the column."""

    line: int
    reason: str
    column: str


class Tally:
    """The rows of one reading. ``lines`` are the first rejected lines for each reason, ``first`` is the first unreadable row."""

    def __init__(self) -> None:
        self.rows = 0
        self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self.lines: dict[str, list[int]] = {}
        self.first: Refused | None = None

    def reject(self, lines: Ints, reason: str, column: str = "", rows: int | None = None) -> None:
        """Count the rows on these lines as rejected; with ``rows``, that many, of which these lines are the first."""
        if not len(lines):
            return
        self.rejected[reason] += len(lines) if rows is None else rows
        shown = self.lines.setdefault(reason, [])
        shown += [int(line) for line in lines[: _EXAMPLES_OF_A_REASON - len(shown)]]
        if self.first is None or lines[0] < self.first.line:
            self.first = Refused(int(lines[0]), reason, column)

    def examples(self, texts: dict[int, str], label: str = "") -> list[RejectedRow]:
        """Return the first rows of each reason in file order; ``texts`` are the texts of ``shown_lines``."""
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
