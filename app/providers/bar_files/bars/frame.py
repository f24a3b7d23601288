"""Rows that were read, as columns of whole numbers."""

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
    in the file. ``prices`` are those of each side there is, whole numbers of 10 to the minus ``decimals``: for bars four rows,
    of open, high, low and close, for ticks one. ``pair`` and ``granularity`` are places in ``pairs`` and ``granularities``.
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
        """Some of the rows, in the order given."""
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
        """True for bars whose four prices are the same, on each side there is."""
        flat = np.ones(len(self), bool)
        for prices in self.prices.values():
            flat &= (prices[1] == prices[2]) if len(prices) > 1 else False
        return flat


def concatenated(frames: Sequence[Frame]) -> Frame:
    """Frames of one file, at least one, as one: their sides are the same."""
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
    """Places in one list as places in another."""
    return np.array([into.index(value) for value in of] or [0], np.int64)[places] if len(places) else places


def sides_of(frame: Frame) -> tuple[Prices, Prices, Prices]:
    """Bids, mids and asks at one decimal more than the frame's, so that mids are exact.

    Mids that a file lacks are halfway between bid and ask, price by price; one price alone is bid, mid and ask.
    """
    prices = frame.prices
    if "bid" in prices and "ask" in prices:
        mids = prices["mid"] * 10 if "mid" in prices else (prices["bid"] + prices["ask"]) * 5
        return prices["bid"] * 10, mids, prices["ask"] * 10
    alone = next(iter(prices.values())) * 10
    return alone, alone, alone
