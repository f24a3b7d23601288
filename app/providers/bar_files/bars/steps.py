"""The time between rows, and the granularity it implies."""

from types import MappingProxyType

import numpy as np

from app.market.bars.candle import Granularity
from app.providers.bar_files.bars.frame import Frame
from app.providers.bar_files.text.rows import Ints
from app.providers.bar_files.values.moments import DAY, HOUR, MINUTE, SECOND

_APART = MappingProxyType(
    {
        Granularity.M1: (MINUTE, MINUTE),
        Granularity.M5: (5 * MINUTE, 5 * MINUTE),
        Granularity.M15: (15 * MINUTE, 15 * MINUTE),
        Granularity.H1: (HOUR, HOUR),
        Granularity.H4: (4 * HOUR, 4 * HOUR),
        Granularity.D: (DAY - HOUR, DAY + HOUR),
        Granularity.W: (7 * DAY - HOUR, 7 * DAY + HOUR),
        Granularity.M: (28 * DAY - HOUR, 31 * DAY + HOUR),
    }
)
"""The shortest and longest time between starts: clocks change, and months differ."""


def steps_of(frame: Frame) -> Ints:
    """Return the times between consecutive rows of each series in microseconds, sorted by time, without zeros."""
    found = []
    for series in series_of(frame):
        steps = np.diff(frame.local[series])
        if (steps < 0).any():
            steps = np.diff(np.sort(frame.local[series]))
        found.append(steps[steps > 0])
    return np.concatenate(found) if found else np.empty(0, np.int64)


def series_of(frame: Frame) -> list[Ints]:
    """Return the row indexes of each pair and granularity."""
    if not len(frame):
        return []
    keys = frame.pair * max(len(frame.granularities), 1) + frame.granularity
    if (keys == keys[0]).all():
        return [np.arange(len(frame))]
    return [np.flatnonzero(keys == key) for key in np.unique(keys)]


def usual(steps: Ints) -> int | None:
    """Return the most frequent step, the shorter of two; None without any."""
    if not len(steps):
        return None
    values, counts = np.unique(steps, return_counts=True)
    return int(values[np.argmax(counts)])


def shortest(granularity: Granularity) -> int:
    """Return the shortest time between the starts of such bars, in microseconds."""
    return _APART[granularity][0]


def are_closer(steps: Ints, granularity: Granularity) -> bool:
    """Return True if more than half of the rows are closer together than such bars."""
    return 2 * int((steps < shortest(granularity)).sum()) > len(steps)


def granularity_of(step: int) -> Granularity | None:
    """Return the granularity of rows with this step, or None."""
    return next((length for length, (least, most) in _APART.items() if least <= step <= most), None)


def longer_than(step: int) -> Granularity:
    """Return the shortest granularity longer than this step; M at most."""
    return next((length for length, (least, _) in _APART.items() if least > step), Granularity.M)


def in_words(step: int) -> str:
    """Format a step, as ``1800 s`` or ``0.5 s``."""
    return f"{step / SECOND:g} s" if step < 1_000_000 * SECOND else f"{step // SECOND} s"
