import zipfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts.correlation import (
    DEFAULT_CORRELATION_THRESHOLDS,
    CorrelationRule,
    CorrelationState,
    correlation_rule_of,
    correlation_rules,
    key_of_two,
)
from app.alerts.crossing import CrossingState
from app.alerts.thresholds import NONE, Thresholds
from app.market.alert import Alert, Severity
from app.market.measures.correlation import pearson
from app.market.pair import CurrencyPair

_EUR_USD, _GBP_USD, _USD_CHF = CurrencyPair("EUR", "USD"), CurrencyPair("GBP", "USD"), CurrencyPair("USD", "CHF")
_START = datetime(2026, 3, 2, tzinfo=UTC)
_DAY = timedelta(days=1)
_LEVELS, _CHANGES = Thresholds(None, 0.8, 0.9), Thresholds(0.2, 0.3, 0.5)
_RULE = CorrelationRule("*", _LEVELS, _CHANGES)


def _alerts(values: list[float | None], rule: CorrelationRule = _RULE) -> list[tuple[int, str, Severity]]:
    """On which days the correlations of each day are worth an alert, which threshold they reached, and how grave that is."""
    alerts, state = [], CorrelationState()
    for day, value in enumerate(values):
        alert, state = rule.judge(_EUR_USD, _GBP_USD, value, state, _START + day * _DAY)
        if alert is not None:
            alerts.append((day, "change" if "changed" in alert.message else "level", alert.severity))
    return alerts


def test_an_alert_of_a_level_says_what_was_reached() -> None:
    _, state = _RULE.judge(_EUR_USD, _USD_CHF, -0.75, CorrelationState(), _START)
    alert, _ = _RULE.judge(_EUR_USD, _USD_CHF, -0.82, state, _START + _DAY)
    assert alert == Alert(
        type="correlation_alert",
        pairs=("EUR_USD", "USD_CHF"),
        value=-0.82,
        threshold=0.8,
        severity=Severity.WARNING,
        message="Correlation between EUR_USD and USD_CHF reached -0.82 (warning threshold 0.8)",
        time=_START + _DAY,
    )


def test_an_alert_of_a_change_says_from_where_to_where() -> None:
    _, state = _RULE.judge(_EUR_USD, _GBP_USD, 0.62, CorrelationState(), _START)
    alert, _ = _RULE.judge(_EUR_USD, _GBP_USD, 0.21, state, _START + _DAY)
    assert alert is not None
    assert alert.message == (
        "Correlation between EUR_USD and GBP_USD changed from 0.62 to 0.21 (warning threshold 0.3 of change)"
    )
    assert (alert.value, alert.threshold, alert.severity) == (0.21, 0.3, Severity.WARNING)


@pytest.mark.parametrize(
    ("values", "alerts"),
    [
        # The first is where things begin
        ([0.95], []),
        ([0.95, 0.95, 0.96], []),
        ([0.79, 0.80], [(1, "level", Severity.WARNING)]),
        ([0.79, 0.80, 0.79, 0.80, 0.73, 0.82], [(1, "level", Severity.WARNING)]),
        ([0.79, 0.81, 0.71, 0.81], [(1, "level", Severity.WARNING), (3, "level", Severity.WARNING)]),
        ([0.79, 0.85, 0.91], [(1, "level", Severity.WARNING), (2, "level", Severity.CRITICAL)]),
        ([-0.79, -0.81], [(1, "level", Severity.WARNING)]),
        # A change is told of whatever its sign; a correlation that stays where it went is none
        ([0.5, 0.25, 0.25], [(1, "change", Severity.INFO)]),
        ([0.1, -0.25, -0.25], [(1, "change", Severity.WARNING)]),
        ([0.5, 0.31, 0.49], []),
        # Each change counts for itself, whatever the one before was
        ([-0.5, 0.05, 0.65], [(1, "change", Severity.CRITICAL), (2, "change", Severity.CRITICAL)]),
        ([0.1, 0.5, 0.1, 0.35], [(1, "change", Severity.WARNING), (2, "change", Severity.WARNING), (3, "change", Severity.INFO)]),
        # From one end to the other the size stays, but not the sign
        ([0.7, -0.7], [(1, "change", Severity.CRITICAL)]),
        # Both at once are one alert: of the graver, of the level where they are as grave
        ([0.4, 0.95], [(1, "level", Severity.CRITICAL)]),
        ([0.55, 0.82], [(1, "level", Severity.WARNING)]),
        ([0.30, 0.82], [(1, "change", Severity.CRITICAL)]),
        ([0.30, 0.82, 0.82], [(1, "change", Severity.CRITICAL)]),
        # What is not known is passed over: the change is from the last that was known
        ([0.79, None, 0.81, None, 0.81], [(2, "level", Severity.WARNING)]),
        ([0.5, None, 0.25], [(2, "change", Severity.INFO)]),
        ([None, 0.95], []),
    ],
)
def test_what_is_worth_an_alert(values: list[float | None], alerts: list[tuple[int, str, Severity]]) -> None:
    assert _alerts(values) == alerts


@given(st.lists(st.floats(0.721, 0.879), max_size=40))
def test_a_correlation_that_hovers_about_a_level_is_told_of_once(values: list[float]) -> None:
    assert _alerts([0.79, 0.8, *values], CorrelationRule("*", _LEVELS, cooldown=0)) == [(1, "level", Severity.WARNING)]


def test_the_cooldown_holds_for_changes_too() -> None:
    swings: list[float | None] = [0.5, 0.25, 0.25, 0.5, 0.5, 0.25]
    assert [day for day, *_ in _alerts(swings)] == [1, 3, 5]
    assert [day for day, *_ in _alerts(swings, CorrelationRule("*", _LEVELS, _CHANGES, cooldown=4 * 86_400))] == [1, 5]


def test_two_changes_are_told_across_the_day_of_23_hours() -> None:
    """In the night to 8 March 2026, summer time begins in New York."""
    ends = [datetime(2026, 3, 6, 22, tzinfo=UTC), datetime(2026, 3, 7, 22, tzinfo=UTC), datetime(2026, 3, 8, 21, tzinfo=UTC)]
    rule, state, alerts = correlation_rules(DEFAULT_CORRELATION_THRESHOLDS)["*"], CorrelationState(), []
    for end, value in zip(ends, (-0.55, 0.0, 0.6), strict=True):
        alert, state = rule.judge(_EUR_USD, _GBP_USD, value, state, end)
        alerts.append(None if alert is None else alert.severity)
    assert alerts == [None, Severity.CRITICAL, Severity.CRITICAL]


@given(st.lists(st.none() | st.floats(-1, 1), max_size=40))
def test_the_state_can_be_kept_as_json_between_any_two_matrices(values: list[float | None]) -> None:
    straight = kept = CorrelationState()
    for day, value in enumerate(values):
        now = _START + day * _DAY
        alert, straight = _RULE.judge(_EUR_USD, _GBP_USD, value, straight, now)
        same_alert, kept = _RULE.judge(_EUR_USD, _GBP_USD, value, CorrelationState.from_json(kept.to_json()), now)
        assert (same_alert, kept) == (alert, straight)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"null", b"[]", b"{}", b'{"last":null,"level":{},"change":{}}', b'{"last":0.5}', b'{"last":2.5,"level":{}}',
     b'{"last":"0.5","level":{},"change":{}}', b'{"last":2.5,"level":{},"change":{}}'],
)  # fmt: skip
def test_a_garbled_state_is_begun_anew(data: bytes) -> None:
    assert CorrelationState.from_json(data) == CorrelationState()


def test_a_state_with_a_garbled_part_keeps_the_rest() -> None:
    assert CorrelationState.from_json(b'{"last":0.5,"level":7,"change":null}') == CorrelationState(last=0.5)
    level = CrossingState(standing=Severity.WARNING)
    data = CorrelationState(0.5, level).to_json().replace(b'"change":{', b'"change":{"more":1,')
    assert CorrelationState.from_json(data) == CorrelationState(0.5, level)


def test_a_setting_makes_rules() -> None:
    rules = correlation_rules("*=/0.8/0.9,USD_CHF:eurusd=//0.97,change *=0.2/0.3/0.5,change EUR_USD:GBP_USD=//0.6")
    assert rules == {
        "*": CorrelationRule("*", Thresholds(None, 0.8, 0.9), Thresholds(0.2, 0.3, 0.5)),
        "EUR_USD:USD_CHF": CorrelationRule("EUR_USD:USD_CHF", Thresholds(critical=0.97), Thresholds(0.2, 0.3, 0.5)),
        "EUR_USD:GBP_USD": CorrelationRule("EUR_USD:GBP_USD", Thresholds(None, 0.8, 0.9), Thresholds(critical=0.6)),
    }
    assert correlation_rule_of(rules, _EUR_USD, _USD_CHF) is rules["EUR_USD:USD_CHF"]
    assert correlation_rule_of(rules, _USD_CHF, _EUR_USD) is rules["EUR_USD:USD_CHF"]
    assert correlation_rule_of(rules, _GBP_USD, _USD_CHF) is rules["*"]
    assert correlation_rule_of({}, _GBP_USD, _USD_CHF) is None
    assert correlation_rules("") == {}
    assert key_of_two(_USD_CHF, _EUR_USD) == key_of_two(_EUR_USD, _USD_CHF) == "EUR_USD:USD_CHF"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("EUR_USD=/0.8/0.9", "two pairs are needed, as EUR_USD:GBP_USD"),
        ("EUR_USD:GBP_USD:USD_CHF=/0.8/0.9", "two pairs are needed"),
        ("EUR_USD:EURUSD=/0.8/0.9", "two different pairs are needed"),
        ("EUR_USD:pound=/0.8/0.9", "Invalid instrument"),
        ("median *=1/2/3", "only change may stand before a name"),
        ("*=0.8/0.9/1.1", "at most 1"),
        ("change *=1/2/2.1", "by 2 at most"),
        ("EUR_USD:GBP_USD=//0.9,GBP_USD:EUR_USD=//0.9", "an entry already"),
    ],
)
def test_a_wrong_setting_is_an_error_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        correlation_rules(text)
    assert "\n" not in str(caught.value)


def test_a_rule_that_cannot_work_is_an_error() -> None:
    with pytest.raises(ValueError, match="hysteresis"):
        CorrelationRule("*", NONE, hysteresis=-0.1)
    with pytest.raises(ValueError, match="cooldown"):
        correlation_rules("*=//0.9", cooldown=-1)


@pytest.mark.parametrize(("year", "alerts"), [("2016", {"change": 5, "level": 2}), ("2018", {"level": 2})])
def test_a_recorded_year_gives_a_handful_of_alerts_by_default(fx_data: Path, year: str, alerts: dict[str, int]) -> None:
    series = []
    for name in ("eurusd", "nzdusd"):
        with zipfile.ZipFile(fx_data / "oanda" / "hour" / f"{name}.zip") as archive:
            rows = [line.split(",") for line in archive.read(archive.namelist()[0]).decode().splitlines() if line[:4] == year]
        times = [datetime.strptime(row[0], "%Y%m%d %H:%M").replace(tzinfo=UTC) for row in rows]
        series.append({time: (float(row[4]) + float(row[9])) / 2 for time, row in zip(times, rows, strict=True)})
    first, second = CurrencyPair("EUR", "USD"), CurrencyPair("NZD", "USD")
    rule = correlation_rule_of(correlation_rules(DEFAULT_CORRELATION_THRESHOLDS), first, second)
    assert rule is not None
    common = sorted(series[0].keys() & series[1].keys())
    state, found, days = CorrelationState(), Counter[str](), 0
    for number, time in enumerate(common):
        if time.hour == 0 and number >= 100:
            window = common[number - 100 : number]
            x, y = ({moment: closes[moment] for moment in window} for closes in series)
            correlation = pearson(x, y).value
            alert, state = rule.judge(first, second, correlation, state, time)
            days += 1
            if alert is not None:
                found["change" if "changed" in alert.message else "level"] += 1
    assert days > 240
    assert found == alerts
