import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.alerts.price_level import PriceWatch, price_alert
from app.market.alert import PriceAlert, Severity
from app.market.pair import CurrencyPair
from app.market.price_level import Direction, PriceLevel

_EUR_USD, _USD_JPY = CurrencyPair("EUR", "USD"), CurrencyPair("USD", "JPY")
_START = datetime(2026, 3, 2, 9, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


def _level(
    level: str,
    direction: Direction = Direction.ABOVE,
    id: str = "a",
    pair: CurrencyPair = _EUR_USD,
    repeat: bool = False,
    cooldown_seconds: int = 0,
) -> PriceLevel:
    return PriceLevel(id, pair, direction, Decimal(level), "warning", None, repeat, cooldown_seconds, _START)


def _hits(watch: PriceWatch, mids: Iterable[str], pair: str = "EUR_USD", start: datetime = _START) -> list[tuple[int, str]]:
    """In which second which level is reached, by a price each second."""
    return [
        (second, level.id) for second, mid in enumerate(mids) for level in watch.see(pair, Decimal(mid), start + second * _SECOND)
    ]


def test_a_level_is_reached_by_the_mid_at_it_or_beyond_it() -> None:
    assert _hits(PriceWatch([_level("1.1")]), ["1.09", "1.09999", "1.1"]) == [(2, "a")]
    assert _hits(PriceWatch([_level("1.1")]), ["1.09", "1.2"]) == [(1, "a")]
    below = _level("1.1", Direction.BELOW)
    assert _hits(PriceWatch([below]), ["1.2", "1.10001", "1.10000"]) == [(2, "a")]
    assert _hits(PriceWatch([below]), ["1.2", "1.0"]) == [(1, "a")]


@pytest.mark.parametrize(("direction", "mid"), [(Direction.ABOVE, "1.2"), (Direction.BELOW, "1.0")])
def test_a_level_that_the_price_is_beyond_already_is_reached_by_the_first_price(direction: Direction, mid: str) -> None:
    assert _hits(PriceWatch([_level("1.1", direction)]), [mid, mid]) == [(0, "a")]


def test_what_is_given_back_is_the_level_afterwards() -> None:
    level = replace(_level("1.1"), triggered=3, last_triggered=_START - _SECOND)
    assert PriceWatch([level]).see("EUR_USD", Decimal("1.2"), _START) == [
        replace(level, armed=False, triggered=4, last_triggered=_START)
    ]


def test_a_level_that_does_not_repeat_is_reached_once() -> None:
    assert _hits(PriceWatch([_level("1.1")]), ["1.2", "1.0", "1.2", "1.0", "1.2"]) == [(0, "a")]
    assert _hits(PriceWatch([replace(_level("1.1"), armed=False)]), ["1.2", "1.0", "1.2"]) == []


def test_a_level_that_repeats_is_armed_again_once_the_price_is_back_by_a_pip() -> None:
    above = ["1.1", "1.09999", "1.1", "1.09991", "1.1", "1.09990", "1.1"]
    assert _hits(PriceWatch([_level("1.1", repeat=True)]), above) == [(0, "a"), (6, "a")]
    below = ["1.1", "1.10009", "1.1", "1.1001", "1.1"]
    assert _hits(PriceWatch([_level("1.1", Direction.BELOW, repeat=True)]), below) == [(0, "a"), (4, "a")]
    yen = ["150", "149.991", "150", "149.99", "150"]
    assert _hits(PriceWatch([_level("150", pair=_USD_JPY, repeat=True)]), yen, "USD_JPY") == [(0, "a"), (4, "a")]


def test_a_level_is_not_armed_again_before_its_cooldown_is_over() -> None:
    watch = PriceWatch([_level("1.1", repeat=True, cooldown_seconds=5)])
    # Back at 1 and beyond it again at 2 are within the cooldown; back at 5 is not.
    assert _hits(watch, ["1.2", "1.0", "1.2", "1.2", "1.2", "1.0", "1.2"]) == [(0, "a"), (6, "a")]
    # The price is back all the time, and the cooldown ends.
    watch = PriceWatch([_level("1.1", repeat=True, cooldown_seconds=5)])
    assert _hits(watch, ["1.2", "1.0", "1.0", "1.0", "1.0", "1.0", "1.2"]) == [(0, "a"), (6, "a")]


def test_a_level_kept_from_before_a_restart_goes_on_where_it_was() -> None:
    kept = replace(_level("1.1", repeat=True, cooldown_seconds=60), armed=False, triggered=1, last_triggered=_START)
    assert _hits(PriceWatch([kept]), ["1.0", "1.2"], start=_START + 59 * _SECOND) == []
    assert _hits(PriceWatch([kept]), ["1.0", "1.2"], start=_START + 60 * _SECOND) == [(1, "a")]
    assert _hits(PriceWatch([replace(kept, last_triggered=None)]), ["1.2", "1.0", "1.2"]) == [(2, "a")]


def test_the_nearest_of_many_levels_comes_first() -> None:
    watch = PriceWatch(
        [_level(f"1.{n}", id=f"above {n}") for n in (3, 1, 2, 5)]
        + [_level(f"1.{n}", Direction.BELOW, id=f"below {n}") for n in (3, 1, 2, 5)]
    )
    assert [id for _, id in _hits(watch, ["1.25"])] == ["above 1", "above 2", "below 5", "below 3"]
    assert [id for _, id in _hits(watch, ["1.6", "0.9"])] == ["above 3", "above 5", "below 2", "below 1"]


def test_a_price_concerns_the_levels_of_its_own_pair() -> None:
    watch = PriceWatch([_level("1.1"), _level("1.1", id="b", pair=_USD_JPY)])
    assert _hits(watch, ["1.2"], "USD_JPY") == [(0, "b")]
    assert _hits(watch, ["1.2"], "AUD_USD") == []
    assert _hits(watch, ["1.2"]) == [(0, "a")]


def test_levels_can_be_replaced_while_prices_come() -> None:
    watch = PriceWatch([_level("1.1"), _level("1.2", id="b")])
    assert len(watch) == 2
    watch.replace([_level("1.2", id="b"), _level("1.3", id="c")])
    assert len(watch) == 2
    assert _hits(watch, ["1.4"]) == [(0, "b"), (0, "c")]


def test_a_level_that_was_given_late_is_not_reached_twice() -> None:
    given = _level("1.1")
    watch = PriceWatch([given])
    assert _hits(watch, ["1.2"]) == [(0, "a")]
    watch.replace([given])  # read before the alert was written
    assert _hits(watch, ["1.2", "1.0", "1.2"]) == []


def test_a_level_that_others_reached_or_armed_is_as_they_say() -> None:
    given = _level("1.1")
    watch = PriceWatch([given])
    watch.replace([replace(given, armed=False, triggered=1, last_triggered=_START)])
    assert _hits(watch, ["1.2"]) == []
    watch.replace([replace(given, armed=True, triggered=1, last_triggered=_START)])
    assert _hits(watch, ["1.2"]) == [(0, "a")]


def test_levels_that_are_armed_again_are_told_once_so_that_they_can_be_kept() -> None:
    watch = PriceWatch([_level("1.1", repeat=True), _level("1.15", id="b", repeat=True)])
    assert _hits(watch, ["1.2", "1.12"]) == [(0, "a"), (0, "b")]
    rearmed = watch.take_rearmed()
    assert [(level.id, level.armed, level.triggered, level.last_triggered) for level in rearmed] == [("b", True, 1, _START)]
    assert watch.take_rearmed() == []
    # Armed and reached since: that it was armed is no longer true.
    assert _hits(watch, ["1.0", "1.3"]) == [(1, "a"), (1, "b")]
    assert watch.take_rearmed() == []
    assert _hits(watch, ["1.0"], start=_START + 2 * _SECOND) == []
    watch.replace([_level("1.1", repeat=True)])
    assert [level.id for level in watch.take_rearmed()] == ["a"]


@pytest.mark.parametrize("level", ["0", "-1.1", "NaN", "Infinity"])
def test_a_level_that_is_no_price_is_an_error(level: str) -> None:
    watch = PriceWatch([_level("1.1")])
    with pytest.raises(ValueError, match="a positive number"):
        watch.replace([_level("1.3", id="b"), _level(level, id="c")])
    assert _hits(watch, ["1.4"]) == [(0, "a")]


# ---------------------------------------------------------------- against the rules, one level at a time


def _plainly(level: PriceLevel, mid: Decimal, time: datetime) -> PriceLevel:
    """The level after a price, by the rules as they are written."""
    above = level.direction is Direction.ABOVE
    if not level.armed and level.repeat:
        back = mid <= level.level - level.pair.pip if above else mid >= level.level + level.pair.pip
        cooldown = timedelta(seconds=level.cooldown_seconds)
        if back and (level.last_triggered is None or time >= level.last_triggered + cooldown):
            level = replace(level, armed=True)
    if level.armed and (mid >= level.level if above else mid <= level.level):
        return replace(level, armed=False, triggered=level.triggered + 1, last_triggered=time)
    return level


_PRICES = st.integers(-30, 30).map(lambda points: Decimal("1.1") + Decimal(points) / 100_000)


@st.composite
def _levels(draw: st.DrawFn) -> list[PriceLevel]:
    drawn = draw(
        st.lists(st.tuples(_PRICES, st.sampled_from(Direction), st.booleans(), st.integers(0, 8), st.booleans()), max_size=12)
    )
    return [
        replace(_level(str(price), direction, str(number), repeat=repeat, cooldown_seconds=cooldown), armed=armed)
        for number, (price, direction, repeat, cooldown, armed) in enumerate(drawn)
    ]


@settings(max_examples=60)
@given(_levels(), st.lists(st.tuples(_PRICES, st.integers(0, 5)), max_size=40), st.integers(0, 40))
def test_many_levels_together_do_what_each_does_alone(
    levels: list[PriceLevel], prices: list[tuple[Decimal, int]], reloaded_at: int
) -> None:
    watch, expected, time = PriceWatch(levels), levels, _START
    for number, (mid, seconds) in enumerate(prices):
        time += seconds * _SECOND
        before, expected = expected, [_plainly(level, mid, time) for level in expected]
        changed = [level for level, old in zip(expected, before, strict=True) if level.triggered > old.triggered]
        reached = watch.see("EUR_USD", mid, time)
        assert sorted(reached, key=lambda level: int(level.id)) == changed
        assert len(watch) == len(levels)
        if number == reloaded_at:
            watch.replace(levels)  # as they were at the start: the watch knows better


def test_prices_that_reach_none_of_many_levels_look_at_few() -> None:
    chance, compared = random.Random(7), 0

    class Counted(Decimal):
        """A price that counts how often it is compared."""

        def __ge__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return bool(Decimal(self) >= other)  # type: ignore[operator]

        def __le__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return bool(Decimal(self) <= other)  # type: ignore[operator]

        def __neg__(self) -> "Counted":
            return Counted(-Decimal(self))

    watch = PriceWatch(
        _level(f"{1.2 + chance.random():.5f}", id=str(number), repeat=True) if number % 2
        else _level(f"{1.0 - chance.random() / 2:.5f}", Direction.BELOW, str(number), repeat=True)
        for number in range(10_000)
    )  # fmt: skip
    for second in range(100):
        assert watch.see("EUR_USD", Counted(f"{1.01 + chance.random() / 10:.5f}"), _START + second * _SECOND) == []
    assert 0 < compared <= 400


# ---------------------------------------------------------------- alerts


@pytest.mark.parametrize(
    ("level", "mid", "message"),
    [
        (_level("1.1"), "1.10012", "EUR_USD rose above 1.10000: 1.10012"),
        (_level("1.1"), "1.1", "EUR_USD rose to 1.10000: 1.10000"),
        (_level("1.1", Direction.BELOW), "1.099", "EUR_USD fell below 1.10000: 1.09900"),
        (_level("1.1", Direction.BELOW), "1.1000", "EUR_USD fell to 1.10000: 1.10000"),
        # A mid has a digit more at times, and without it would be at the level
        (_level("1.1"), "1.100005", "EUR_USD rose above 1.10000: 1.100005"),
        (_level("150.5", pair=_USD_JPY), "151", "USD_JPY rose above 150.500: 151.000"),
        (replace(_level("1.1"), message="take profit"), "1.2", "EUR_USD rose above 1.10000: 1.20000 (take profit)"),
    ],
)
def test_an_alert_says_what_was_reached(level: PriceLevel, mid: str, message: str) -> None:
    alert = price_alert(level, Decimal(mid), _START)
    assert alert == PriceAlert(
        "price_alert", (level.pair.name,), Decimal(mid), level.level, Severity.WARNING, message, _START, level.id, level.direction
    )


def test_an_alert_of_an_unknown_severity_is_an_error() -> None:
    with pytest.raises(ValueError, match="loud"):
        price_alert(replace(_level("1.1"), severity="loud"), Decimal("1.2"), _START)
