"""Splitting blocks of bytes into lines and fields, vectorised."""

import csv
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.uint8]
Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

QUOTED = "\x1f"
"""Delimiter of blocks with quotation marks, after unquoting."""

_NEWLINE, _SPACE = 10, 32
_BROKEN = "\x1e"


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One field of every row: ``text[starts[i]:ends[i]]``, stripped."""

    text: Bytes
    starts: Ints
    ends: Ints

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def widths(self) -> Ints:
        """The length of each field in bytes."""
        return self.ends - self.starts

    def of(self, rows: Ints | Flags) -> "Column":
        """Return the fields of the selected rows."""
        return Column(self.text, self.starts[rows], self.ends[rows])

    def read(self, row: int) -> str:
        """Return the text of one field."""
        return self.text[self.starts[row] : self.ends[row]].tobytes().decode("utf-8", "replace")

    def equals(self, text: bytes) -> Flags:
        """Return True for fields equal to this text."""
        same: Flags = self.widths == len(text)
        for place, byte in enumerate(text):
            rows = np.flatnonzero(same)
            same[rows] = self.text[self.starts[rows] + place] == byte
        return same

    def codes(self, most: int = 64) -> tuple[Ints, list[str]]:
        """Return a code for each field, and the distinct texts by their codes."""
        codes = np.full(len(self), -1, np.int64)
        texts: list[str] = []
        left = np.arange(len(self))
        while len(left) and len(texts) < most:
            text = self.read(int(left[0]))
            codes[left[self.of(left).equals(text.encode("utf-8", "replace"))]] = len(texts)
            codes[left[0]] = len(texts)  # also where the text was not UTF-8
            texts.append(text)
            left = left[codes[left] < 0]
        numbers = {text: number for number, text in enumerate(texts)}
        for row in left:
            text = self.read(int(row))
            codes[row] = numbers.setdefault(text, len(numbers))
        return codes, list(numbers)


class Rows:
    """The non-blank lines of a block; ``lines`` are their numbers in the file, counted from 1.

    ``good`` has the indexes of lines with ``width`` fields; ``broken`` is True for lines with mismatched quotation marks.
    """

    def __init__(self, block: bytes, first_line: int, delimiter: str, width: int) -> None:
        self.count = block.count(b"\n") + bool(block and not block.endswith(b"\n"))
        broken: list[int] = []
        if b'"' in block:
            block, broken = _unquoted(block, delimiter)
            delimiter = QUOTED
        if block and not block.endswith(b"\n"):
            block += b"\n"
        self._text: Bytes = np.frombuffer(block, np.uint8)
        bounds = np.flatnonzero((self._text == ord(delimiter)) | (self._text == _NEWLINE))
        last = np.flatnonzero(self._text[bounds] == _NEWLINE)  # of the bounds, those that end a line
        first = np.append(0, last[:-1] + 1)[: len(last)]
        ends = bounds[last]
        starts = np.append(0, ends[:-1] + 1)[: len(ends)]
        filled = ends > starts
        for line in np.flatnonzero(filled & (last == first)):  # a line without a delimiter may be blank, too
            filled[line] = not block[starts[line] : ends[line]].isspace()
        self._starts, self._ends = starts[filled], ends[filled]
        self.lines: Ints = np.flatnonzero(filled) + first_line
        self.broken: Flags = np.isin(self.lines - first_line, broken)
        self.good: Ints = np.flatnonzero(((last - first)[filled] == width - 1) & ~self.broken)
        self._bounds = bounds[first[filled][self.good, None] + np.arange(width - 1)]
        self._width = width

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, place: int) -> Column:
        """Return one field of the good lines."""
        starts = self._starts[self.good] if place == 0 else self._bounds[:, place - 1] + 1
        ends = self._ends[self.good] if place == self._width - 1 else self._bounds[:, place]
        return _trimmed(self._text, starts, ends)


def _trimmed(text: Bytes, starts: Ints, ends: Ints) -> Column:
    """Strip whitespace from the fields."""
    while len(rows := np.flatnonzero((starts < ends) & (text[np.minimum(starts, len(text) - 1)] <= _SPACE))):
        starts = starts.copy()
        starts[rows] += 1
    while len(rows := np.flatnonzero((starts < ends) & (text[ends - 1] <= _SPACE))):
        ends = ends.copy()
        ends[rows] -= 1
    return Column(text, starts, ends)


def _unquoted(block: bytes, delimiter: str) -> tuple[bytes, list[int]]:
    """Return the block unquoted, with ``QUOTED`` as delimiter, and the indexes of lines with mismatched quotation marks."""
    lines, broken = [], []
    for number, line in enumerate(block.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")):
        if '"' not in line:
            lines.append(line.replace(delimiter, QUOTED))
            continue
        try:
            [fields] = csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True)
        except (csv.Error, ValueError):
            fields = [_BROKEN]
            broken.append(number)
        lines.append(QUOTED.join(fields).replace("\n", " "))
    return "\n".join(lines).encode("utf-8", "surrogateescape"), broken
