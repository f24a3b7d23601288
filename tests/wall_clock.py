"""Wall clocks that tests set, so that no test depends on the day on which it runs."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self

from app.market import clock

AHEAD = "FX_TESTS_AHEAD"
"""A variable of processes that ``tests.gateways.command`` starts: the microseconds that their clock is ahead of the machine's."""

CLOCK = ("TZ", "LD_PRELOAD", "FX_TESTS_SHIFT")
"""The variables that ``tests.dates`` sets the clock with, for processes that inherit nothing else."""

_MICROSECOND = timedelta(microseconds=1)


class WallClock:
    """A clock that runs like the machine's, but may be ahead of it or behind."""

    def __init__(self, ahead: timedelta = timedelta()) -> None:
        self._ahead = ahead

    @classmethod
    def set_to(cls, moment: datetime) -> Self:
        """A clock that shows this moment now."""
        return cls(moment - datetime.now(UTC))

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that give a process of ``tests.gateways.command`` this clock."""
        return {AHEAD: str(self._ahead // _MICROSECOND)}

    def now(self) -> datetime:
        """The present moment, in UTC."""
        return datetime.now(UTC) + self._ahead

    def nanoseconds(self) -> int:
        """The present moment in nanoseconds since 1970."""
        return time.time_ns() + self._ahead // _MICROSECOND * 1000


def set_ahead(microseconds: str) -> None:
    """Set the clock that this process reads with ``utc_now``, until it ends."""
    vars(clock)["datetime"] = _Shifted(int(microseconds) * _MICROSECOND)


class _Shifted:
    """Stands in for ``datetime`` in ``app.market.clock``, which uses two of its methods."""

    fromisoformat = staticmethod(datetime.fromisoformat)

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self, zone: tzinfo) -> datetime:
        return datetime.now(zone) + self._ahead
