"""Correlations of log returns between pairs, the matrix of them, and the ranking of pairs by use.

Closes are compared at the bar times that both series have, and a return runs from one such time to the next. A bar missing
in one series therefore lengthens a return of both, and never compares different hours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from itertools import combinations
from typing import NamedTuple

import numpy as np

from app.market.measures.volatility import EWMA_SEED, RISKMETRICS_DECAY, FloatArray, exponential_mean, log_returns
from app.market.pair import CurrencyPair

Closes = Mapping[datetime, float]
"""A close for each bar time, in any order. The times of all series are the starts of bars of the same length."""

MINIMUM_OBSERVATIONS = 60
"""Out of the 100 or so in a window. With fewer, a correlation says more about chance than about the pairs."""


class Correlation(NamedTuple):
    """ρ from −1 to 1, None when unknown, and the number of returns of both series that it was computed from."""

    value: float | None
    observations: int


_ROUNDING = 1e-24
"""The variance per bar of returns that differ by no more than the rounding of their prices."""

Measure = Callable[[Closes, Closes], Correlation]
Matrix = Mapping[CurrencyPair, Mapping[CurrencyPair, Correlation]]


def pearson(first: Closes, second: Closes, minimum: int = MINIMUM_OBSERVATIONS) -> Correlation:
    """Return Pearson's ρ = Σ(x − x̄)(y − ȳ) / √(Σ(x − x̄)² · Σ(y − ȳ)²), where x and y are the log returns of the two series.

    The value is None with fewer than ``minimum`` returns, and when the returns of one series are all the same. Raises
    ValueError for closes that are not positive and finite, and for a ``minimum`` below 20.
    """
    return _correlation(first, second, minimum, _pearson)


def ewma(first: Closes, second: Closes, minimum: int = MINIMUM_OBSERVATIONS, decay: float = RISKMETRICS_DECAY) -> Correlation:
    """Return ρ = c / √(v_x · v_y), the exponential means of xy, x² and y² at the last return: recent returns weigh more.

    Mean returns are taken as zero, and the means start and decay as in ``volatility.ewma``. The value is None with fewer than
    ``minimum`` returns, and when one series does not move. Raises as ``pearson`` does; also ValueError for a ``decay`` outside
    0 to 1.
    Source: RiskMetrics Technical Document, 1996.
    """
    return _correlation(first, second, minimum, partial(_exponential, decay=decay))


def matrix(closes: Mapping[CurrencyPair, Closes], measure: Measure = pearson, window: int | None = None) -> Matrix:
    """Return the correlation of every pair with every other and itself, in the order of ``closes``; the matrix is symmetric.

    Each cell uses the last ``window`` bar times that its two pairs share, by default all, so the numbers of observations may
    differ.
    """
    cells: dict[CurrencyPair, dict[CurrencyPair, Correlation]] = {pair: {} for pair in closes}
    # Filled row by row, so that every row is in the order of the pairs too.
    pairs = list(closes)
    for number, row in enumerate(pairs):
        for column in pairs[number:]:
            cells[row][column] = cells[column][row] = measure(*_last_shared(closes[row], closes[column], window))
    return cells


class Category(StrEnum):
    """What a correlation is good for."""

    HEDGING = "hedging"
    DIVERSIFICATION = "diversification"
    MODERATE = "moderate"
    HIGH_CORRELATION = "high_correlation"

    @classmethod
    def of(cls, correlation: float) -> "Category":
        """Return the category: hedging below −0.4, then diversification below 0.4, moderate below 0.7, then high correlation."""
        if correlation < -0.4:
            return cls.HEDGING
        if correlation < 0.4:
            return cls.DIVERSIFICATION
        return cls.MODERATE if correlation < 0.7 else cls.HIGH_CORRELATION


_REASONS = {
    Category.HEDGING: "They tend to move against each other: a position in one offsets the same position in the other.",
    Category.DIVERSIFICATION: "They move largely apart from each other: positions in both spread the risk.",
    Category.MODERATE: "They tend to move together: positions in both share a part of their risk.",
    Category.HIGH_CORRELATION: "They move almost as one: positions in both double the risk.",
}


@dataclass(frozen=True, slots=True)
class RankedPair:
    """Two pairs, their correlation, and their ``rank`` within its category; rank 1 is the best example."""

    first: CurrencyPair
    second: CurrencyPair
    correlation: float
    observations: int
    category: Category
    rank: int

    @property
    def reason(self) -> str:
        """What the category means for a trader who holds both pairs, in a sentence."""
        return _REASONS[self.category]


def rank(correlations: Matrix) -> list[RankedPair]:
    """Return every two pairs with a known correlation, category by category and in the order of their rank.

    The best for diversification is the correlation nearest to zero, in the other categories the one farthest from it. Ties
    keep the order of the matrix.
    """
    found: dict[Category, list[tuple[CurrencyPair, CurrencyPair, float, int]]] = {category: [] for category in Category}
    for first, second in combinations(correlations, 2):
        value, observations = correlations[first][second]
        if value is not None:
            found[Category.of(value)].append((first, second, value, observations))
    return [
        RankedPair(*entry, category, number)
        for category, entries in found.items()
        for number, entry in enumerate(sorted(entries, key=partial(_order, category)), start=1)
    ]


def _order(category: Category, entry: tuple[CurrencyPair, CurrencyPair, float, int]) -> float:
    """Return the sort key by which the best of a category comes first."""
    strength = abs(entry[2])
    return strength if category is Category.DIVERSIFICATION else -strength


def _last_shared(first: Closes, second: Closes, window: int | None) -> tuple[Closes, Closes]:
    """Return the closes at the last ``window`` times that both have."""
    if window is None or max(len(first), len(second)) <= window:
        return first, second
    times = sorted(first.keys() & second.keys())[-window:]
    return {time: first[time] for time in times}, {time: second[time] for time in times}


def _correlation(
    first: Closes, second: Closes, minimum: int, measure: Callable[[FloatArray, FloatArray], float | None]
) -> Correlation:
    if minimum < EWMA_SEED:
        raise ValueError(f"a correlation needs {EWMA_SEED} returns or more, not {minimum}")
    times = sorted(first.keys() & second.keys())
    observations = max(len(times) - 1, 0)
    if observations < minimum:
        return Correlation(None, observations)
    x = log_returns(np.array([first[time] for time in times], dtype=np.float64))
    y = log_returns(np.array([second[time] for time in times], dtype=np.float64))
    return Correlation(measure(x, y), observations)


def _pearson(x: FloatArray, y: FloatArray) -> float | None:
    x, y = x - x.mean(), y - y.mean()
    return _ratio(float((x * y).mean()), float((x * x).mean()), float((y * y).mean()))


def _exponential(x: FloatArray, y: FloatArray, decay: float) -> float | None:
    covariance, variance_x, variance_y = (float(exponential_mean(product, decay)[-1]) for product in (x * y, x * x, y * y))
    return _ratio(covariance, variance_x, variance_y)


def _ratio(covariance: float, variance_x: float, variance_y: float) -> float | None:
    """Return ρ, kept within −1 and 1 despite rounding; None when it is not defined."""
    if min(variance_x, variance_y) < _ROUNDING:
        return None
    return max(-1.0, min(1.0, covariance / float(np.sqrt(variance_x * variance_y))))
