"""The step from bar to bar in a file, and the granularity that it stands for."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from types import MappingProxyType

from app.market.bars.candle import Granularity
from app.providers.bar_files.fields import UnusableRow
from app.providers.bar_files.layouts import BarLayout

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

_APART = MappingProxyType(
    {
        Granularity.M1: (timedelta(minutes=1), timedelta(minutes=1)),
        Granularity.M5: (timedelta(minutes=5), timedelta(minutes=5)),
        Granularity.M15: (timedelta(minutes=15), timedelta(minutes=15)),
        Granularity.H1: (HOUR, HOUR),
        Granularity.H4: (4 * HOUR, 4 * HOUR),
        Granularity.D: (DAY - HOUR, DAY + HOUR),
        Granularity.W: (7 * DAY - HOUR, 7 * DAY + HOUR),
        Granularity.M: (28 * DAY - HOUR, 31 * DAY + HOUR),
    }
)
"""The least and the most from start to start, since clocks change and months differ."""


def most_frequent_step(layout: BarLayout, head: Sequence[str]) -> timedelta | None:
    """Return the most frequent step from bar to bar, the shorter one in a tie; None if there is none."""
    rows = []
    for line in head:
        try:
            rows.append(layout.parse(line))
        except UnusableRow:
            continue
    steps = Counter(after.time - row.time for row, after in pairwise(rows) if after.time > row.time and after.pair == row.pair)
    return max(steps, key=lambda step: (steps[step], -step), default=None)


def granularity_of(step: timedelta) -> Granularity | None:
    """Return the granularity with this step, whether or not clocks change; None if there is none."""
    for granularity, (least, most) in _APART.items():
        if least <= step <= most:
            return granularity
    return None


def in_words(step: timedelta) -> str:
    """Format a step as ``1800 s``."""
    return f"{step.total_seconds():.0f} s"
