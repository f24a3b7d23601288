"""What came of a cell of the table: one transport on one line."""

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tests.lines.feed import Feed
from tests.lines.record import Key, Record
from tests.lines.shape import Shape

OLDEST = 2.0
"""Seconds: no price is older on arrival, but for what the line itself takes."""
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
        elif self.oldest > OLDEST + self.line.own_time:
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


def figures(
    line: Shape, transport: str, record: Record, feed: Feed, alerts: range, began: int, freed: float | None = None
) -> Figures:
    """Return the figures of a record, for the alerts and prices that were published since ``began``, in ms since 1970."""
    published = {key for key in feed.prices if key.time >= began}
    received = {key for key in record.prices if key.time >= began}
    missing: set[Key] = published - received - feed.missed(record.unrecovered)
    ages = [age for time, age in record.ages if time >= began]
    return Figures(
        line=line,
        transport=transport,
        published=len(published),
        received=len(received & published),
        cuts=dict(Counter(record.cuts)),
        oldest=max(ages, default=None),
        median=statistics.median(ages) if ages else None,
        alerts=len(alerts),
        alerts_lost=sum(number not in record.alerts for number in alerts),
        repeats=record.repeats,
        untold=max(0, len(missing) - record.conflated),
        conflated=record.conflated,
        bytes=record.bytes,
        freed=freed,
    )
