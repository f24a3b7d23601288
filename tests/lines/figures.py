"""What came of a cell of the table: one transport on one line."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

from tests.lines.feed import Feed
from tests.lines.record import Key, Record
from tests.lines.shape import Shape

OLDEST = 2.0
"""Seconds: no price is older on arrival, without the line's own delay and stalls."""
FREED_WITHIN = 45.0
"""Seconds after which a client that has vanished has no place any more."""


@dataclass(frozen=True)
class Figures:
    """The figures of a cell. Times are in seconds."""

    line: Shape
    transport: str
    published: int
    received: int
    cuts: Mapping[str, int]
    """How often a connection ended, by the reason that the client saw."""
    oldest: float | None
    median: float | None
    oldest_by_second: Sequence[float]
    """The greatest age of the prices of each second; 0 where none arrived."""
    alerts: int
    alerts_lost: int
    repeats: int
    untold: int
    """Prices that the client did not get and was told nothing of."""
    conflated: int
    """Prices that it was told were merged."""
    bytes: int
    freed: float | None = None
    """After how long the place of a vanished client was free; None if it still had it at the end, or did not vanish."""

    @property
    def cut_offs(self) -> int:
        """How often a connection ended."""
        return sum(self.cuts.values())

    @property
    def faults(self) -> list[str]:
        """What is not as it should be, in words."""
        if self.line.vanishes:
            if self.freed is None:
                return ["its place was never free"]
            return [f"its place was free after {self.freed:.0f} s"] if self.freed > FREED_WITHIN else []
        faults = [f"cut off {times} × ({reason})" for reason, times in self.cuts.items()]
        if self.oldest is None:
            faults.append("no price came")
        elif self.oldest > OLDEST:
            faults.append(f"a price was {self.oldest:.1f} s old")
        if self.alerts_lost:
            faults.append(f"{self.alerts_lost} of {self.alerts} alerts lost")
        if self.repeats:
            faults.append(f"{self.repeats} events twice or out of order")
        if self.untold:
            faults.append(f"{self.untold} prices missing of which it was told nothing")
        return faults

    def as_json(self) -> dict[str, Any]:
        """Return the figures and the faults."""
        return {**asdict(self), "line": self.line.name, "faults": self.faults}


def figures(line: Shape, line_began: float, transport: str, record: Record, feed: Feed, freed: float | None = None) -> Figures:
    """Return the figures of a record, of what was published once its first connection was open.

    ``line_began`` is when the line came up, in seconds since 1970. The age of a price is without the line's own delay and stalls.
    Where the flow pauses, that of the last price of a pair does not count: there was nothing newer to send.
    """
    began = inf if record.began is None else record.began
    published = {key for key in feed.prices if key.time >= began}
    missing: set[Key] = published - record.prices - feed.missed(record.unrecovered)
    replaced = feed.replaced()
    ages: list[float] = []
    by_second: defaultdict[int, float] = defaultdict(float)
    for key, arrived in record.arrivals:
        newer = replaced.get(key, inf)
        if key.time < began or (newer > key.time + OLDEST * 1000 and newer > arrived * 1000):
            continue
        sent = key.time / 1000
        age = arrived - sent - line.delay - line.held_up(sent - line_began, arrived - line_began)
        ages.append(age)
        second = int(key.time - began) // 1000
        by_second[second] = max(by_second[second], age)
    alerts = [number for number, published_at in feed.alerts.items() if published_at >= began]
    return Figures(
        line=line,
        transport=transport,
        published=len(published),
        received=len(published & record.prices),
        cuts=dict(Counter(record.cuts)),
        oldest=max(ages, default=None),
        median=statistics.median(ages) if ages else None,
        oldest_by_second=[round(by_second[second], 2) for second in range(max(by_second, default=-1) + 1)],
        alerts=len(alerts),
        alerts_lost=sum(number not in record.alerts for number in alerts),
        repeats=record.repeats,
        untold=max(0, len(missing) - record.conflated),
        conflated=record.conflated,
        bytes=record.bytes,
        freed=freed,
    )
