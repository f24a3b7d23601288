"""Alerts of pairs with unusual volatility."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from app.alerts.crossing import Crossing, CrossingState
from app.alerts.thresholds import EVERY, NONE, PLAIN, Thresholds, parse_thresholds, thresholds_of
from app.errors import InvalidPair
from app.market.alert import Alert, Severity
from app.market.pair import CurrencyPair

MEDIAN = "median"
"""The word before a name whose thresholds are multiples of the pair's own median volatility."""

MINIMUM_HISTORY = 30
"""The number of volatilities that a median needs. With fewer, multiples of it are ignored."""

DEFAULT_VOLATILITY_THRESHOLDS = "*=0.12/0.18/0.30"
"""For ``volatility_50`` of hourly bars. OANDA's hours of EUR_USD raise 2 alerts in 2018, a calm year, and 22 in 2016."""

VOLATILITY_HYSTERESIS = 0.1
VOLATILITY_COOLDOWN = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class VolatilityRule:
    """When the volatility of a pair, or of every pair for the name ``*``, raises an alert.

    ``levels`` are annual volatilities as decimals, 0.1 for 10 %; ``multiples`` are multiples of the pair's own median. Where a
    severity has both, the lower one counts. ``hysteresis`` is a fraction of the threshold and ``cooldown`` is in seconds, see
    ``app.alerts.crossing``. Raises ValueError for an invalid hysteresis or cooldown.
    """

    pair: str
    levels: Thresholds
    multiples: Thresholds = NONE
    hysteresis: float = VOLATILITY_HYSTERESIS
    cooldown: float = VOLATILITY_COOLDOWN

    def __post_init__(self) -> None:
        Crossing(self.hysteresis, self.cooldown)

    def judge(
        self, pair: CurrencyPair, volatility: float | None, history: Sequence[float], state: CrossingState, now: datetime
    ) -> tuple[Alert | None, CrossingState]:
        """Return the alert that this volatility raises, None for no alert, and the state for the pair's next one.

        ``history`` holds earlier volatilities of the pair, of the same measure and in any order. None, a volatility that is
        not known, changes nothing. The first volatility of a pair may raise an alert. ``now`` is aware UTC.
        """
        if volatility is None:
            return None, state
        thresholds = self._thresholds(history)
        severity, after = Crossing(self.hysteresis, self.cooldown).judge(volatility, thresholds, state, now)
        if severity is None:
            return None, after
        threshold = thresholds[severity]
        message = f"Volatility of {pair} ({volatility:.4f}) reached the {severity} threshold ({threshold:.4f})"
        return Alert("volatility_alert", (pair.name,), volatility, threshold, severity, message, now), after

    def _thresholds(self, history: Sequence[float]) -> dict[Severity, float]:
        """Return the effective thresholds as volatilities, rising with the severity."""
        thresholds = self.levels.by_severity()
        usual = median(history) if len(history) >= MINIMUM_HISTORY else 0.0
        if usual > 0:
            for severity, multiple in self.multiples.by_severity().items():
                thresholds[severity] = min(thresholds.get(severity, multiple * usual), multiple * usual)
        return {severity: thresholds[severity] for severity in Severity if severity in thresholds}


def volatility_rules(
    text: str, hysteresis: float = VOLATILITY_HYSTERESIS, cooldown: float = VOLATILITY_COOLDOWN
) -> dict[str, VolatilityRule]:
    """Parse a setting into rules by pair or ``*``: ``*=0.10/0.15/0.25,USD_JPY=0.12/0.18/0.3,median *=2/3/4``.

    Multiples of a pair's own median follow the word ``median``. An empty text gives no rules. Raises ValueError with the
    reason in one line.
    """
    table = parse_thresholds(text, [MEDIAN], _pair_name)
    names = dict.fromkeys(name for thresholds in table.values() for name in thresholds)
    return {
        name: VolatilityRule(
            name, thresholds_of(table, PLAIN, name), thresholds_of(table, MEDIAN, name), hysteresis=hysteresis, cooldown=cooldown
        )
        for name in names
    }


def volatility_rule_of(rules: Mapping[str, VolatilityRule], pair: CurrencyPair) -> VolatilityRule | None:
    """Return the rule of this pair, else that of every pair, else None."""
    return rules.get(pair.name) or rules.get(EVERY)


def _pair_name(text: str) -> str:
    try:
        return CurrencyPair.parse(text).name
    except InvalidPair as error:
        raise ValueError(str(error)) from None
