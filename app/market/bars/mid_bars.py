"""The mids of complete bars as arrays of floats, the form in which they are measured."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.market.bars.candle import Candle, Granularity
from app.market.pair import CurrencyPair
from app.market.source import UNKNOWN_SOURCES, Sources


@dataclass(frozen=True, slots=True, eq=False)
class MidBars:
    """The mids of complete bars of one pair and length, oldest first: at least one bar, and one element of an array for each.

    ``times`` are the starts of the bars, in UTC. ``simulated`` is True if any of them is invented.
    """

    pair: CurrencyPair
    granularity: Granularity
    times: Sequence[datetime]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    simulated: bool

    @classmethod
    def of(cls, candles: Sequence[Candle], sources: Sources = UNKNOWN_SOURCES) -> Self:
        """Return the mids of bars; ``sources`` tells which sources are invented.

        Raises ValueError for no bars, for bars of several pairs or lengths, for unfinished ones and for bars out of order.
        """
        if not candles:
            raise ValueError("measures need at least one bar")
        first = candles[0]
        if any((candle.pair, candle.granularity) != (first.pair, first.granularity) for candle in candles):
            raise ValueError("measures need bars of one pair and one length")
        if any(before.time >= after.time for before, after in pairwise(candles)) or not all(
            candle.complete for candle in candles
        ):
            raise ValueError("measures need complete bars in order of time")
        mids = [candle.mid for candle in candles]
        return cls(
            first.pair,
            first.granularity,
            [candle.time for candle in candles],
            _array(float(mid.open) for mid in mids),
            _array(float(mid.high) for mid in mids),
            _array(float(mid.low) for mid in mids),
            _array(float(mid.close) for mid in mids),
            any(sources.is_invented(candle.source) for candle in candles),
        )

    @property
    def end(self) -> datetime:
        """The end of the last bar, in UTC."""
        return self.granularity.end(self.times[-1])


def _array(prices: Iterable[float]) -> NDArray[np.float64]:
    return np.fromiter(prices, np.float64)
