"""Times, a column at a time.

The first time of a form is read by itself, which tells where its digits are; others of the same width whose other signs are
the same are then read together. What fits no form known so far is read by itself again, and may be the first of a new one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.providers.bar_files.text.rows import Column, Flags, Ints
from app.providers.bar_files.values.moments import DAY, HOUR, MINUTE, SECOND, Moment, Spans
from app.providers.bar_files.values.unusable import UnusableRow

UNKNOWN = np.iinfo(np.int64).min
"""The offset of a time that does not say its own."""

_MOST_FORMS = 32
_ZERO = ord("0")
_DAYS_BEFORE = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334], np.int64)
_LENGTHS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
_DAYS_TO_1970 = 719_162


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """A column of times: ``local`` microseconds since 1970 on the clock they are written by, and its ``offset`` from UTC."""

    local: Ints
    offset: Ints
    usable: Flags


@dataclass(frozen=True, slots=True)
class _Form:
    """A form of times: the first text of it, where its parts are, and the offset that it names."""

    text: bytes
    spans: Spans
    offset: int

    def fits(self, column: Column) -> Flags:
        """True for each field with digits where this has some, and the same signs elsewhere. The width is the same."""
        digits = {place for name, span in self.spans.parts.items() if name != "offset" for place in range(*span)}
        fits = np.ones(len(column), bool)
        for place, sign in enumerate(self.text):
            byte = column.text[column.starts + place]
            fits &= (byte - _ZERO < 10) if place in digits else (byte == sign)
        return fits

    def part(self, column: Column, name: str) -> Ints:
        """The number that a part of every field is; 0 where the form does not have it."""
        start, end = self.spans.parts.get(name, (0, 0))
        value = np.zeros(len(column), np.int64)
        for place in range(start, end):
            value = value * 10 + (column.text[column.starts + place] - _ZERO)
        return value

    def read(self, column: Column) -> tuple[Ints, Flags]:
        """The local times of fields of this form, and which of them there are."""
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
    """Reads columns of times by ``read_one``, and remembers the forms it has met."""

    def __init__(self, read_one: Callable[[str], Moment]) -> None:
        self._read_one = read_one
        self._forms: list[_Form] = []

    def read(self, column: Column) -> Times:
        """The times of a column, usable or not."""
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
        """Read those of the rows left that have this form, and return the others."""
        wide = left[column.widths[left] == len(form.text)]
        fitting = wide[form.fits(column.of(wide))]
        values, good = form.read(column.of(fitting))
        rows = fitting[good]
        local[rows], offset[rows], usable[rows] = values[good], form.offset, True
        # A day such as the 30th of February fits the form, and is none: there is no second reading.
        return left[~np.isin(left, fitting, assume_unique=True)] if len(fitting) else left


def _days(year: Ints, month: Ints, day: Ints) -> tuple[Ints, Flags]:
    """Days since 1970 of dates, and which of them there are."""
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    in_year = (month >= 1) & (month <= 12)
    safe = np.where(in_year, month, 1)
    length = _LENGTHS[safe] + (leap & (safe == 2))
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 + _DAYS_BEFORE[safe] + (leap & (safe > 2)) + day - 1
    return days - _DAYS_TO_1970, in_year & (day >= 1) & (day <= length) & (year >= 1)
