import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts.crossing import Crossing, CrossingState, Raised, reached_by
from app.market.alert import Severity

_START = datetime(2026, 3, 2, 9, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_THRESHOLDS = {Severity.INFO: 0.10, Severity.WARNING: 0.15, Severity.CRITICAL: 0.25}
_CROSSING = Crossing(hysteresis=0.1, cooldown=6 * 3600)


def _news(
    values: Iterable[float], crossing: Crossing = _CROSSING, state: CrossingState | None = None
) -> list[tuple[int, Severity]]:
    """In which hours a value of each hour is news, and of what severity."""
    news, state = [], state or CrossingState()
    for hour, value in enumerate(values):
        severity, state = crossing.judge(value, _THRESHOLDS, state, _START + hour * _HOUR)
        if severity is not None:
            news.append((hour, severity))
    return news


@given(st.lists(st.floats(0.1351, 0.2499), min_size=1, max_size=60))
def test_a_value_that_hovers_about_a_threshold_is_told_of_once(values: list[float]) -> None:
    told = _news([0.15, *values], Crossing(hysteresis=0.1, cooldown=0))
    assert told == [(0, Severity.WARNING)]


@given(st.lists(st.floats(0, 0.4), max_size=80), st.floats(0, 0.9), st.integers(0, 12))
def test_news_of_one_severity_lie_a_cooldown_apart(values: list[float], hysteresis: float, cooldown: int) -> None:
    news = _news(values, Crossing(hysteresis, cooldown * 3600))
    for hour, severity in news:
        assert values[hour] >= _THRESHOLDS[severity]
        assert all(other >= hour + cooldown or other <= hour for other, same in news if same is severity)
    # Whatever the last of them was, a graver value is never kept back.
    gravest = reached_by(max(values, default=0), _THRESHOLDS)
    assert max((severity for _, severity in news), key=lambda s: s.rank, default=None) is gravest


@given(st.lists(st.floats(0, 0.4), max_size=60))
def test_the_state_can_be_kept_as_json_between_any_two_values(values: list[float]) -> None:
    straight = kept = CrossingState()
    for hour, value in enumerate(values):
        now = _START + hour * _HOUR
        news, straight = _CROSSING.judge(value, _THRESHOLDS, straight, now)
        same_news, kept = _CROSSING.judge(value, _THRESHOLDS, CrossingState.from_json(kept.to_json()), now)
        assert (same_news, kept) == (news, straight)


@pytest.mark.parametrize(
    ("values", "news"),
    [
        ([0.09, 0.099, 0.0999], []),
        ([0.10], [(0, Severity.INFO)]),
        ([0.30, 0.30], [(0, Severity.CRITICAL)]),
        # Graver at once, and step by step; milder is no news
        ([0.11, 0.16, 0.26, 0.16, 0.11], [(0, Severity.INFO), (1, Severity.WARNING), (2, Severity.CRITICAL)]),
        # In the band below the threshold nothing is armed again, however long it lasts
        ([0.16, *[0.14] * 10, 0.16], [(0, Severity.WARNING)]),
        # Below it is, but the cooldown holds back what comes within it
        ([0.16, 0.13, 0.16, 0.13, 0.13], [(0, Severity.WARNING)]),
        ([0.16, 0.13, 0.16, *[0.16] * 6], [(0, Severity.WARNING), (6, Severity.WARNING)]),
        ([0.16, *[0.08] * 9, 0.16], [(0, Severity.WARNING), (10, Severity.WARNING)]),
        # What was held back is told only if the value is at the threshold itself when the cooldown is over
        ([0.16, 0.13, 0.16, *[0.14] * 6, 0.15], [(0, Severity.WARNING), (9, Severity.WARNING)]),
        # A graver value is told within the cooldown of a milder one; a milder one waits for that of a graver one
        ([0.11, 0.05, 0.30], [(0, Severity.INFO), (2, Severity.CRITICAL)]),
        ([0.30, 0.05, *[0.11] * 5], [(0, Severity.CRITICAL), (6, Severity.INFO)]),
    ],
)  # fmt: skip
def test_what_is_news(values: list[float], news: list[tuple[int, Severity]]) -> None:
    assert _news(values) == news


def test_without_hysteresis_or_cooldown_every_crossing_is_news() -> None:
    assert [hour for hour, _ in _news([0.1, 0.0999] * 5, Crossing(0, 0))] == [0, 2, 4, 6, 8]


def test_a_clock_that_was_ahead_silences_nothing() -> None:
    state = CrossingState(raised=Raised(Severity.CRITICAL, _START + timedelta(days=1000)))
    assert _news([0.16], state=state) == [(0, Severity.WARNING)]


@pytest.mark.parametrize(("hysteresis", "cooldown"), [(-0.1, 0), (1, 0), (float("nan"), 0), (0.1, -1), (0.1, float("nan"))])
def test_a_crossing_that_cannot_work_is_an_error(hysteresis: float, cooldown: float) -> None:
    with pytest.raises(ValueError, match=r"hysteresis|cooldown"):
        Crossing(hysteresis, cooldown)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff", b"null", b"[]", b"7", b'"x"', b"{}", b'{"standing":"info"}', b'{"standing":"loud","told":null}',
        b'{"standing":[],"told":null}', b'{"standing":null,"told":7}', b'{"standing":null,"told":{"severity":"info"}}',
        b'{"standing":null,"told":{"severity":"info","time":"yesterday"}}',
        b'{"standing":null,"told":{"severity":"info","time":"2026-03-02T09:00:00"}}',
        b'{"standing":null,"told":{"severity":"info","time":17}}',
    ],
)  # fmt: skip
def test_a_garbled_state_is_begun_anew(data: bytes) -> None:
    assert CrossingState.from_json(data) == CrossingState()


def _fields(values: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    names = st.sampled_from(["standing", "told", "severity", "time", "other"])
    return st.dictionaries(names, values | st.sampled_from(["info", "critical", "2026-03-02T09:00:00Z"]))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | _fields(inner)))
def test_any_json_makes_a_state(value: object) -> None:
    assert isinstance(CrossingState.from_json(json.dumps(value).encode()), CrossingState)
