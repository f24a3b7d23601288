"""Crossing a threshold: when to raise an alert, with hysteresis and cooldown.

A value that reaches a threshold raises one alert. It raises another only after falling below the threshold by the hysteresis,
a fraction of the threshold, so that hovering around it raises none. Within the cooldown after an alert, only a more severe
one is raised; one that was suppressed is raised at the end of the cooldown if the value is still at the threshold. Two alerts
of the same severity are therefore at least a cooldown apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import orjson

from app.market.alert import Severity
from app.market.clock import parse_time, rfc3339


@dataclass(frozen=True, slots=True)
class Raised:
    """The last alert raised: its severity and its time, aware UTC."""

    severity: Severity
    time: datetime


@dataclass(frozen=True, slots=True)
class CrossingState:
    """The state between two values.

    ``standing`` is the severity that the value is at: the highest one reached and not left again by the hysteresis, None below
    all thresholds. ``raised`` is the last alert.
    """

    standing: Severity | None = None
    raised: Raised | None = None

    def to_json(self) -> bytes:
        """Encode the state as a JSON object."""
        return orjson.dumps(self.to_fields())

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Decode a state; a new one for anything else."""
        try:
            return cls.from_fields(orjson.loads(data))
        except ValueError:
            return cls()

    def to_fields(self) -> dict[str, Any]:
        """Return the state as values of JSON. In the database the last alert is called ``told``."""
        raised = {"severity": self.raised.severity, "time": rfc3339(self.raised.time)} if self.raised else None
        return {"standing": self.standing, "told": raised}

    @classmethod
    def from_fields(cls, fields: Any) -> Self:
        """Reverse ``to_fields``; return a new state for anything else."""
        try:
            standing, raised = fields["standing"], fields["told"]
            return cls(
                None if standing is None else Severity(standing),
                None if raised is None else Raised(Severity(raised["severity"]), parse_time(raised["time"])),
            )
        except (KeyError, TypeError, ValueError):
            return cls()


@dataclass(frozen=True, slots=True)
class Crossing:
    """Raises alerts of values that reach thresholds.

    ``hysteresis`` is the fraction of a threshold by which a value must fall below it before it can reach it again, at least 0
    and below 1; ``cooldown`` is in seconds. Raises ValueError for values outside these bounds.
    """

    hysteresis: float
    cooldown: float

    def __post_init__(self) -> None:
        if not 0 <= self.hysteresis < 1:
            raise ValueError(f"a hysteresis is a fraction of at least 0 and below 1, not {self.hysteresis}")
        if not self.cooldown >= 0:
            raise ValueError(f"a cooldown must not be negative: {self.cooldown}")

    def judge(
        self, value: float, thresholds: Mapping[Severity, float], state: CrossingState, now: datetime
    ) -> tuple[Severity | None, CrossingState]:
        """Return the severity of the alert that this value raises, None for no alert, and the state for the next value.

        ``thresholds`` are positive and rise with the severity; ``now`` is aware UTC.
        """
        reached = reached_by(value, thresholds)
        kept = {
            severity: threshold * (1 - self.hysteresis)
            for severity, threshold in thresholds.items()
            if severity.rank <= _rank(state.standing)
        }
        standing = reached_by(value, kept)
        if reached is None or reached.rank <= _rank(standing) or self._is_cooling_down(reached, state.raised, now):
            return None, CrossingState(standing, state.raised)
        return reached, CrossingState(reached, Raised(reached, now))

    def _is_cooling_down(self, severity: Severity, raised: Raised | None, now: datetime) -> bool:
        if raised is None or severity.rank > raised.severity.rank:
            return False
        # An alert from the future was raised by a wrong clock. It must not suppress others until that time comes.
        return timedelta(0) <= now - raised.time < timedelta(seconds=self.cooldown)


def reached_by(value: float, thresholds: Mapping[Severity, float]) -> Severity | None:
    """Return the highest severity whose threshold the value is at or above."""
    reached = [severity for severity, threshold in thresholds.items() if value >= threshold]
    return max(reached, key=lambda severity: severity.rank, default=None)


def _rank(severity: Severity | None) -> int:
    return 0 if severity is None else severity.rank
