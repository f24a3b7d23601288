"""Parsing columns of times.

The first time of a format is parsed by itself, which yields the positions of its digits; all times with the same pattern are then
parsed together. A time that matches no format so far is parsed by itself again, and may be the first of a new one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.providers.bar_files.text.rows import Column, Flags, Ints
from app.providers.bar_files.values.moments import DAY, HOUR, MINUTE, SECOND, Moment, Spans
from app.providers.bar_files.values.unusable import UnusableRow

UNKNOWN = np.iinfo(np.int64).min
"""The offset of times without one."""

_MOST_FORMS = 32
_ZERO = ord("0")
_DAYS_BEFORE = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334], np.int64)
_LENGTHS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
_DAYS_TO_1970 = 719_162


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """A column of times: ``local`` as written, in microseconds since 1970, and the ``offset`` from UTC."""

    local: Ints
    offset: Ints
    usable: Flags


@dataclass(frozen=True, slots=True)
class _Form:
    """A format of times: an example, the positions of its parts, and the offset it names."""

    text: bytes
    spans: Spans
    offset: int

    def fits(self, column: Column) -> Flags:
        """Return True for fields, all of the right width, with digits in the same places and otherwise the same characters."""
        digits = {place for name, span in self.spans.parts.items() if name != "offset" for place in range(*span)}
        fits = np.ones(len(column), bool)
        for place, sign in enumerate(self.text):
            byte = column.text[column.starts + place]
            fits &= (byte - _ZERO < 10) if place in digits else (byte == sign)
        return fits

    def part(self, column: Column, name: str) -> Ints:
        """Parse a part of every field; 0 if the format lacks it."""
        start, end = self.spans.parts.get(name, (0, 0))
        value = np.zeros(len(column), np.int64)
        for place in range(start, end):
            value = value * 10 + (column.text[column.starts + place] - _ZERO)
        return value

    def read(self, column: Column) -> tuple[Ints, Flags]:
        """Parse fields of this format, and return which are valid."""
        if "whole" in self.spans.parts:
            value, unit = self.part(column, "whole"), self.spans.unit
            return (value * unit if unit > 0 else value // -unit), np.ones(len(column), bool)
        usable = np.ones(len(column), bool)
        local = np.zeros(len(column), np.int64)
        if "Y" in self.spans.parts:
            days, usable = _days(self.part(column, "Y"), self.part(column, "m"), self.part(column, "d"))
            local += days * DAY
        hour, minute, second = (self.part(column, name) for name in "HMS")
        usable &= (hour < 24) & (minute < 60) & (second < 60)
        start, end = self.spans.parts.get("f", (0, 0))
        digits = end - start
        fraction = self.part(column, "f")
        fraction = fraction * 10 ** (6 - digits) if digits <= 6 else fraction // 10 ** (digits - 6)
        return local + hour * HOUR + minute * MINUTE + second * SECOND + fraction, usable


class TimeReader:
    """Parses columns of times with the help of ``read_one``, and remembers formats."""

    def __init__(self, read_one: Callable[[str], Moment]) -> None:
        self._read_one = read_one
        self._forms: list[_Form] = []

    def read(self, column: Column) -> Times:
        """Parse a column of times."""
        count = len(column)
        local, offset, usable = np.zeros(count, np.int64), np.full(count, UNKNOWN), np.zeros(count, bool)
        left = np.arange(count)
        known = 0
        while len(left):
            while known < len(self._forms) and len(left):
                left = self._read_form(self._forms[known], column, left, local, offset, usable)
                known += 1
            if not len(left):
                break
            row, left = int(left[0]), left[1:]
            try:
                text = column.read(row)
                moment = self._read_one(text)
            except UnusableRow:
                continue
            local[row], offset[row], usable[row] = moment.local, UNKNOWN if moment.offset is None else moment.offset, True
            if moment.spans is not None and len(self._forms) < _MOST_FORMS and text.isascii():
                self._forms.append(_Form(text.encode(), moment.spans, int(offset[row])))
        return Times(local, offset, usable)

    def _read_form(self, form: _Form, column: Column, left: Ints, local: Ints, offset: Ints, usable: Flags) -> Ints:
        """Parse the remaining rows that have this format, and return the others."""
        wide = left[column.widths[left] == len(form.text)]
        fitting = wide[form.fits(column.of(wide))]
        values, good = form.read(column.of(fitting))
        rows = fitting[good]
        local[rows], offset[rows], usable[rows] = values[good], form.offset, True
        # A date such as 30 February has the format but is invalid, so it needs no second attempt.
        return left[~np.isin(left, fitting, assume_unique=True)] if len(fitting) else left


def _days(year: Ints, month: Ints, day: Ints) -> tuple[Ints, Flags]:
    """Convert dates to days since 1970, and return which are valid."""
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    in_year = (month >= 1) & (month <= 12)
    safe = np.where(in_year, month, 1)
    length = _LENGTHS[safe] + (leap & (safe == 2))
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 + _DAYS_BEFORE[safe] + (leap & (safe > 2)) + day - 1
    return days - _DAYS_TO_1970, in_year & (day >= 1) & (day <= length) & (year >= 1)
