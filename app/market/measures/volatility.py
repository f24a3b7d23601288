"""How much a pair moves: returns, volatility, averages, bands and true range.

Pure functions of one-dimensional arrays, oldest bar first, one element per bar. A volatility is the standard deviation of log
returns in a year, as a decimal: 0.0724 is 7.24 %. ``bars_per_year``, N in the formulas, is the number of bars of that length in
a year (``BARS_PER_YEAR``). O, H, L and C are a bar's open, high, low and close; n is the number of terms in a sum.

The time between bars is ignored, so a weekend counts as one step. That is intended: its risk is real. Where open and close
differ over such gaps, Yang–Zhang accounts for both the gaps and the ranges; the other range measures leave gaps out.

Every function raises ValueError for too few bars, arrays that are not one-dimensional or of unequal length, prices that are
not positive and finite, and bars whose open or close lies outside their low and high.
"""

from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from app.market.bars.candle import Granularity

FloatArray = NDArray[np.float64]

_TRADING_DAYS = 260

BARS_PER_YEAR = MappingProxyType(
    {
        Granularity.M1: _TRADING_DAYS * 24 * 60,
        Granularity.M5: _TRADING_DAYS * 24 * 12,
        Granularity.M15: _TRADING_DAYS * 24 * 4,
        Granularity.H1: _TRADING_DAYS * 24,
        Granularity.H4: _TRADING_DAYS * 6,
        Granularity.D: _TRADING_DAYS,
        Granularity.W: 52,
        Granularity.M: 12,
    }
)
"""Bars in a year of 52 weeks of five full trading days. Holidays take 0.7 % of the hours, which is 0.3 % of a volatility."""

RISKMETRICS_DECAY = 0.94
"""The λ of RiskMetrics for daily bars. The memory, 1 / (1 − λ), is 17 bars, whatever their length."""

EWMA_SEED = 20
"""The number of first values whose plain mean starts an exponential mean."""


class Bands(NamedTuple):
    """Bollinger bands, in price units: three arrays of equal length."""

    lower: FloatArray
    middle: FloatArray
    upper: FloatArray


def log_returns(prices: FloatArray) -> FloatArray:
    """Return r_t = ln(P_t / P_{t−1}), for two prices or more: one element fewer than ``prices``."""
    _check(2, prices)
    return np.diff(np.log(prices))


def close_to_close(close: FloatArray, bars_per_year: float) -> float:
    """Return the historical volatility √N · s, where s is the sample standard deviation (ddof 1) of the log returns.

    Needs three closes or more. The definition is ``close`` of the R package TTR, whose n counts closes.
    """
    _check(3, close)
    return float(np.sqrt(bars_per_year) * np.std(log_returns(close), ddof=1))


def ewma(close: FloatArray, bars_per_year: float, decay: float = RISKMETRICS_DECAY) -> FloatArray:
    """Return the exponentially weighted volatility √(N · σ²_t), with σ²_t = λσ²_{t−1} + (1 − λ)r²_t and λ = ``decay``.

    The mean return is taken as zero, and σ² starts as the mean square of the first 20 returns. One element for each return
    from the 20th on: 20 fewer than ``close``, which needs 21 or more. Source: RiskMetrics Technical Document, 1996.
    """
    _check(EWMA_SEED + 1, close)
    return np.sqrt(bars_per_year * exponential_mean(log_returns(close) ** 2, decay))


def exponential_mean(values: FloatArray, decay: float) -> FloatArray:
    """Return m_t = λm_{t−1} + (1 − λ)v_t, started with the plain mean of the first 20 values; λ = ``decay``, between 0 and 1.

    One element for each value from the 20th on: 19 fewer than ``values``, which may have any sign.
    """
    if not 0 < decay < 1:
        raise ValueError(f"a decay must lie between 0 and 1: {decay}")
    _check_length(EWMA_SEED, values)
    means = [float(np.mean(values[:EWMA_SEED]))]
    for value in values[EWMA_SEED:].tolist():
        means.append(decay * means[-1] + (1 - decay) * value)
    return np.array(means)


def parkinson(high: FloatArray, low: FloatArray, bars_per_year: float) -> float:
    """Return √(N / (4n ln 2) · Σ ln(H/L)²), for one bar or more; exact when there is neither drift nor gap.

    Source: Parkinson, The Extreme Value Method for Estimating the Variance of the Rate of Return, 1980.
    """
    _check_bars(1, high, high, low, low)
    return float(np.sqrt(bars_per_year * np.mean(np.log(high / low) ** 2) / (4 * np.log(2))))


def garman_klass(open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, bars_per_year: float) -> float:
    """Return √(N/n · Σ [½ ln(H/L)² − (2 ln 2 − 1) ln(C/O)²]), for one bar or more; exact when there is neither drift nor gap.

    Source: Garman and Klass, On the Estimation of Security Price Volatilities from Historical Data, 1980.
    """
    _check_bars(1, open_, high, low, close)
    terms = np.log(high / low) ** 2 / 2 - (2 * np.log(2) - 1) * np.log(close / open_) ** 2
    return float(np.sqrt(bars_per_year * np.mean(terms)))


def rogers_satchell(open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, bars_per_year: float) -> float:
    """Return √(N/n · Σ [ln(H/C) ln(H/O) + ln(L/C) ln(L/O)]), for one bar or more; exact with any drift, when there is no gap.

    Source: Rogers and Satchell, Estimating Variance from High, Low and Closing Prices, 1991.
    """
    _check_bars(1, open_, high, low, close)
    return float(np.sqrt(bars_per_year * max(0.0, _rogers_satchell_variance(open_, high, low, close))))


def realized(close: FloatArray, bars_per_year: float) -> float:
    """Return the realized volatility √(N/n · Σ r²_t) of the n log returns, for two closes or more: their mean is taken as zero.

    Source: Andersen, Bollerslev, Diebold and Labys, The Distribution of Realized Exchange Rate Volatility, 2001.
    """
    return float(np.sqrt(bars_per_year * np.mean(log_returns(close) ** 2)))


def yang_zhang(open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, bars_per_year: float) -> float:
    """Return √(N · (s²_o + k·s²_c + (1 − k)·σ²_rs)), with k = 0.34 / (1.34 + (n + 1) / (n − 1)); with any drift and gaps.

    s²_o and s²_c are the sample variances (ddof 1) of ln(O_t / C_{t−1}) and of ln(C_t / O_t), and σ²_rs is the variance of
    Rogers and Satchell. The first bar contributes only its close, so n is one less than the number of bars, which is three or
    more. Smoothed bars, each opening at the previous close, have no gaps left to measure: s²_o is then zero.
    Source: Yang and Zhang, Drift-Independent Volatility Estimation, 2000, with the k of the R package TTR.
    """
    _check_bars(3, open_, high, low, close)
    n = close.size - 1
    k = 0.34 / (1.34 + (n + 1) / (n - 1))
    gaps = np.var(np.log(open_[1:] / close[:-1]), ddof=1)
    bodies = np.var(np.log(close[1:] / open_[1:]), ddof=1)
    ranges = _rogers_satchell_variance(open_[1:], high[1:], low[1:], close[1:])
    return float(np.sqrt(bars_per_year * (gaps + k * bodies + (1 - k) * ranges)))


def sma(prices: FloatArray, period: int) -> FloatArray:
    """Return the mean of every ``period`` prices in a row, in price units: ``period`` − 1 elements fewer than ``prices``."""
    return np.asarray(_windows(prices, period).mean(axis=1))


def bollinger(close: FloatArray, period: int = 20, width: float = 2.0) -> Bands:
    """Return ``sma`` and ``width`` standard deviations on either side, of the population (ddof 0): as long as ``sma``.

    Source: Bollinger on Bollinger Bands, 2001; TA-Lib's BBANDS is the same.
    """
    windows = _windows(close, period)
    middle, half = windows.mean(axis=1), width * windows.std(axis=1)
    return Bands(middle - half, middle, middle + half)


def atr(high: FloatArray, low: FloatArray, close: FloatArray, period: int = 14) -> FloatArray:
    """Return the average true range, in price units: A_t = ((p − 1)·A_{t−1} + TR_t) / p, where p is the ``period``.

    TR_t = max(H_t − L_t, |H_t − C_{t−1}|, |L_t − C_{t−1}|) from the second bar on, and A starts as the mean of the first p of
    them. ``period`` elements fewer than ``close``, which needs ``period`` + 1 or more.
    Source: Wilder, New Concepts in Technical Trading Systems, 1978; TA-Lib's ATR is the same.
    """
    _check_period(period)
    _check_bars(period + 1, close, high, low, close)
    before = close[:-1]
    true_ranges = np.maximum(high[1:], before) - np.minimum(low[1:], before)
    averages = [float(np.mean(true_ranges[:period]))]
    for true_range in true_ranges[period:].tolist():
        averages.append(((period - 1) * averages[-1] + true_range) / period)
    return np.array(averages)


def _rogers_satchell_variance(open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray) -> float:
    """Return the variance per bar, 1/n · Σ [ln(H/C) ln(H/O) + ln(L/C) ln(L/O)]; exact with any drift, when there is no gap.

    Source: Rogers and Satchell, Estimating Variance from High, Low and Closing Prices, 1991.
    """
    return float(np.mean(np.log(high / close) * np.log(high / open_) + np.log(low / close) * np.log(low / open_)))


def _windows(prices: FloatArray, period: int) -> FloatArray:
    """Return every ``period`` prices in a row, one row each."""
    _check_period(period)
    _check(period, prices)
    return sliding_window_view(prices, period)


def _check_period(period: int) -> None:
    if period < 1:
        raise ValueError(f"a period must be one bar or more: {period}")


def _check_bars(least: int, open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray) -> None:
    _check(least, open_, high, low, close)
    if np.any(low > np.minimum(open_, close)) or np.any(high < np.maximum(open_, close)):
        raise ValueError("every open and close must lie between its bar's low and high")


def _check(least: int, *prices: FloatArray) -> None:
    _check_length(least, *prices)
    if not all(np.all(np.isfinite(array) & (array > 0)) for array in prices):
        raise ValueError("prices must be positive and finite")


def _check_length(least: int, *arrays: FloatArray) -> None:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or arrays[0].ndim != 1:
        raise ValueError(f"arrays must be one-dimensional and of equal length: {sorted(shapes)}")
    if arrays[0].size < least:
        raise ValueError(f"at least {least} values are needed, not {arrays[0].size}")
