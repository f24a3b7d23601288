import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain, islice, pairwise

import numpy as np
import pytest

from app.errors import SourceError
from app.market.bars.candle import Candle, Granularity, aggregate
from app.market.bars.live_bars import LiveBars
from app.market.clock import rfc3339
from app.market.hours.calendar import is_open
from app.market.pair import DEFAULT_PAIRS, CurrencyPair, TrackedPairs
from app.market.quote import Quote
from app.providers.reference_rates import reference_rates
from app.providers.simulated.demonstration import History, histories
from app.providers.simulated.walk import Walk
from app.sources import SOURCES

_NOW = datetime(2026, 11, 20, 15, 0, 7, tzinfo=UTC)
_PAIRS = TrackedPairs(DEFAULT_PAIRS)


@pytest.fixture(scope="module")
def all_histories() -> list[History]:
    return list(histories(_PAIRS, _NOW))


@pytest.fixture(scope="module")
def candles(all_histories: Sequence[History]) -> dict[str, list[Candle]]:
    """The hours of the usual pairs, by the pairs' names."""
    return {history.pair.name: _complete(history, Granularity.H1) for history in all_histories}


def _complete(history: History, granularity: Granularity) -> list[Candle]:
    [block] = (block for block in history.complete if block.granularity is granularity)
    return list(block.candles())


def _of(
    names: Sequence[str], now: datetime = _NOW, seed: int = 1, quotes_an_hour: float = 3600
) -> dict[CurrencyPair, list[Candle]]:
    """The minutes of some pairs."""
    made = histories(TrackedPairs(names), now, seed, quotes_an_hour)
    return {history.pair: _complete(history, Granularity.M1) for history in made}


def _returns(bars: Sequence[Candle]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.diff(np.log([float(bar.mid.close) for bar in bars]))


def _half_point(bar: Candle) -> Decimal:
    return bar.pair.pip / 20


@pytest.mark.parametrize(
    ("length", "count"),
    [
        ("M1", 2 * 1440 + 17 * 60),
        ("M5", 5 * 288 + 17 * 12),
        ("M15", 10 * 96 + 17 * 4),
        ("H1", 22 * 24 + 17),
        ("H4", 130 * 6 + 4),
        ("D", 2609),
        ("W", 523),
        ("M", 120),
    ],
)
def test_every_length_is_filled_without_holes(all_histories: Sequence[History], length: str, count: int) -> None:
    granularity = Granularity(length)
    assert [history.pair.name for history in all_histories] == list(DEFAULT_PAIRS)
    for history in all_histories:
        bars = _complete(history, granularity)
        assert len(bars) == count
        assert {(bar.pair, bar.granularity, bar.complete, bar.source) for bar in bars} == {
            (history.pair, granularity, True, "simulated")
        }
        assert all(bar.time == granularity.start(bar.time) for bar in bars)
        for bar, following in pairwise(bars):
            assert bar.end == following.time or not any(
                is_open(bar.end + hours * timedelta(hours=1)) for hours in range((following.time - bar.end) // timedelta(hours=1))
            )
        assert bars[-1].end <= _NOW


def test_longer_bars_are_exactly_the_sum_of_shorter_ones(all_histories: Sequence[History]) -> None:
    for history in all_histories[:3]:
        unfinished = {bar.granularity: [bar] for bar in history.unfinished}
        bars = {length: [*_complete(history, length), *unfinished.get(length, [])] for length in Granularity}
        assert all(not bar.complete for bar in history.unfinished)
        for shorter in Granularity:
            for longer in Granularity:
                if shorter.divides(longer):
                    begins = longer.end(bars[shorter][0].time - timedelta(microseconds=1))
                    parts = [bar for bar in bars[shorter] if bar.time >= begins]
                    assert aggregate(parts, longer) == [bar for bar in bars[longer] if bar.time >= begins]


def test_bars_that_are_not_over_reach_the_last_full_minute() -> None:
    now = datetime(2026, 11, 18, 15, 42, 7, tzinfo=UTC)
    [history] = histories(TrackedPairs(["EUR_USD"]), now)
    last = _complete(history, Granularity.M1)[-1]
    assert last.time == datetime(2026, 11, 18, 15, 41, tzinfo=UTC)
    assert [(bar.granularity, rfc3339(bar.time)[:16]) for bar in history.unfinished] == [
        (Granularity.M5, "2026-11-18T15:40"),
        (Granularity.M15, "2026-11-18T15:30"),
        (Granularity.H1, "2026-11-18T15:00"),
        (Granularity.H4, "2026-11-18T14:00"),
        (Granularity.D, "2026-11-17T22:00"),
        (Granularity.W, "2026-11-13T22:00"),
        (Granularity.M, "2026-10-31T21:00"),
    ]
    assert {bar.mid.close for bar in history.unfinished} == {last.mid.close}


def test_live_bars_continue_those_that_are_not_over() -> None:
    pair = CurrencyPair("EUR", "USD")
    [history] = histories([pair], datetime(2026, 11, 18, 15, 42, 7, tzinfo=UTC))
    bars = LiveBars(pair, SOURCES)
    bars.resume(history.unfinished)
    bars.listen(datetime(2026, 11, 18, 15, 42, 9, tzinfo=UTC))
    last = _complete(history, Granularity.M1)[-1].mid.close
    bars.add([Quote(pair, last, last + 1, datetime(2026, 11, 18, 15, 42, 10, tzinfo=UTC), "simulated")])
    bars.changes()
    bars.advance(datetime(2026, 11, 18, 16, 0, 5, tzinfo=UTC))
    [hour] = [bar for bar in bars.changes() if bar.granularity is Granularity.H1]
    [simulated] = [bar for bar in history.unfinished if bar.granularity is Granularity.H1]
    assert (hour.time, hour.complete, hour.made.whole) == (simulated.time, True, True)
    assert hour.mid == replace(simulated.mid, high=last + Decimal("0.5"), close=last + Decimal("0.5"))
    assert hour.volume == simulated.volume + 1


def test_currencies_with_short_records_have_as_many_months_as_there_are() -> None:
    # The bank began again in 2018.
    rates = len(reference_rates(["ISK", "USD"], 2700).rows)
    [history] = histories(TrackedPairs(["USD_ISK"]), _NOW)
    days, months = _complete(history, Granularity.D), _complete(history, Granularity.M)
    assert rates - 30 < len(days) < rates < 2600
    assert months[0].time == Granularity.M.start(days[0].time)
    assert _complete(history, Granularity.W)[0].time >= months[0].time


def test_bars_have_about_as_many_quotes_as_the_simulated_source_makes() -> None:
    [bars] = _of(["EUR_USD"], quotes_an_hour=3600).values()
    volumes = [bar.volume for bar in bars]
    assert len(set(volumes)) > 30
    assert 59 < sum(volumes) / len(volumes) < 61
    [few] = _of(["EUR_USD"], quotes_an_hour=0.1).values()
    assert {bar.volume for bar in few} <= {1, 2}
    assert [bar.mid for bar in few] == [bar.mid for bar in bars]


@pytest.mark.parametrize(
    ("now", "first", "last"),
    [
        ("2026-11-22T10:00Z", "2026-11-17T22:00", "2026-11-20T21:59"),  # a Sunday
        ("2026-12-26T12:30Z", "2026-12-21T22:00", "2026-12-24T21:59"),  # after Christmas, on a Saturday
        ("2026-11-18T09:00Z", "2026-11-15T22:00", "2026-11-18T08:59"),
        ("2026-11-18T09:00+05:30", "2026-11-15T22:00", "2026-11-18T03:29"),
        ("2026-11-17T22:00:30Z", "2026-11-15T22:00", "2026-11-17T21:59"),  # as a trading day begins
    ],
)
def test_the_closed_market_has_no_bars(now: str, first: str, last: str) -> None:
    [bars] = _of(["EUR_USD"], datetime.fromisoformat(now)).values()
    assert [rfc3339(bar.time)[:16] for bar in (bars[0], bars[-1])] == [first, last]


def test_without_pairs_there_is_no_history() -> None:
    assert list(histories([], _NOW)) == []


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
    bars = {made.pair.name: _complete(made, Granularity.H1) for made in histories(_PAIRS, _NOW, seed)}
    codes = ["EUR", "USD", "GBP", "CHF", "JPY", "AUD", "NZD", "CAD"]
    moves = np.diff(np.log(np.array(reference_rates(codes, 260).rows, dtype=np.float64)), axis=0)
    names = ["EUR_USD", "GBP_USD", "USD_CHF", "EUR_CHF", "USD_JPY", "AUD_USD", "NZD_USD", "USD_CAD"]
    expected = np.corrcoef([moves[:, codes.index(name[4:])] - moves[:, codes.index(name[:3])] for name in names])
    simulated = np.corrcoef([_returns(bars[name]) for name in names])
    assert np.abs(simulated - expected).max() < 0.25
    strong = np.abs(expected) > 0.4
    assert strong.sum() > 20
    assert (np.sign(simulated) == np.sign(expected))[strong].all()


def test_a_currency_without_reference_rates_cannot_be_simulated() -> None:
    with pytest.raises(SourceError, match=r"^Prices of RUB cannot be simulated"):
        _of(["EUR_USD", "USD_RUB"])


def test_a_seed_is_not_negative() -> None:
    with pytest.raises(SourceError, match="whole number from 0 up, not -1"):
        _of(["EUR_USD"], seed=-1)
