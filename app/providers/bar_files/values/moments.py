"""Parsing single times in the formats found in files."""

import re
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from app.providers.bar_files.values.unusable import UnusableRow

MICROSECOND = 1
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
"""Lengths of time in microseconds, in which all times of this package are counted from 1970."""

_FIRST_DAY = date(1970, 1, 1).toordinal()
_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
    "mär": 3, "mrz": 3, "mai": 5, "okt": 10, "dez": 12,
}  # fmt: skip
_CLOCK = r"(?P<H>\d\d?):(?P<M>\d\d)(?::(?P<S>\d\d)(?:[.,:](?P<f>\d{1,9}))?)?(?:\s*(?P<half>[AaPp][Mm]))?"
_RUN_TOGETHER = r"(?P<H>\d\d):?(?P<M>\d\d)(?::?(?P<S>\d\d)(?:\.?(?P<f>\d{1,9}))?)?"
_OFFSET = r"\s*(?P<offset>(?:UTC|GMT|Z)?(?:[+-]\d\d?(?::?\d\d)?(?::?00)?)?)"

_DATES = (
    rf"(?P<Y>\d{{4}})(?P<m>\d\d)(?P<d>\d\d)(?:[T ]{_RUN_TOGETHER})?{_OFFSET}",
    r"(?P<Y>(?:19|20)\d\d)(?P<m>\d\d)(?P<d>\d\d)(?P<H>\d\d)(?P<M>\d\d)(?P<S>\d\d)?(?P<offset>)",
    rf"(?P<Y>\d{{4}})[-./](?P<m>\d\d?)[-./](?P<d>\d\d?)(?:[T ,]\s*(?:{_CLOCK}))?{_OFFSET}",
    rf"(?P<Y>\d{{4}})-(?P<m>\d\d)-(?P<d>\d\d)[T ]{_RUN_TOGETHER}{_OFFSET}",
    rf"(?P<d>\d\d?)\.(?P<m>\d\d?)\.(?P<Y>\d{{4}}|\d\d)(?:,?\s+{_CLOCK})?{_OFFSET}",
    rf"(?P<month>[A-Za-zä]{{3}})[a-z]*\.? (?P<d>\d\d?),? (?P<Y>\d{{4}})(?:,?\s+{_CLOCK})?{_OFFSET}",
    rf"(?P<d>\d\d?)[ -](?P<month>[A-Za-zä]{{3}})[a-z]*[ -](?P<Y>\d{{4}})(?:,?\s+{_CLOCK})?{_OFFSET}",
)
_MONTH_THEN_DAY = rf"(?P<m>\d\d?)[/-](?P<d>\d\d?)[/-](?P<Y>\d{{4}}|\d\d)(?:,?\s+{_CLOCK})?{_OFFSET}"
_DAY_THEN_MONTH = rf"(?P<d>\d\d?)[/-](?P<m>\d\d?)[/-](?P<Y>\d{{4}}|\d\d)(?:,?\s+{_CLOCK})?{_OFFSET}"
_MONTH_FIRST = tuple(re.compile(form, re.ASCII) for form in (*_DATES, _MONTH_THEN_DAY))
_DAY_FIRST = tuple(re.compile(form, re.ASCII) for form in (*_DATES, _DAY_THEN_MONTH))
_OF_A_DAY = re.compile(rf"{_CLOCK}|(?P<H2>\d\d)(?P<M2>\d\d)(?P<S2>\d\d)?", re.ASCII)
_EPOCH = re.compile(r"(?P<whole>\d{9,20})(?:\.(?P<f>\d+))?", re.ASCII)
_EXPONENT = re.compile(r"\d(?:\.\d+)?[eE]\+?\d\d?", re.ASCII)
_OFFSET_PARTS = re.compile(r"(?:UTC|GMT|Z)?(?:([+-])(\d\d?):?(\d\d)?(?::?00)?)?", re.ASCII)
_SLASHED = re.compile(r"(\d\d?)[/-](\d\d?)[/-]\d\d", re.ASCII)

_SECONDS, _MILLISECONDS, _MICROSECONDS = 11, 14, 17
"""Maximum digits of a Unix time in these units; more digits are nanoseconds."""


class Spans(NamedTuple):
    """The positions of the parts of a time in its text, by which other times of the same format are parsed."""

    parts: dict[str, tuple[int, int]]
    unit: int = 0
    """For a Unix time, the unit of its last digit in microseconds; -1000 for nanoseconds."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A parsed time: ``local`` as written, and its ``offset`` from UTC, None if missing.

    Both are in microseconds, ``local`` since 1970. ``spans`` is None for formats that are not parsed in columns.
    """

    local: int
    offset: int | None
    spans: Spans | None = None


def read_moment(text: str, *, month_first: bool = True) -> Moment:
    """Parse a date, a date and time, or a Unix time in seconds to nanoseconds. Raises UnusableRow.

    ``month_first`` tells how to read 02/01/2012. A date alone is midnight.
    """
    text = text.strip()
    for form in _MONTH_FIRST if month_first else _DAY_FIRST:
        match = form.fullmatch(text)
        if match is not None and (moment := _dated(match)) is not None:
            return moment
    if match := _EPOCH.fullmatch(text):
        return _since_1970(match)
    if _EXPONENT.fullmatch(text):
        whole = int(float(text))
        if (found := _EPOCH.fullmatch(str(whole))) is not None:
            return Moment(_since_1970(found).local, 0)
    raise UnusableRow("not a time")


def read_time_of_day(text: str) -> Moment:
    """Parse ``09:30``, ``09:30:15.250`` or ``093015`` into microseconds since midnight. Raises UnusableRow."""
    match = _OF_A_DAY.fullmatch(text.strip())
    if match is None:
        raise UnusableRow("not a time")
    spans = _spans(match)
    parts = {name.removesuffix("2"): span for name, span in spans.parts.items()}
    local = _clock({name.removesuffix("2"): value for name, value in match.groupdict().items() if value is not None})
    return Moment(local, None, Spans(parts))


def day_first(texts: list[str]) -> bool | None:
    """Return whether dates such as 13/02/2012 have the day first; None if they are ambiguous or not dates."""
    firsts, seconds = 0, 0
    for text in texts:
        if match := _SLASHED.match(text.strip()):
            firsts, seconds = max(firsts, int(match[1])), max(seconds, int(match[2]))
    if firsts > 12 >= seconds:
        return True
    return False if seconds > 12 >= firsts else None


def has_slashes(text: str) -> bool:
    """True for a date whose day and month can be mistaken for one another."""
    return _SLASHED.match(text.strip()) is not None


def _dated(match: re.Match[str]) -> Moment | None:
    parts = {name: value for name, value in match.groupdict().items() if value is not None}
    year = int(parts["Y"])
    if len(parts["Y"]) == 2:
        year += 2000 if year < 70 else 1900
    month = _MONTHS.get(parts["month"].lower(), 0) if "month" in parts else int(parts["m"])
    try:
        day = date(year, month, int(parts["d"])).toordinal() - _FIRST_DAY
    except ValueError:
        return None
    local = day * DAY + (_clock(parts) if "H" in parts else 0)
    offset = _offset(parts["offset"])
    plain = "month" not in parts and "half" not in parts and len(parts["Y"]) == 4
    return Moment(local, offset, _spans(match) if plain else None)


def _clock(parts: dict[str, str]) -> int:
    hour, minute, second = int(parts["H"]), int(parts["M"]), int(parts.get("S") or 0)
    if "half" in parts:
        if not 1 <= hour <= 12:
            raise UnusableRow("not a time")
        hour = hour % 12 + (12 if parts["half"].lower() == "pm" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise UnusableRow("not a time")
    fraction = int((parts.get("f") or "0").ljust(6, "0")[:6])
    return hour * HOUR + minute * MINUTE + second * SECOND + fraction


def _offset(text: str) -> int | None:
    if not text:
        return None
    match = _OFFSET_PARTS.fullmatch(text)
    if match is None:
        raise UnusableRow("not a time")
    sign, hours, minutes = match.groups()
    offset = int(hours or 0) * HOUR + int(minutes or 0) * MINUTE
    if offset >= DAY:
        raise UnusableRow("not a time")
    return -offset if sign == "-" else offset


def _since_1970(match: re.Match[str]) -> Moment:
    whole, fraction = match["whole"], match["f"] or ""
    digits = len(whole)
    unit = SECOND if digits <= _SECONDS else 1000 if digits <= _MILLISECONDS else 1 if digits <= _MICROSECONDS else -1000
    value = int(whole)
    local = value * unit if unit > 0 else value // -unit
    if unit > 0 and fraction:
        local += int(fraction.ljust(6, "0")[:6]) * unit // SECOND
    if local > 253_402_300_799 * SECOND:  # the year 9999
        raise UnusableRow("not a time")
    return Moment(local, 0, None if fraction.strip("0") else Spans({"whole": match.span("whole")}, unit))


def _spans(match: re.Match[str]) -> Spans:
    return Spans({name: match.span(name) for name, value in match.groupdict().items() if value})
