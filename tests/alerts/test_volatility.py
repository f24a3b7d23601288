import zipfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts.crossing import CrossingState
from app.alerts.thresholds import NONE, Thresholds
from app.alerts.volatility import (
    DEFAULT_VOLATILITY_THRESHOLDS,
    MINIMUM_HISTORY,
    VolatilityRule,
    volatility_rule_of,
    volatility_rules,
)
from app.market.alert import Alert, Severity
from app.market.bars.candle import Granularity
from app.market.measures.volatility import BARS_PER_YEAR, close_to_close
from app.market.pair import CurrencyPair

_EUR_USD, _USD_JPY, _USD_HKD = CurrencyPair("EUR", "USD"), CurrencyPair("USD", "JPY"), CurrencyPair("USD", "HKD")
_NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
_RULE = VolatilityRule("*", Thresholds(0.10, 0.15, 0.25))


def test_an_alert_says_what_was_reached() -> None:
    alert, state = _RULE.judge(_USD_JPY, 0.1612, [], CrossingState(), _NOW)
    assert alert == Alert(
        type="volatility_alert",
        pairs=("USD_JPY",),
        value=0.1612,
        threshold=0.15,
        severity=Severity.WARNING,
        message="Volatility of USD_JPY (0.1612) reached the warning threshold (0.1500)",
        time=_NOW,
    )
    assert _RULE.judge(_USD_JPY, 0.1612, [], state, _NOW + timedelta(hours=1)) == (None, state)


def test_a_volatility_that_is_not_known_changes_nothing() -> None:
    _, state = _RULE.judge(_USD_JPY, 0.16, [], CrossingState(), _NOW)
    assert _RULE.judge(_USD_JPY, None, [0.01] * 100, state, _NOW) == (None, state)


def test_a_volatility_is_told_of_again_after_it_fell_and_the_cooldown_ended() -> None:
    rule, state, alerts = VolatilityRule("*", Thresholds(0.10, 0.15, 0.25), hysteresis=0.2, cooldown=7200), CrossingState(), []
    for minute, volatility in ((0, 0.16), (30, 0.125), (60, 0.16), (90, 0.115), (150, 0.16), (180, 0.16)):
        alert, state = rule.judge(_EUR_USD, volatility, [], state, _NOW + timedelta(minutes=minute))
        alerts += [minute] if alert else []
    # At 30 it is within the hysteresis, at 90 below it, and at 150 the cooldown of two hours is over.
    assert alerts == [0, 150]


def test_multiples_count_the_own_median_once_there_is_history() -> None:
    rule = VolatilityRule("USD_HKD", NONE, Thresholds(1.5, 2, 3))
    history = [0.004, 0.005, 0.006] * 10
    assert len(history) == MINIMUM_HISTORY
    alert, _ = rule.judge(_USD_HKD, 0.0101, history, CrossingState(), _NOW)
    assert alert is not None
    assert alert.severity is Severity.WARNING
    assert alert.threshold == pytest.approx(0.010)
    assert rule.judge(_USD_HKD, 0.0101, history[1:], CrossingState(), _NOW)[0] is None
    assert rule.judge(_USD_HKD, 0.0074, history, CrossingState(), _NOW)[0] is None


def test_a_pair_that_stood_still_has_no_multiples() -> None:
    rule = VolatilityRule("*", NONE, Thresholds(1.5, 2, 3))
    assert rule.judge(_USD_HKD, 0.0, [0.0] * 40, CrossingState(), _NOW)[0] is None


def test_of_a_level_and_a_multiple_the_one_reached_first_counts() -> None:
    rule = VolatilityRule("*", Thresholds(0.10, 0.15, 0.25), Thresholds(1.5, 2))
    quiet, wild = [0.05] * 30, [0.2] * 30
    for history, volatility, severity, threshold in (
        (quiet, 0.08, Severity.INFO, 0.075),
        (quiet, 0.11, Severity.WARNING, 0.10),
        (quiet, 0.26, Severity.CRITICAL, 0.25),
        (wild, 0.11, Severity.INFO, 0.10),
        (wild, 0.16, Severity.WARNING, 0.15),
    ):
        alert, _ = rule.judge(_EUR_USD, volatility, history, CrossingState(), _NOW)
        assert alert is not None
        assert alert.severity is severity
        assert alert.threshold == pytest.approx(threshold)


@given(st.lists(st.floats(0.001, 0.5), max_size=60), st.floats(0.001, 0.6))
def test_a_threshold_is_always_one_that_was_reached(history: list[float], volatility: float) -> None:
    rule = VolatilityRule("*", Thresholds(None, 0.15, 0.25), Thresholds(1.5, 2, 3))
    alert, _ = rule.judge(_EUR_USD, volatility, history, CrossingState(), _NOW)
    assert (alert is None) or alert.threshold <= alert.value == volatility


def test_a_setting_makes_rules() -> None:
    rules = volatility_rules("*=0.10/0.15/0.25,usd/jpy=0.12/0.18/0.3,median *=2/3/4,median USD_HKD=//5", cooldown=60)
    assert rules == {
        "*": VolatilityRule("*", Thresholds(0.10, 0.15, 0.25), Thresholds(2, 3, 4), cooldown=60),
        "USD_JPY": VolatilityRule("USD_JPY", Thresholds(0.12, 0.18, 0.3), Thresholds(2, 3, 4), cooldown=60),
        "USD_HKD": VolatilityRule("USD_HKD", Thresholds(0.10, 0.15, 0.25), Thresholds(critical=5), cooldown=60),
    }
    assert volatility_rule_of(rules, _USD_JPY) is rules["USD_JPY"]
    assert volatility_rule_of(rules, _EUR_USD) is rules["*"]
    assert volatility_rule_of(volatility_rules("USD_JPY=0.1//"), _EUR_USD) is None
    assert volatility_rules("") == {}


@pytest.mark.parametrize("text", ["EURO=0.1/0.2/0.3", "EUR_USD:GBP_USD=0.1/0.2/0.3", "change *=0.1/0.2/0.3", "*=10%/20%/30%"])
def test_a_wrong_setting_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=text.split("=", 1)[0].replace("*", r"\*")):
        volatility_rules(text)


def test_a_rule_that_cannot_work_is_an_error() -> None:
    with pytest.raises(ValueError, match="hysteresis"):
        volatility_rules("*=0.1/0.2/0.3", hysteresis=1.5)
    with pytest.raises(ValueError, match="cooldown"):
        VolatilityRule("*", NONE, cooldown=-1)


@pytest.mark.parametrize(
    ("pair", "year", "alerts"),
    [
        ("eurusd", "2014", {"info": 4}),
        ("eurusd", "2016", {"info": 16, "warning": 5, "critical": 1}),  # with the vote of June and the election of November
        ("eurusd", "2018", {"info": 2}),
        ("nzdusd", "2018", {"info": 10, "warning": 2}),
    ],
)
def test_a_recorded_year_gives_a_handful_of_alerts_by_default(
    fx_data: Path, pair: str, year: str, alerts: dict[str, int]
) -> None:
    with zipfile.ZipFile(fx_data / "oanda" / "hour" / f"{pair}.zip") as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    rows = [line.split(",") for line in lines if line[:4] == year]
    close = np.array([(float(row[4]) + float(row[9])) / 2 for row in rows])
    currencies = CurrencyPair.parse(pair)
    rule = volatility_rule_of(volatility_rules(DEFAULT_VOLATILITY_THRESHOLDS), currencies)
    assert rule is not None
    state, found = CrossingState(), Counter[str]()
    for end in range(51, len(rows)):
        now = datetime.strptime(rows[end - 1][0], "%Y%m%d %H:%M").replace(tzinfo=UTC)
        volatility = close_to_close(close[end - 51 : end], BARS_PER_YEAR[Granularity.H1])
        alert, state = rule.judge(currencies, volatility, [], state, now)
        if alert is not None:
            found[alert.severity] += 1
    assert len(rows) > 6100
    assert found == alerts
