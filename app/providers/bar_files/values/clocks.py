"""Clocks of times without an offset."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from app.errors import ConfigurationError
from app.providers.bar_files.text.rows import Ints
from app.providers.bar_files.values.moments import MINUTE

_AHEAD = re.compile(r"([+-])(\d{1,2})(?::?(\d\d))?", re.ASCII)
_FIXED = {"UTC": 0, "GMT": 0, "Z": 0, "EST": -5, "MST": -7, "HST": -10}
_STEP = 15 * MINUTE
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = datetime(1, 1, 2), datetime(9999, 12, 30)  # noqa: DTZ001 - compared with times on a clock of unknown zone


@dataclass(frozen=True, slots=True)
class Clock:
    """A time zone, shifted ``ahead``: many MetaTrader servers show the time in New York plus seven hours.

    Ambiguous times when clocks go back mean the first one; in most zones that is during the weekend.
    """

    name: str
    zone: tzinfo
    ahead: timedelta = timedelta(0)

    def to_utc(self, local: Ints) -> Ints:
        """Convert times shown by the clock to UTC, both in microseconds since 1970."""
        if isinstance(self.zone, timezone):
            return local - int((self.zone.utcoffset(None) + self.ahead) / timedelta(microseconds=1))
        steps, places = np.unique(local // _STEP, return_inverse=True)
        offsets = np.array([self._offset(int(step)) for step in steps], np.int64)
        return local - offsets[places]

    def _offset(self, step: int) -> int:
        shown = _EPOCH.replace(tzinfo=None) + timedelta(microseconds=step * _STEP) - self.ahead
        offset = self.zone.utcoffset(min(max(shown, _FIRST), _LAST)) or timedelta(0)
        return int((offset + self.ahead) / timedelta(microseconds=1))


UTC_CLOCK = Clock("UTC", UTC)
EST_CLOCK = Clock("EST, without summer time", timezone(timedelta(hours=-5)))
"""HistData's clock, which stays five hours behind UTC all year: https://www.histdata.com/f-a-q/."""


def parse_clock(text: str) -> Clock:
    """Parse ``Europe/Athens``, ``+02:00``, ``EST`` (without daylight-saving time), or ``America/New_York+07:00``, a shifted zone.

    Raises ConfigurationError.
    """
    text = text.strip()
    if text.upper() in _FIXED:
        return Clock(text.upper(), timezone(timedelta(hours=_FIXED[text.upper()])))
    try:
        return Clock(text, ZoneInfo(text))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    match = _AHEAD.search(text)
    if match is not None and match.end() == len(text):
        sign, hours, minutes = match.groups()
        ahead = timedelta(hours=int(hours), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
        if abs(ahead) < timedelta(days=1) and int(minutes or 0) < 60:
            if not match.start():
                return Clock(text, timezone(ahead))
            base = parse_clock(text[: match.start()])
            if not base.ahead:
                return Clock(text, base.zone, ahead)
    raise ConfigurationError(
        f"--timezone: {text[:40]!r} is no zone; give one like Europe/Athens, +02:00, EST or America/New_York+07:00"
    )
