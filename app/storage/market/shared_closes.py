"""The closes that a correlation over a window of bars needs: those at the times that every two pairs share."""

from collections.abc import Sequence
from datetime import datetime
from itertools import combinations

from app.market.bars.candle import Granularity
from app.market.pair import CurrencyPair
from app.storage.market.candles import Candles, CloseSeries

_MOST_WINDOWS = 4
"""How many windows of bars are read to fill one. Two pairs with fewer bars in common there have a smaller window."""


async def shared_closes(
    candles: Candles,
    pairs: Sequence[CurrencyPair],
    granularity: Granularity,
    window: int,
    *,
    until: datetime | None = None,
    real_only: bool = False,
) -> dict[CurrencyPair, CloseSeries]:
    """Return closes as ``Candles.closes`` does, far enough back that every two pairs share ``window`` bar times.

    A bar that is missing in one series takes a time from both, so the last ``window`` bars of each pair are not enough. At
    most four windows of bars are read of each pair. Raises DatabaseUnavailable.
    """
    found = await candles.closes(pairs, granularity, window, until=until, real_only=real_only)
    count = window
    while count < _MOST_WINDOWS * window and (short := _short(found, window, count)):
        count *= 2
        found.update(await candles.closes(short, granularity, count, until=until, real_only=real_only))
    return found


def _short(found: dict[CurrencyPair, CloseSeries], window: int, count: int) -> list[CurrencyPair]:
    """Return the pairs of which more than ``count`` bars are needed, and which may have more."""
    short: dict[CurrencyPair, None] = {}
    for first, second in combinations(found, 2):
        if len(found[first].closes.keys() & found[second].closes.keys()) < window:
            for pair, other in ((first, second), (second, first)):
                if _may_share_more(found[pair], found[other], count):
                    short[pair] = None
    return list(short)


def _may_share_more(series: CloseSeries, other: CloseSeries, count: int) -> bool:
    """Return whether bars before those of ``series`` may be at times that ``other`` has, or may have."""
    if len(series.closes) < count:
        return False  # there are no more
    return len(other.closes) >= count or min(other.closes) < min(series.closes)
