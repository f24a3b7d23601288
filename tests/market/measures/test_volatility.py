import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.market.bars.candle import Granularity
from app.market.measures.volatility import (
    BARS_PER_YEAR,
    FloatArray,
    atr,
    bollinger,
    close_to_close,
    ewma,
    exponential_mean,
    garman_klass,
    log_returns,
    parkinson,
    realized,
    rogers_satchell,
    sma,
    yang_zhang,
)

_HOURLY = BARS_PER_YEAR[Granularity.H1]
_DAYS_2014 = ("20140505", "20140517")
_DAYS_2016 = ("20160620", "20160702")  # with the vote of 23 June


class _Bars(NamedTuple):
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray


def _hours(folder: Path, pair: str, first: str, before: str) -> _Bars:
    """The recorded H1 bars of a stretch of time, its bounds written as YYYYMMDD HH:MM or a part of that; mid prices."""
    with zipfile.ZipFile(folder / "oanda" / "hour" / f"{pair}.zip") as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    rows = [line.split(",") for line in lines if first <= line[:14] < before]
    bids = np.array([row[1:5] for row in rows], dtype=np.float64)
    asks = np.array([row[6:10] for row in rows], dtype=np.float64)
    return _Bars(*((bids + asks) / 2).T.copy())


@st.composite
def _random_bars(draw: st.DrawFn) -> _Bars:
    """Bars in whole points around 1.1, with gaps between them."""
    points = st.integers(-300, 300)
    rows = draw(st.lists(st.tuples(points, points, st.integers(0, 100), st.integers(0, 100)), min_size=21, max_size=60))
    bars = [(o, max(o, c) + up, min(o, c) - down, c) for o, c, up, down in rows]
    return _Bars(*(np.array(bars, dtype=np.float64).T / 100_000 + 1.1))


def _variance(values: list[float]) -> float:
    """Of a sample."""
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _plain_rogers_satchell(bars: list[tuple[float, float, float, float]]) -> float:
    return math.fsum(math.log(h / c) * math.log(h / o) + math.log(low / c) * math.log(low / o) for o, h, low, c in bars) / len(
        bars
    )


@settings(max_examples=30)
@given(_random_bars())
def test_volatilities_are_those_of_plain_loops(bars: _Bars) -> None:
    rows = list(zip(*(prices.tolist() for prices in bars), strict=True))
    closes = [close for *_, close in rows]
    returns = [math.log(closes[i] / closes[i - 1]) for i in range(1, len(closes))]
    assert log_returns(bars.close).tolist() == pytest.approx(returns, rel=0, abs=1e-12)
    assert close_to_close(bars.close, 260) == pytest.approx(math.sqrt(260 * _variance(returns)), rel=1e-12, abs=1e-12)

    squares = math.fsum(math.log(h / low) ** 2 for _, h, low, _ in rows)
    assert parkinson(bars.high, bars.low, 260) == pytest.approx(
        math.sqrt(260 / (4 * len(rows) * math.log(2)) * squares), rel=1e-12
    )
    bodies = math.fsum(math.log(c / o) ** 2 for o, _, _, c in rows)
    assert garman_klass(*bars, 260) == pytest.approx(
        math.sqrt(260 / len(rows) * (squares / 2 - (2 * math.log(2) - 1) * bodies)), rel=1e-12
    )

    n = len(rows) - 1
    k = 0.34 / (1.34 + (n + 1) / (n - 1))
    gaps = _variance([math.log(rows[i][0] / closes[i - 1]) for i in range(1, len(rows))])
    moves = _variance([math.log(c / o) for o, _, _, c in rows[1:]])
    daily = gaps + k * moves + (1 - k) * _plain_rogers_satchell(rows[1:])
    assert yang_zhang(*bars, 260) == pytest.approx(math.sqrt(260 * daily), rel=1e-12)
    assert rogers_satchell(*bars, 260) == pytest.approx(math.sqrt(260 * _plain_rogers_satchell(rows)), rel=1e-12)
    assert realized(bars.close, 260) == pytest.approx(
        math.sqrt(260 / len(returns) * math.fsum(r * r for r in returns)), rel=1e-12
    )


def test_realized_and_rogers_satchell_of_bars_computed_by_hand() -> None:
    # ln(H/C) ln(H/O) + ln(L/C) ln(L/O): 0.1 · 0.2 + 0.2 · 0.1 for the first bar, 0 for the second, which only rises.
    prices = np.exp(np.array([[0.0, 0.2, -0.1, 0.1], [0.1, 0.4, 0.1, 0.4]]))
    open_, high, low, close = prices.T
    assert rogers_satchell(open_, high, low, close, 2) == pytest.approx(math.sqrt(2 * 0.04 / 2), rel=1e-12)
    assert realized(np.exp(np.array([0.0, 0.3, -0.1])), 2) == pytest.approx(0.5, rel=1e-12)


@settings(max_examples=30)
@given(_random_bars(), st.floats(0.5, 0.999))
def test_exponential_weights_are_those_of_a_plain_loop(bars: _Bars, decay: float) -> None:
    returns = log_returns(bars.close).tolist()
    variance = math.fsum(value**2 for value in returns[:20]) / 20
    expected = [math.sqrt(260 * variance)]
    for value in returns[20:]:
        variance = decay * variance + (1 - decay) * value**2
        expected.append(math.sqrt(260 * variance))
    assert ewma(bars.close, 260, decay).tolist() == pytest.approx(expected, rel=1e-12)


@settings(max_examples=30)
@given(_random_bars(), st.integers(1, 20))
def test_moving_measures_are_those_of_plain_loops(bars: _Bars, period: int) -> None:
    closes = bars.close.tolist()
    averages, deviations = [], []
    for i in range(period, len(closes) + 1):
        window = closes[i - period : i]
        averages.append(math.fsum(window) / period)
        deviations.append(math.sqrt(math.fsum((close - averages[-1]) ** 2 for close in window) / period))
    assert sma(bars.close, period).tolist() == pytest.approx(averages, rel=0, abs=1e-12)
    bands = bollinger(bars.close, period, 2.5)
    assert bands.middle.tolist() == pytest.approx(averages, rel=0, abs=1e-12)
    widths = [2.5 * deviation for deviation in deviations]
    assert (bands.upper - bands.middle).tolist() == pytest.approx(widths, rel=0, abs=1e-12)
    assert (bands.middle - bands.lower).tolist() == pytest.approx(widths, rel=0, abs=1e-12)

    ranges = [
        max(h - low, abs(h - before), abs(low - before))
        for h, low, before in zip(bars.high.tolist()[1:], bars.low.tolist()[1:], closes[:-1], strict=True)
    ]
    average = math.fsum(ranges[:period]) / period
    expected = [average]
    for true_range in ranges[period:]:
        average = ((period - 1) * average + true_range) / period
        expected.append(average)
    assert atr(bars.high, bars.low, bars.close, period).tolist() == pytest.approx(expected, rel=0, abs=1e-12)


# Made on the recorded mid prices with TA-Lib 0.8.2 (ATR, BBANDS, SMA) and pandas 3.1.1 (the standard deviation of log
# returns, times √6240): the first and the last ATR(14), then all at the last bar.
@pytest.mark.parametrize(
    ("pair", "days", "volatility", "volatility_50", "first_atr", "last_atr", "bands", "sma_30"),
    [
        ("eurusd", _DAYS_2014, 0.0498887019425737, 0.05919298751158563, 0.000715000000000037, 0.0010848288238655011,
         (1.3690112792058535, 1.3707500000000006, 1.3724887207941476), 1.370917),
        ("nzdusd", _DAYS_2014, 0.07057363370332516, 0.06554267030578716, 0.0009200000000000082, 0.001070583664746593,
         (0.8623798001323744, 0.8637112499999999, 0.8650426998676255), 0.8638981666666662),
        ("eurusd", _DAYS_2016, 0.18445343461575506, 0.13156043953066154, 0.0017735714285714854, 0.0023189031919330257,
         (1.1078391381863066, 1.1117642500000005, 1.1156893618136943), 1.1107008333333332),
        ("nzdusd", _DAYS_2016, 0.19323335889103765, 0.10244838093686569, 0.0014035714285714246, 0.0015262215975465545,
         (0.7133275018017825, 0.7161892499999998, 0.719050998198217), 0.7151305000000003),
    ],
)  # fmt: skip
def test_measures_of_recorded_hours_are_those_of_other_libraries(
    fx_data: Path,
    pair: str,
    days: tuple[str, str],
    volatility: float,
    volatility_50: float,
    first_atr: float,
    last_atr: float,
    bands: tuple[float, float, float],
    sma_30: float,
) -> None:
    bars = _hours(fx_data, pair, *days)
    assert bars.close.size == 237
    assert close_to_close(bars.close, _HOURLY) == pytest.approx(volatility, rel=1e-12)
    assert close_to_close(bars.close[-51:], _HOURLY) == pytest.approx(volatility_50, rel=1e-12)
    ranges = atr(bars.high, bars.low, bars.close)
    assert ranges.size == 237 - 14
    assert [ranges[0], ranges[-1]] == pytest.approx([first_atr, last_atr], rel=0, abs=1e-12)
    assert [array[-1] for array in bollinger(bars.close)] == pytest.approx(bands, rel=0, abs=1e-12)
    assert sma(bars.close, 30)[-1] == pytest.approx(sma_30, rel=0, abs=1e-12)


def test_measures_of_a_long_stretch_are_near_those_of_another_source(fx_data: Path) -> None:
    # Those of 5000 H1 bars of another provider from 2017-04-19 09:00 to 2018-02-07 15:00, on which these functions give 0.07355,
    # 0.07226, 0.07271, 0.07569, 0.1129 and 0.0940. OANDA's bars of that time are 4977 with other opens and extremes.
    bars = _hours(fx_data, "eurusd", "20170419 09:00", "20180207 15:01")
    assert bars.close.size == 4977
    assert close_to_close(bars.close, _HOURLY) == pytest.approx(0.07355, rel=0.002)
    assert parkinson(bars.high, bars.low, _HOURLY) == pytest.approx(0.07226, rel=0.03)
    assert garman_klass(*bars, _HOURLY) == pytest.approx(0.07271, rel=0.03)
    assert yang_zhang(*bars, _HOURLY) == pytest.approx(0.07569, rel=0.03)
    assert ewma(bars.close, _HOURLY)[-1] == pytest.approx(0.1129, rel=0.05)
    assert close_to_close(bars.close[-21:], _HOURLY) == pytest.approx(0.0940, rel=0.05)


def test_bars_per_year_are_close_to_those_recorded(fx_data: Path) -> None:
    recorded = _hours(fx_data, "eurusd", "2010", "2018").close.size / 8
    assert recorded == pytest.approx(6197, abs=0.5)
    assert pytest.approx(recorded, rel=0.008) == _HOURLY == 6240
    assert list(BARS_PER_YEAR) == list(Granularity)
    assert list(BARS_PER_YEAR.values()) == [374_400, 74_880, 24_960, 6240, 1560, 260, 52, 12]


def test_recorded_hours_that_are_smoothed_have_no_gaps_left(fx_data: Path) -> None:
    bars = _hours(fx_data, "eurusd", *_DAYS_2014)
    assert np.array_equal(bars.open[1:], bars.close[:-1])


def test_a_true_range_takes_in_the_gap_before_the_bar() -> None:
    high, low, close = np.array([1.10, 1.13, 1.11]), np.array([1.09, 1.12, 1.08]), np.array([1.095, 1.125, 1.10])
    # From 1.095 up to 1.13, and from 1.125 down to 1.08; each is more than the bar's own range.
    assert atr(high, low, close, 1).tolist() == pytest.approx([0.035, 0.045])
    assert atr(high, low, close, 2).tolist() == pytest.approx([0.04])


def test_prices_that_stand_still_have_no_volatility() -> None:
    still = np.full(30, 7.8)
    bars = _Bars(still, still, still, still)
    assert close_to_close(still, _HOURLY) == 0
    assert ewma(still, _HOURLY).tolist() == [0] * 10
    assert parkinson(still, still, _HOURLY) == 0
    assert [measure(*bars, _HOURLY) for measure in (garman_klass, yang_zhang)] == [0, 0]
    assert atr(still, still, still).tolist() == [0] * 16
    assert all(band.tolist() == pytest.approx([7.8] * 11) for band in bollinger(still))


_RISING = np.linspace(1.0, 1.1, 40)

# Each measure of a number of bars that is enough, and of one bar less.
_MEASURES: list[tuple[int, Callable[[FloatArray], object]]] = [
    (2, log_returns),
    (3, lambda prices: close_to_close(prices, 260)),
    (21, lambda prices: ewma(prices, 260)),
    (1, lambda prices: parkinson(prices, prices, 260)),
    (1, lambda prices: garman_klass(prices, prices, prices, prices, 260)),
    (3, lambda prices: yang_zhang(prices, prices, prices, prices, 260)),
    (7, lambda prices: sma(prices, 7)),
    (20, bollinger),
    (15, lambda prices: atr(prices, prices, prices)),
]


@pytest.mark.parametrize(("least", "measure"), _MEASURES)
def test_too_few_bars_are_an_error(least: int, measure: Callable[[FloatArray], object]) -> None:
    measure(_RISING[:least])
    with pytest.raises(ValueError, match=f"at least {least} values are needed, not {least - 1}"):
        measure(_RISING[: least - 1])


@pytest.mark.parametrize(("least", "measure"), _MEASURES)
@pytest.mark.parametrize("price", [0.0, -1.1, math.nan, math.inf])
def test_a_price_that_is_none_is_an_error(least: int, measure: Callable[[FloatArray], object], price: float) -> None:
    prices = _RISING.copy()
    prices[least // 2] = price
    with pytest.raises(ValueError, match="positive and finite"):
        measure(prices)


@pytest.mark.parametrize(("least", "measure"), _MEASURES)
def test_a_table_of_prices_is_an_error(least: int, measure: Callable[[FloatArray], object]) -> None:
    with pytest.raises(ValueError, match="one-dimensional"):
        measure(_RISING.reshape(2, 20))


def test_arrays_of_unequal_length_are_an_error() -> None:
    with pytest.raises(ValueError, match="equal length"):
        parkinson(_RISING, _RISING[1:], 260)


@pytest.mark.parametrize("bar", [(1.1, 1.2, 1.0, 1.21), (1.1, 1.2, 1.0, 0.99), (1.21, 1.2, 1.0, 1.1), (0.99, 1.2, 1.0, 1.1)])
def test_a_bar_that_leaves_its_own_range_is_an_error(bar: tuple[float, float, float, float]) -> None:
    bars = _Bars(*(np.array([price]) for price in bar))
    with pytest.raises(ValueError, match="between its bar's low and high"):
        garman_klass(*bars, 260)
    with pytest.raises(ValueError, match="between its bar's low and high"):
        parkinson(bars.low, bars.high, 260)


@pytest.mark.parametrize("period", [0, -1])
def test_a_period_without_bars_is_an_error(period: int) -> None:
    with pytest.raises(ValueError, match="one bar or more"):
        sma(_RISING, period)
    with pytest.raises(ValueError, match="one bar or more"):
        atr(_RISING, _RISING, _RISING, period)


@pytest.mark.parametrize("decay", [0, 1, -0.5, 1.1, math.nan])
def test_a_decay_lies_between_zero_and_one(decay: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        ewma(_RISING, 260, decay)
    with pytest.raises(ValueError, match="between 0 and 1"):
        exponential_mean(_RISING, decay)


def test_an_exponential_mean_begins_with_twenty_values_of_any_sign() -> None:
    values = np.array([-1.0, 1.0] * 10 + [4.0])
    assert exponential_mean(values, 0.75).tolist() == [0, 1]
    with pytest.raises(ValueError, match="at least 20"):
        exponential_mean(values[:19], 0.75)
