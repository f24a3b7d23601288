"""How far apart the rows of a file are, and which bars are so far apart."""

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
"""The least and the most from start to start, as clocks may change between them and months differ."""


def steps_of(frame: Frame) -> Ints:
    """The steps in microseconds from each row to the next of its pair and granularity, in the order of time, none of them 0."""
    found = []
    for series in series_of(frame):
        steps = np.diff(frame.local[series])
        if (steps < 0).any():
            steps = np.diff(np.sort(frame.local[series]))
        found.append(steps[steps > 0])
    return np.concatenate(found) if found else np.empty(0, np.int64)


def series_of(frame: Frame) -> list[Ints]:
    """The rows of each pair and granularity."""
    if not len(frame):
        return []
    keys = frame.pair * max(len(frame.granularities), 1) + frame.granularity
    if (keys == keys[0]).all():
        return [np.arange(len(frame))]
    return [np.flatnonzero(keys == key) for key in np.unique(keys)]


def usual(steps: Ints) -> int | None:
    """The step that most rows make, the shorter of two; None where there is none."""
    if not len(steps):
        return None
    values, counts = np.unique(steps, return_counts=True)
    return int(values[np.argmax(counts)])


def shortest(granularity: Granularity) -> int:
    """The least from the start of a bar to that of the next, in microseconds."""
    return _APART[granularity][0]


def are_closer(steps: Ints, granularity: Granularity) -> bool:
    """True where more than half of the rows are closer together than such bars."""
    return 2 * int((steps < shortest(granularity)).sum()) > len(steps)


def granularity_of(step: int) -> Granularity | None:
    """The bars that are so far apart, whether or not clocks change between them."""
    return next((length for length, (least, most) in _APART.items() if least <= step <= most), None)


def longer_than(step: int) -> Granularity:
    """The shortest bars that rows so far apart can be aggregated to; months at most."""
    return next((length for length, (least, _) in _APART.items() if least > step), Granularity.M)


def in_words(step: int) -> str:
    """``1800 s``; ``0.5 s`` where there is a fraction."""
    return f"{step / SECOND:g} s" if step < 1_000_000 * SECOND else f"{step // SECOND} s"
