"""Parsed rows as columns of integers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.market.bars.candle import Granularity
from app.market.blocks.block import Prices
from app.market.pair import CurrencyPair
from app.providers.bar_files.text.rows import Flags, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Rows of bars or ticks.

    ``time`` is in UTC and ``local`` on the clock that the file is written by, both in microseconds since 1970; ``line`` is that
    in the file. ``prices`` are those of each side there is, integers in units of ``10 ** -decimals``: four rows (open, high,
    low, close) for bars, one for ticks. ``pair`` and ``granularity`` are indexes into ``pairs`` and ``granularities``.
    """

    time: Ints
    local: Ints
    line: Ints
    prices: Mapping[str, Prices]
    decimals: int
    volume: Ints
    pair: Ints
    pairs: tuple[CurrencyPair, ...]
    granularity: Ints
    granularities: tuple[Granularity | None, ...]

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: Ints | Flags) -> "Frame":
        """Return the selected rows, in the order given."""
        return replace(
            self,
            time=self.time[rows],
            local=self.local[rows],
            line=self.line[rows],
            prices={side: prices[:, rows] for side, prices in self.prices.items()},
            volume=self.volume[rows],
            pair=self.pair[rows],
            granularity=self.granularity[rows],
        )

    @property
    def flat(self) -> Flags:
        """True for bars whose high equals the low, on every side."""
        flat = np.ones(len(self), bool)
        for prices in self.prices.values():
            flat &= (prices[1] == prices[2]) if len(prices) > 1 else False
        return flat


def concatenated(frames: Sequence[Frame]) -> Frame:
    """Concatenate the frames of one file, at least one."""
    first = frames[0]
    decimals = max(frame.decimals for frame in frames)
    scales = [10 ** (decimals - frame.decimals) for frame in frames]
    pairs = tuple(dict.fromkeys(pair for frame in frames for pair in frame.pairs))
    granularities = tuple(dict.fromkeys(granularity for frame in frames for granularity in frame.granularities))
    return Frame(
        time=np.concatenate([frame.time for frame in frames]),
        local=np.concatenate([frame.local for frame in frames]),
        line=np.concatenate([frame.line for frame in frames]),
        prices={
            side: np.concatenate([frame.prices[side] * scale for frame, scale in zip(frames, scales, strict=True)], axis=1)
            for side in first.prices
        },
        decimals=decimals,
        volume=np.concatenate([frame.volume for frame in frames]),
        pair=np.concatenate([_moved(frame.pair, frame.pairs, pairs) for frame in frames]),
        pairs=pairs,
        granularity=np.concatenate([_moved(frame.granularity, frame.granularities, granularities) for frame in frames]),
        granularities=granularities,
    )


def _moved(places: Ints, of: Sequence[object], into: Sequence[object]) -> Ints:
    """Translate indexes into one sequence to indexes into another."""
    return np.array([into.index(value) for value in of] or [0], np.int64)[places] if len(places) else places


def sides_of(frame: Frame) -> tuple[Prices, Prices, Prices]:
    """Return bids, mids and asks with one more decimal than the frame, so that mids are exact.

    Missing mids are halfway between bid and ask, price by price; a single price is used as bid, mid and ask.
    """
    prices = frame.prices
    if "bid" in prices and "ask" in prices:
        mids = prices["mid"] * 10 if "mid" in prices else (prices["bid"] + prices["ask"]) * 5
        return prices["bid"] * 10, mids, prices["ask"] * 10
    alone = next(iter(prices.values())) * 10
    return alone, alone, alone
