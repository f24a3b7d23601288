"""Thresholds being crossed: when that is news, and when it is only the same news again.

A value that reaches a threshold is news once. Hovering about the threshold is none: the value has to fall below the threshold by
the hysteresis, a fraction of it, before reaching it anew can be news. Even then nothing is told within the cooldown after
the last news unless it is graver than that; what is held back so is told when the cooldown is over, if the value is at the
threshold still. Two pieces of news of the same severity therefore lie a cooldown apart at least.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import orjson

from app.alerts.alert import Severity
from app.market.clock import parse_time, rfc3339


@dataclass(frozen=True, slots=True)
class Told:
    """The last piece of news: how grave it was, and when, aware UTC."""

    severity: Severity
    time: datetime


@dataclass(frozen=True, slots=True)
class CrossingState:
    """What is known from one value to the next.

    ``standing`` is the gravest severity that was told of and has not been left again; None below them all.
    """

    standing: Severity | None = None
    told: Told | None = None

    def to_json(self) -> bytes:
        """One small JSON object."""
        return orjson.dumps(self.to_fields())

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """The state in the bytes; a new one where they hold none."""
        try:
            return cls.from_fields(orjson.loads(data))
        except ValueError:
            return cls()

    def to_fields(self) -> dict[str, Any]:
        """What JSON holds of it."""
        told = {"severity": self.told.severity, "time": rfc3339(self.told.time)} if self.told else None
        return {"standing": self.standing, "told": told}

    @classmethod
    def from_fields(cls, fields: Any) -> Self:
        """The inverse of ``to_fields``; a new state for anything that is not from there."""
        try:
            standing, told = fields["standing"], fields["told"]
            return cls(
                None if standing is None else Severity(standing),
                None if told is None else Told(Severity(told["severity"]), parse_time(told["time"])),
            )
        except (KeyError, TypeError, ValueError):
            return cls()


@dataclass(frozen=True, slots=True)
class Crossing:
    """How far a value must fall back, as a fraction of the threshold, and how many seconds lie between two pieces of news.

    Raises ValueError for a hysteresis that is not from 0 to below 1 and for a cooldown that is negative.
    """

    hysteresis: float
    cooldown: float

    def __post_init__(self) -> None:
        if not 0 <= self.hysteresis < 1:
            raise ValueError(f"a hysteresis is a fraction from 0 to below 1, not {self.hysteresis}")
        if not self.cooldown >= 0:
            raise ValueError(f"a cooldown is not negative, as {self.cooldown} is")

    def judge(
        self, value: float, thresholds: Mapping[Severity, float], state: CrossingState, now: datetime
    ) -> tuple[Severity | None, CrossingState]:
        """The severity that this value is news of, if it is, and the state with which the next is to be judged.

        ``thresholds`` are positive and rise with the severity; ``now`` is aware UTC.
        """
        reached = reached_by(value, thresholds)
        kept = {
            severity: threshold * (1 - self.hysteresis)
            for severity, threshold in thresholds.items()
            if severity.rank <= _rank(state.standing)
        }
        standing = reached_by(value, kept)
        if reached is None or reached.rank <= _rank(standing) or self._is_held_back(reached, state.told, now):
            return None, CrossingState(standing, state.told)
        return reached, CrossingState(reached, Told(reached, now))

    def _is_held_back(self, severity: Severity, told: Told | None, now: datetime) -> bool:
        if told is None or severity.rank > told.severity.rank:
            return False
        # What was told in the future was told by a clock that was wrong: it must not silence the rule until then.
        return timedelta(0) <= now - told.time < timedelta(seconds=self.cooldown)


def reached_by(value: float, thresholds: Mapping[Severity, float]) -> Severity | None:
    """The gravest severity whose threshold the value is at or above."""
    reached = [severity for severity, threshold in thresholds.items() if value >= threshold]
    return max(reached, key=lambda severity: severity.rank, default=None)


def _rank(severity: Severity | None) -> int:
    return 0 if severity is None else severity.rank
