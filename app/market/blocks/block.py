"""Bars of one pair and length as columns of integers: the form in which long histories are read and stored."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.blocks.starts import Micros, moment_of, starts
from app.market.pair import CurrencyPair

Prices = NDArray[np.int64]
"""An array of four rows: open, high, low and close."""


@dataclass(frozen=True, slots=True, eq=False)
class BarBlock:
    """Complete bars of one pair, length and source, in order of time, with unique start times.

    ``times`` are their starts, in microseconds since 1970. Prices are integers in units of ``10 ** -decimals``, in four rows:
    open, high, low and close.
    """

    pair: CurrencyPair
    granularity: Granularity
    source: str
    times: Micros
    bid: Prices
    mid: Prices
    ask: Prices
    decimals: int
    volumes: NDArray[np.int64]
    of: Granularity | None = None
    """The length of the bars that these were aggregated from; None for bars of a file."""
    counts: NDArray[np.int64] | None = None
    """How many bars each of these was aggregated from; None for bars of a file."""

    def __len__(self) -> int:
        return len(self.times)

    def part(self, first: int, last: int) -> "BarBlock":
        """Return the bars with indexes in ``[first, last)``."""
        return self._of(slice(first, last))

    def take(self, chosen: NDArray[np.bool_]) -> "BarBlock":
        """Return the bars that are chosen."""
        return self._of(chosen)

    def _of(self, places: slice | NDArray[np.bool_]) -> "BarBlock":
        bid, mid, ask = (prices[:, places] for prices in (self.bid, self.mid, self.ask))
        counts = None if self.counts is None else self.counts[places]
        return BarBlock(
            self.pair,
            self.granularity,
            self.source,
            self.times[places],
            bid,
            mid,
            ask,
            self.decimals,
            self.volumes[places],
            self.of,
            counts,
        )

    def parts(self, length: int) -> Iterator["BarBlock"]:
        """Yield the bars in blocks of at most ``length``."""
        for first in range(0, len(self), length):
            yield self.part(first, first + length)

    def candles(self) -> Iterator[Candle]:
        """Yield the bars one by one."""
        columns = (*self.bid, *self.mid, *self.ask)
        prices = [[Decimal(int(price)).scaleb(-self.decimals) for price in column] for column in columns]
        for row, time in enumerate(self.times):
            bid, mid, ask = (Ohlc(*(column[row] for column in prices[side : side + 4])) for side in (0, 4, 8))
            volume = int(self.volumes[row])
            yield Candle(self.pair, self.granularity, moment_of(time), bid, mid, ask, volume, complete=True, source=self.source)

    def aggregate(self, granularity: Granularity) -> "BarBlock":
        """Return the larger bars that these add up to, as complete. Raises ValueError if the lengths do not divide."""
        if not self.granularity.divides(granularity):
            raise ValueError(f"{self.granularity} bars do not add up to {granularity} bars")
        times = starts(self.times, granularity)
        first = np.flatnonzero(np.append(True, times[1:] != times[:-1])) if len(times) else np.empty(0, np.int64)
        bid, mid, ask = (joined(prices, first) for prices in (self.bid, self.mid, self.ask))
        volumes = np.add.reduceat(self.volumes, first) if len(first) else self.volumes
        counts = np.diff(np.append(first, len(times)))
        return BarBlock(
            self.pair, granularity, self.source, times[first], bid, mid, ask, self.decimals, volumes, self.granularity, counts
        )


def joined(prices: Prices, first: Micros) -> Prices:
    """Return the prices of groups of bars; ``first`` are the indexes at which groups begin."""
    if not len(first):
        return prices[:, :0]
    last = np.append(first[1:], prices.shape[1]) - 1
    high, low = np.maximum.reduceat(prices[1], first), np.minimum.reduceat(prices[2], first)
    return np.stack([prices[0][first], high, low, prices[3][last]])


def join_blocks(blocks: list[BarBlock]) -> BarBlock:
    """Concatenate consecutive blocks of one series, at least one."""
    first = blocks[0]
    decimals = max(block.decimals for block in blocks)
    scales = [10 ** (decimals - block.decimals) for block in blocks]
    bid, mid, ask = (
        np.concatenate([getattr(block, side) * scale for block, scale in zip(blocks, scales, strict=True)], axis=1)
        for side in ("bid", "mid", "ask")
    )
    times = np.concatenate([block.times for block in blocks])
    volumes = np.concatenate([block.volumes for block in blocks])
    return BarBlock(first.pair, first.granularity, first.source, times, bid, mid, ask, decimals, volumes)
