import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain, islice

import numpy as np
import pytest

from app.errors import SourceError
from app.market.bars.candle import Candle, Granularity
from app.market.clock import parse_time, rfc3339
from app.market.hours.calendar import is_open
from app.market.pair import DEFAULT_PAIRS, CurrencyPair, TrackedPairs
from app.providers.reference_rates import reference_rates
from app.providers.simulated.demonstration import demonstration_candles
from app.providers.simulated.walk import Walk

_NOW = datetime(2026, 11, 20, 15, 42, 7, tzinfo=UTC)
_PAIRS = TrackedPairs(DEFAULT_PAIRS)


@pytest.fixture(scope="module")
def candles() -> dict[str, list[Candle]]:
    """The bars of the usual pairs, by the pairs' names."""
    return {pair.name: bars for pair, bars in demonstration_candles(_PAIRS, _NOW).items()}


def _of(names: Sequence[str], now: datetime = _NOW, days: int = 30, seed: int = 1) -> dict[CurrencyPair, list[Candle]]:
    return demonstration_candles(TrackedPairs(names), now, days, seed)


def _returns(bars: Sequence[Candle]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.diff(np.log([float(bar.mid.close) for bar in bars]))


def _half_point(bar: Candle) -> Decimal:
    return bar.pair.pip / 20


def test_there_is_a_bar_for_every_open_hour_that_is_over(candles: dict[str, list[Candle]]) -> None:
    hours = [_NOW.replace(minute=0, second=0) - count * timedelta(hours=1) for count in range(720, 0, -1)]
    expected = [hour for hour in hours if is_open(hour)]
    assert 490 < len(expected) < 530
    assert candles.keys() == set(DEFAULT_PAIRS)
    for name, bars in candles.items():
        assert [bar.time for bar in bars] == expected
        assert {(bar.pair.name, bar.granularity, bar.complete, bar.source) for bar in bars} == {
            (name, Granularity.H1, True, "simulated")
        }


def test_bars_have_about_as_many_quotes_as_the_simulated_source_makes() -> None:
    [bars] = demonstration_candles(TrackedPairs(["EUR_USD"]), _NOW, quotes_an_hour=3600).values()
    volumes = [bar.volume for bar in bars]
    assert len(set(volumes)) > 100
    assert 3590 < sum(volumes) / len(volumes) < 3610
    assert 3300 < min(volumes) < 3600 < max(volumes) < 3900
    [few] = demonstration_candles(TrackedPairs(["EUR_USD"]), _NOW, quotes_an_hour=0.1).values()
    assert min(bar.volume for bar in few) == 1
    assert [bar.mid for bar in few] == [bar.mid for bar in bars]


@pytest.mark.parametrize(
    ("now", "first", "last"),
    [
        ("2026-11-22T10:00Z", "2026-11-19T10:00", "2026-11-20T21:00"),  # a Sunday
        ("2026-12-26T12:30Z", "2026-12-23T12:00", "2026-12-24T21:00"),  # after Christmas, on a Saturday
        ("2026-11-18T09:00Z", "2026-11-15T22:00", "2026-11-18T08:00"),
        ("2026-11-18T09:00+05:30", "2026-11-15T22:00", "2026-11-18T02:00"),
    ],
)
def test_the_closed_market_has_no_bars(now: str, first: str, last: str) -> None:
    [bars] = _of(["EUR_USD"], datetime.fromisoformat(now), days=3).values()
    assert [rfc3339(bar.time)[:16] for bar in (bars[0], bars[-1])] == [first, last]


def test_where_no_hour_was_open_there_is_no_bar() -> None:
    assert _of(["EUR_USD"], parse_time("2026-11-22T20:00Z"), days=1) == {CurrencyPair("EUR", "USD"): []}
    assert demonstration_candles([], _NOW) == {}


def test_the_same_arguments_give_the_same_bars() -> None:
    assert _of(["EUR_USD", "GBP_USD"], seed=7) == _of(["EUR_USD", "GBP_USD"], seed=7)
    assert _of(["EUR_USD", "GBP_USD"], seed=7) != _of(["EUR_USD", "GBP_USD"], seed=8)


def test_the_bars_end_where_the_simulated_walk_starts(candles: dict[str, list[Candle]]) -> None:
    walk = Walk(_PAIRS, seed=1, rate=1000)
    first: dict[str, Decimal] = {}
    for tick in islice(chain.from_iterable(walk.ticks()), 1000):
        first.setdefault(tick.pair.name, (tick.bid + tick.ask) / 2)
    for name, bars in candles.items():
        assert bars[-1].mid.close == pytest.approx(first[name], rel=Decimal("0.0005"))


def test_the_bars_pass_the_reference_rates_a_trading_day_apart(candles: dict[str, list[Candle]]) -> None:
    fixings = reference_rates(["USD", "JPY"], 20).rows[::-1]
    euros, dollars = candles["EUR_USD"][::-1], candles["USD_JPY"][::-1]
    for day, (usd, jpy) in enumerate(fixings):
        assert abs(euros[24 * day].mid.close - usd) <= Decimal("0.00001")
        assert abs(dollars[24 * day].mid.close - jpy / usd) <= Decimal("0.001")


def test_crosses_agree_within_rounding(candles: dict[str, list[Candle]]) -> None:
    triangles = (("EUR_USD", "USD_JPY", "EUR_JPY"), ("GBP_USD", "USD_CHF", "GBP_CHF"), ("EUR_GBP", "GBP_AUD", "EUR_AUD"))
    for names in triangles:
        for left, right, cross in zip(*(candles[name] for name in names), strict=True):
            one, other, both = left.mid.close, right.mid.close, cross.mid.close
            # Each is at most half a point from what it would be without rounding.
            rounding = _half_point(left) * other + _half_point(right) * one + _half_point(cross)
            assert abs(one * other - both) < rounding * Decimal("1.001")


def test_prices_are_whole_points_and_make_bars(candles: dict[str, list[Candle]]) -> None:
    for bar in chain.from_iterable(candles.values()):
        for side in (bar.bid, bar.mid, bar.ask):
            assert side.low <= min(side.open, side.close) <= max(side.open, side.close) <= side.high
        for bid, mid, ask in (
            (bar.bid.open, bar.mid.open, bar.ask.open),
            (bar.bid.close, bar.mid.close, bar.ask.close),
        ):
            assert bar.pair.round(bid) == bid < ask == bar.pair.round(ask)
            assert mid == (bid + ask) / 2
        assert bar.bid.high < bar.mid.high < bar.ask.high
        assert bar.bid.low < bar.mid.low < bar.ask.low


def test_spreads_are_the_usual_ones(candles: dict[str, list[Candle]]) -> None:
    def spread(name: str) -> float:
        return float(np.mean([float((bar.ask.close - bar.bid.close) / bar.pair.pip) for bar in candles[name]]))

    assert spread("EUR_USD") == pytest.approx(0.8, abs=0.1)
    assert spread("GBP_JPY") == pytest.approx(2.2, abs=0.2)
    assert spread("USD_CNH") == pytest.approx(6.1, abs=0.3)


def test_hours_move_as_much_as_days_did(candles: dict[str, list[Candle]]) -> None:
    [dollars] = np.diff(np.log(np.array(reference_rates(["USD"], 260).rows, dtype=np.float64)), axis=0).T
    assert _returns(candles["EUR_USD"]).std() * math.sqrt(24) == pytest.approx(dollars.std(), rel=0.2)
    ranges = [math.log(bar.mid.high / bar.mid.low) for bar in candles["EUR_USD"]]
    # A walk seen at twelve moments goes over about 1.2 standard deviations of its hour.
    assert np.mean(ranges) / _returns(candles["EUR_USD"]).std() == pytest.approx(1.2, abs=0.2)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pairs_move_together_as_they_did_by_the_reference_rates(seed: int) -> None:
    bars = {pair.name: rows for pair, rows in demonstration_candles(_PAIRS, _NOW, seed=seed).items()}
    codes = ["EUR", "USD", "GBP", "CHF", "JPY", "AUD", "NZD", "CAD"]
    moves = np.diff(np.log(np.array(reference_rates(codes, 260).rows, dtype=np.float64)), axis=0)
    names = ["EUR_USD", "GBP_USD", "USD_CHF", "EUR_CHF", "USD_JPY", "AUD_USD", "NZD_USD", "USD_CAD"]
    expected = np.corrcoef([moves[:, codes.index(name[4:])] - moves[:, codes.index(name[:3])] for name in names])
    simulated = np.corrcoef([_returns(bars[name]) for name in names])
    assert np.abs(simulated - expected).max() < 0.25
    strong = np.abs(expected) > 0.4
    assert strong.sum() > 20
    assert (np.sign(simulated) == np.sign(expected))[strong].all()


@pytest.mark.usefixtures("untraced_test")
def test_many_days_may_be_asked_for() -> None:
    [bars] = _of(["EUR_USD"], days=600).values()
    assert len(bars) > 10_000
    with pytest.raises(SourceError, match="Prices of EUR, USD cannot be simulated: the ECB lists too few recent rates"):
        _of(["EUR_USD"], days=15_000)


def test_a_currency_without_reference_rates_cannot_be_simulated() -> None:
    with pytest.raises(SourceError, match=r"^Prices of RUB cannot be simulated"):
        _of(["EUR_USD", "USD_RUB"])


def test_a_seed_is_not_negative() -> None:
    with pytest.raises(SourceError, match="whole number from 0 up, not -1"):
        _of(["EUR_USD"], seed=-1)
