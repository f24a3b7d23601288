"""Measures and correlations over time: their value at the end of every bar of a series.

The value at a bar is that of ``app.market.measures.measures.measure`` for the bars up to it, except for the exponential
volatility and the true range, which here remember the whole series before it.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from app.market.bars.mid_bars import MidBars
from app.market.measures import volatility
from app.market.measures.correlation import Closes, Correlation
from app.market.measures.volatility import FloatArray


def rolling(mids: MidBars, bars_per_year: float) -> dict[str, FloatArray]:
    """Return each measure at the end of each bar: NaN where it needs more bars.

    The keys are the names of the figures in ``Measures``.
    """
    open_, high, low, close = mids.open, mids.high, mids.low, mids.close
    size = close.size
    at_end = _AtEnd(size)
    returns = np.diff(np.log(close))
    body, range_ = np.log(close / open_), np.log(high / low)
    rogers_satchell = np.log(high / close) * np.log(high / open_) + np.log(low / close) * np.log(low / open_)
    garman_klass = range_**2 / 2 - (2 * np.log(2) - 1) * body**2
    gaps = np.log(open_[1:] / close[:-1])
    k = 0.34 / (1.34 + 21 / 19)
    yang_zhang = (
        at_end.of(gaps, 20, _variance)
        + k * at_end.of(body[1:], 20, _variance)
        + (1 - k) * at_end.of(rogers_satchell[1:], 20, _mean)
    )
    middle, spread = at_end.of(close, 20, _mean), at_end.of(close, 20, lambda windows: windows.std(axis=1))
    squares = {
        "volatility_20": at_end.of(returns, 20, _variance),
        "volatility_50": at_end.of(returns, 50, _variance),
        "realized": at_end.of(returns**2, 20, _mean),
        "parkinson": at_end.of(range_**2, 20, _mean) / (4 * np.log(2)),
        "garman_klass": at_end.of(garman_klass, 20, _mean),
        "rogers_satchell": at_end.of(rogers_satchell, 20, _mean),
        "yang_zhang": yang_zhang,
    }
    enough = size > volatility.EWMA_SEED
    return {
        **{name: np.sqrt(bars_per_year * np.maximum(square, 0)) for name, square in squares.items()},
        "ewma": at_end.padded(volatility.ewma(close, bars_per_year) if enough else np.empty(0)),
        **{f"sma_{period}": at_end.of(close, period, _mean) for period in (15, 30, 50)},
        "bb_upper": middle + 2 * spread,
        "bb_middle": middle,
        "bb_lower": middle - 2 * spread,
        "atr": at_end.padded(volatility.atr(high, low, close) if size > 14 else np.empty(0)),
    }


ROLLING = (
    "volatility_20", "volatility_50", "realized", "parkinson", "garman_klass", "rogers_satchell", "yang_zhang", "ewma",
    "sma_15", "sma_30", "sma_50", "bb_upper", "bb_middle", "bb_lower", "atr",
)  # fmt: skip
"""The keys of ``rolling``."""


def rolling_correlation(
    first: Closes, second: Closes, window: int, measure: Callable[[Closes, Closes, int], Correlation]
) -> Mapping[datetime, Correlation]:
    """Return the correlation at each bar that both series have, of the last ``window`` such bars: ``window`` − 1 returns.

    ``measure`` is ``pearson`` or ``ewma`` of ``app.market.measures.correlation``. Bars before the ``window``-th are left out.
    """
    times = sorted(first.keys() & second.keys())
    found = {}
    for end in range(window, len(times) + 1):
        of_window = times[end - window : end]
        found[of_window[-1]] = measure(
            {time: first[time] for time in of_window}, {time: second[time] for time in of_window}, window - 1
        )
    return found


class _AtEnd:
    """Puts figures of windows at the ends of their windows, within arrays of one element for each bar."""

    def __init__(self, size: int) -> None:
        self._size = size

    def of(self, values: FloatArray, period: int, figure: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """Return the figure of every ``period`` values in a row; the last value belongs to the last bar."""
        if values.size < period:
            return self.padded(np.empty(0))
        return self.padded(figure(sliding_window_view(values, period)))

    def padded(self, values: FloatArray) -> FloatArray:
        """Return the values with NaN before them."""
        return np.concatenate([np.full(self._size - values.size, np.nan), values])


def _mean(windows: FloatArray) -> FloatArray:
    return np.asarray(windows.mean(axis=1))


def _variance(windows: FloatArray) -> FloatArray:
    return np.asarray(windows.var(axis=1, ddof=1))
