"""Alerts of pairs that have become strongly correlated, or whose correlation has changed.

There are two criteria. The level is the absolute value of ρ, so that a nearly perfect hedge counts as much as a doubling of
risk. The change is the distance of ρ from its value in the previous matrix, in either direction, so that a correlation that
breaks down raises an alert too. Each change counts for itself: hysteresis, which is for a value that stays about its threshold,
applies to the level only. The bounds of the categories in ``app.market.measures.correlation`` are no thresholds:
correlations cross them all the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

import orjson

from app.alerts.crossing import Crossing, CrossingState, reached_by
from app.alerts.thresholds import EVERY, NONE, PLAIN, Thresholds, parse_thresholds, thresholds_of
from app.errors import InvalidPair
from app.market.alert import Alert, Severity
from app.market.pair import CurrencyPair

CHANGE = "change"
"""The word before names whose thresholds are changes of ρ."""

DEFAULT_CORRELATION_THRESHOLDS = "*=/0.8/0.9,change *=/0.3/0.5"
"""For a correlation of 100 hourly bars, computed once a day.

OANDA's hours of EUR_USD and NZD_USD raise 2 alerts in 2018, a calm year, and 7 in 2016.
"""

CORRELATION_HYSTERESIS = 0.1
CORRELATION_COOLDOWN = 20 * 3600.0
"""Less than the 23 hours from one matrix to the next when summer time begins, so that every day can raise an alert."""

_BETWEEN = ":"


@dataclass(frozen=True, slots=True)
class CorrelationState:
    """The state of two pairs between two matrices: their last known ρ, and the states of level and change."""

    last: float | None = None
    level: CrossingState = field(default_factory=CrossingState)
    change: CrossingState = field(default_factory=CrossingState)

    def to_json(self) -> bytes:
        """Encode the state as a JSON object."""
        return orjson.dumps({"last": self.last, "level": self.level.to_fields(), "change": self.change.to_fields()})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Decode a state; a new one for anything else."""
        try:
            fields = orjson.loads(data)
            last = fields["last"]
            if isinstance(last, float) and -1 <= last <= 1:
                return cls(last, CrossingState.from_fields(fields["level"]), CrossingState.from_fields(fields["change"]))
        except (KeyError, TypeError, ValueError):
            pass
        return cls()


@dataclass(frozen=True, slots=True)
class CorrelationRule:
    """When the correlation of two pairs, or of any two for the name ``*``, raises an alert.

    ``levels`` are thresholds of the absolute ρ, up to 1, ``changes`` of its absolute change, up to 2. ``hysteresis`` is a
    fraction of the threshold of a level and ``cooldown`` is in seconds, see ``app.alerts.crossing``; levels and changes are
    judged separately. Raises ValueError for thresholds that cannot be reached, and for an invalid hysteresis or cooldown.
    """

    pairs: str
    levels: Thresholds
    changes: Thresholds = NONE
    hysteresis: float = CORRELATION_HYSTERESIS
    cooldown: float = CORRELATION_COOLDOWN

    def __post_init__(self) -> None:
        Crossing(self.hysteresis, self.cooldown)
        if self.levels.highest > 1 or self.changes.highest > 2:
            raise ValueError(f"{self.pairs}: a correlation is at most 1 and changes by 2 at most")

    def judge(
        self, first: CurrencyPair, second: CurrencyPair, correlation: float | None, state: CorrelationState, now: datetime
    ) -> tuple[Alert | None, CorrelationState]:
        """Return the alert that this correlation raises, None for no alert, and the state for the next one.

        The first correlation of two pairs raises none, however high it is. None, a correlation that is not known, changes
        nothing. Where both the level and the change call for an alert, the more severe one is raised. The value of the alert
        is ρ. ``now`` is aware UTC.
        """
        if correlation is None:
            return None, state
        levels, changes = self.levels.by_severity(), self.changes.by_severity()
        if state.last is None:
            return None, CorrelationState(correlation, CrossingState(standing=reached_by(abs(correlation), levels)))
        crossing = Crossing(self.hysteresis, self.cooldown)
        by_level, level = crossing.judge(abs(correlation), levels, state.level, now)
        by_change, change = crossing.judge(abs(correlation - state.last), changes, CrossingState(raised=state.change.raised), now)

        names, alert = (first.name, second.name), None
        if by_level is not None and (by_change is None or by_level.rank >= by_change.rank):
            message = f"Correlation between {first} and {second} reached {correlation:.2f} ({_bound(levels[by_level], by_level)})"
            alert = Alert("correlation_alert", names, correlation, levels[by_level], by_level, message, now)
        elif by_change is not None:
            moved = f"changed from {state.last:.2f} to {correlation:.2f} ({_bound(changes[by_change], by_change)} of change)"
            message = f"Correlation between {first} and {second} {moved}"
            alert = Alert("correlation_alert", names, correlation, changes[by_change], by_change, message, now)
        return alert, CorrelationState(correlation, level, change)


def correlation_rules(
    text: str, hysteresis: float = CORRELATION_HYSTERESIS, cooldown: float = CORRELATION_COOLDOWN
) -> dict[str, CorrelationRule]:
    """Parse a setting into rules by ``*`` or both names: ``*=/0.8/0.9,EUR_USD:USD_CHF=//0.97,change *=0.2/0.3/0.5``.

    Thresholds of the change follow the word ``change``. The order of the two names does not matter. An empty text gives no
    rules. Raises ValueError with the reason in one line.
    """
    table = parse_thresholds(text, [CHANGE], _names_of_two)
    names = dict.fromkeys(name for thresholds in table.values() for name in thresholds)
    return {
        name: CorrelationRule(
            name, thresholds_of(table, PLAIN, name), thresholds_of(table, CHANGE, name), hysteresis=hysteresis, cooldown=cooldown
        )
        for name in names
    }


def correlation_rule_of(
    rules: Mapping[str, CorrelationRule], first: CurrencyPair, second: CurrencyPair
) -> CorrelationRule | None:
    """Return the rule of these two pairs in either order, else that of any two, else None."""
    return rules.get(key_of_two(first, second)) or rules.get(EVERY)


def key_of_two(first: CurrencyPair, second: CurrencyPair) -> str:
    """Return a key of two pairs that does not depend on their order: ``EUR_USD:GBP_USD``."""
    return _BETWEEN.join(sorted((first.name, second.name)))


def _names_of_two(text: str) -> str:
    try:
        first, second = map(CurrencyPair.parse, text.split(_BETWEEN))
    except InvalidPair as error:
        raise ValueError(str(error)) from None
    except ValueError:
        raise ValueError("two pairs are needed, as EUR_USD:GBP_USD") from None
    if first == second:
        raise ValueError("two different pairs are needed")
    return key_of_two(first, second)


def _bound(threshold: float, severity: Severity) -> str:
    return f"{severity} threshold {threshold:g}"
