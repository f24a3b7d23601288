"""Bars of a pair, read in batches, so that a request for many of them does not delay the streams."""

from collections.abc import AsyncIterator
from datetime import datetime

from app.http.gateway import Gateway
from app.market.bars.candle import Candle, Granularity
from app.market.pair import CurrencyPair
from app.market.source import Sources

_BATCH = 1000
"""Reading this many bars blocks the event loop for about 15 ms, which is as long as streams may wait."""


async def newest_bars(
    gateway: Gateway, pair: CurrencyPair, granularity: Granularity, count: int, until: datetime | None
) -> list[Candle]:
    """Return up to ``count`` complete bars that had ended by ``until``, oldest first, either all real or all simulated.

    Raises DatabaseUnavailable.
    """
    bars: list[Candle] = []
    async for batch in _batches(gateway, pair, granularity, count, until):
        bars = batch + bars
    return bars


async def _batches(
    gateway: Gateway, pair: CurrencyPair, granularity: Granularity, count: int, until: datetime | None
) -> AsyncIterator[list[Candle]]:
    """The bars in batches, the newest batch first, each oldest first. They end where real and simulated bars meet."""
    left, invented = count, None
    while left:
        size = min(left, _BATCH)
        found = await gateway.from_database(
            gateway.stores.candles.newest([pair], granularity, size, until=until, real_only=gateway.real_only)
        )
        bars = found.get(pair, [])
        if not bars:
            return
        if invented is None:
            invented = gateway.known_sources.is_invented(bars[-1].source)
        alike = _ending(bars, invented, gateway.known_sources)
        if alike:
            yield alike
        if len(alike) < size:
            return
        left, until = left - size, bars[0].time


def _ending(bars: list[Candle], invented: bool, sources: Sources) -> list[Candle]:
    """The longest end of the bars that is all invented, or all not."""
    length = 0
    while length < len(bars) and sources.is_invented(bars[-1 - length].source) is invented:
        length += 1
    return bars[len(bars) - length :]
