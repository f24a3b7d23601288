"""Many bars at once are what they are one by one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.market.bars.candle import Granularity, aggregate
from app.market.bars.making import GIVEN
from app.market.blocks.block import BarBlock, join_blocks
from app.market.blocks.starts import micros_of, moment_of, starts
from app.market.pair import CurrencyPair

_EUR_USD = CurrencyPair("EUR", "USD")
_MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given a zone


@given(st.lists(_MOMENTS, min_size=1, max_size=20), st.sampled_from(Granularity))
@settings(deadline=None)
def test_bars_start_where_each_starts_by_itself(moments: list[datetime], granularity: Granularity) -> None:
    found = starts(np.array([micros_of(moment) for moment in moments]), granularity)
    assert [moment_of(start) for start in found] == [granularity.start(moment) for moment in moments]


@pytest.mark.parametrize("granularity", Granularity)
def test_bars_start_right_about_the_changes_of_the_clocks(granularity: Granularity) -> None:
    for day in (datetime(2024, 3, 9, tzinfo=UTC), datetime(2024, 11, 2, tzinfo=UTC)):
        moments = [day + number * timedelta(minutes=15) for number in range(4 * 72)]
        found = starts(np.array([micros_of(moment) for moment in moments]), granularity)
        assert [moment_of(start) for start in found] == [granularity.start(moment) for moment in moments]


def test_moments_before_all_trading_days_are_refused() -> None:
    with pytest.raises(ValueError, match="before the year 1"):
        starts(np.array([micros_of(datetime(1, 1, 5, tzinfo=UTC))]), Granularity.D)


def _block(minutes: list[int], prices: list[list[int]], granularity: Granularity = Granularity.M1) -> BarBlock:
    times = np.array([micros_of(datetime(2024, 3, 8, tzinfo=UTC) + minute * timedelta(minutes=1)) for minute in minutes])
    four = np.array([[p[0], max(p), min(p), p[-1]] for p in prices]).T.reshape(4, len(minutes))
    volumes = np.arange(len(minutes))
    return BarBlock(_EUR_USD, granularity, "import", times, four, four + 5, four + 10, 5, volumes)


@given(
    st.lists(st.integers(0, 20_000), unique=True, min_size=1, max_size=60).map(sorted),
    st.data(),
    st.sampled_from([length for length in Granularity if length is not Granularity.M1]),
)
@settings(deadline=None)
def test_larger_bars_are_those_of_candles(minutes: list[int], data: st.DataObject, granularity: Granularity) -> None:
    prices = data.draw(
        st.lists(st.lists(st.integers(1, 200_000), min_size=2, max_size=3), min_size=len(minutes), max_size=len(minutes))
    )
    block = _block(minutes, prices)
    larger = aggregate(block.candles(), granularity, datetime(2030, 1, 1, tzinfo=UTC))
    # What a bar was made of, and so whether it is complete, is judged where the calendar is known.
    assert list(block.aggregate(granularity).candles()) == [replace(bar, complete=True, made=GIVEN) for bar in larger]


def test_weeks_add_up_to_no_months() -> None:
    with pytest.raises(ValueError, match="W bars do not add up to M bars"):
        _block([0], [[1, 2]], Granularity.W).aggregate(Granularity.M)


def test_blocks_are_cut_and_joined() -> None:
    block = _block([0, 1, 2, 3, 4], [[place + 1, place + 2] for place in range(5)])
    parts = list(block.parts(2))
    assert [len(part) for part in parts] == [2, 2, 1]
    flat = np.full((4, 2), 3)
    coarse = BarBlock(_EUR_USD, Granularity.M1, "import", block.times[:2], flat, flat, flat, 1, block.volumes[:2])
    whole = join_blocks([coarse, *parts[1:]])
    assert list(whole.candles())[2:] == list(block.candles())[2:]
    assert next(whole.candles()).bid.open == Decimal("0.3")
    assert len(block.part(0, 0).aggregate(Granularity.H1)) == 0
