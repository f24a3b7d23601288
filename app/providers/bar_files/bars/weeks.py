"""The trading week: rows outside it, and files whose time zone is wrong."""

from dataclasses import dataclass
from datetime import timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np

from app.market.bars.candle import Granularity
from app.market.blocks.starts import TradingDays, moment_of
from app.providers.bar_files.bars.frame import Frame
from app.providers.bar_files.text.rows import Flags, Ints
from app.providers.bar_files.values.clocks import Clock
from app.providers.bar_files.values.moments import DAY, HOUR

_NEW_YORK = ZoneInfo("America/New_York")
_CANDIDATES = tuple(hours for hours in range(-12, 15) if hours)
_LEAST_SHARE = 0.002
_MUCH_BETTER = 10
_LONG_ENOUGH = 3 * DAY


def closed(frame: Frame) -> Flags:
    """Return True for rows of a closed market: the weekend from Friday to Sunday 17:00 in New York, and flat holidays.

    On holidays some sources quote and others repeat the last price: a holiday counts as closed if all its rows are flat.
    """
    if not len(frame):
        return np.zeros(0, bool)
    days = TradingDays(frame.time)
    of = days.of(frame.time)
    holiday = days.in_holiday(of)
    moved = np.unique(of[holiday & ~frame.flat])
    return days.in_weekend(of) | (holiday & ~np.isin(of, moved))


def is_intraday(granularity: Granularity | None) -> bool:
    """Return True for granularities shorter than a day."""
    return granularity not in (Granularity.D, Granularity.W, Granularity.M)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A file that does not fit the trading week: the number of rows outside, the first of them, and the clock that would fit."""

    outside: int
    clock: Clock
    first_outside: int

    @property
    def words(self) -> str:
        """An explanation with the option to give."""
        example = moment_of(self.first_outside)
        return (
            f"read as UTC, {self.outside:,} of its rows lie in a closed market, the first at {example:%A %Y-%m-%d %H:%M}, "
            f"and none would on a clock of {self.clock.name}: give --timezone {self.clock.name}, "
            "or --timezone UTC to read it as it is"
        )


def misfit(frame: Frame) -> Misfit | None:
    """Check whether times read as UTC fit the trading week; return None if they do, or if no other clock fits better.

    Clocks with the daylight-saving time of New York, which most brokers' servers follow, are tried before fixed offsets. Flat
    rows are ignored, as closed hours are often padded with them.
    """
    times = frame.time[~frame.flat]
    if not len(times) or times.max() - times.min() < _LONG_ENOUGH:
        return None
    outside = _outside(times)
    count = int(outside.sum())
    if count <= _LEAST_SHARE * len(times):
        return None
    times, outside = times[np.argsort(times)], outside[np.argsort(times)]
    best: tuple[int, int, int] | None = None
    clocks = [_clock(hours, fixed=fixed) for fixed in (False, True) for hours in _CANDIDATES]
    for place, clock in enumerate(clocks):
        shifted = clock.to_utc(times)
        left = int(_outside(shifted).sum())
        rank = (left, _late(shifted), place)
        if best is None or rank < best:
            best = rank
    assert best is not None
    if best[0] * _MUCH_BETTER > count:
        return None
    return Misfit(count, clocks[best[2]], int(times[outside][0]))


def _outside(times: Ints) -> Flags:
    days = TradingDays(times)
    return days.in_weekend(days.of(times))


def _late(times: Ints) -> int:
    """Return the hours from the open to the first row after a weekend (the median): 0 for the right clock."""
    after = times[1:][np.diff(times) > 30 * HOUR]
    if not len(after):
        return 0
    days = TradingDays(after)
    return int(np.median(after - days.begins(days.of(after))) // HOUR)


def _clock(hours: int, *, fixed: bool) -> Clock:
    """Return the clock that is ``hours`` ahead of UTC in winter, with daylight-saving time as in New York unless ``fixed``."""
    if fixed:
        sign = "-" if hours < 0 else "+"
        name = f"{sign}{abs(hours):02}:00"
        return Clock(name, timezone(timedelta(hours=hours)))
    ahead = hours + 5
    if not ahead:
        return Clock("America/New_York", _NEW_YORK)
    sign = "-" if ahead < 0 else "+"
    return Clock(f"America/New_York{sign}{abs(ahead):02}:00", _NEW_YORK, timedelta(hours=ahead))
