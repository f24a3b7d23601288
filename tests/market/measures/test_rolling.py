"""Measures over time are the measures of each time."""

from dataclasses import replace
from datetime import timedelta
from math import isnan
from random import Random

import pytest

from app.market.bars.mid_bars import MidBars
from app.market.measures.correlation import ewma, pearson
from app.market.measures.measures import measure
from app.market.measures.rolling import ROLLING, rolling, rolling_correlation
from tests.routers.running import FIRST, bars

YEAR = 6240


def test_every_measure_at_every_bar_is_that_of_the_bars_up_to_it() -> None:
    candles = bars(count=120)
    over_time = rolling(MidBars.of(candles), YEAR)
    assert tuple(over_time.keys() ^ set(ROLLING)) == ()
    for end in range(1, len(candles) + 1):
        then = measure(candles[:end], YEAR)
        for name in ROLLING:
            value, expected = float(over_time[name][end - 1]), getattr(then, name)
            if expected is None:
                assert isnan(value), (name, end)
            else:
                assert value == pytest.approx(expected, rel=1e-9), (name, end)


def test_bars_without_movement_have_no_volatility() -> None:
    [bar] = bars()
    still = [replace(bar, time=bar.time + timedelta(hours=number)) for number in range(60)]
    assert float(rolling(MidBars.of(still), YEAR)["realized"][-1]) == 0


@pytest.mark.parametrize("method", [pearson, ewma])
def test_a_rolling_correlation_is_that_of_the_last_common_bars(method: type) -> None:
    random = Random(4)
    times = [FIRST + timedelta(hours=number) for number in range(80)]
    first = {time: random.uniform(1, 1.1) for time in times if time.hour != 5}
    second = {time: first.get(time, 1) * random.uniform(1, 1.1) for time in times if time.hour != 9}
    common = sorted(first.keys() & second.keys())
    found = rolling_correlation(first, second, 30, method)
    assert list(found) == common[29:]
    for time, cell in found.items():
        upto = common[common.index(time) - 29 : common.index(time) + 1]
        assert cell == method({t: first[t] for t in upto}, {t: second[t] for t in upto}, 29)
        assert cell.observations == 29
    assert rolling_correlation(first, second, 100, method) == {}
