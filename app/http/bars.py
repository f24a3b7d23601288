"""Bars of a pair, read in batches, so that a request for many of them does not delay the streams."""

from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime

from app.http.files.exports import BATCH
from app.http.gateway import Gateway
from app.market.bars.candle import Candle, Granularity
from app.market.clock import parse_time
from app.market.pair import CurrencyPair
from app.market.source import Sources
from app.storage.market.bar_texts import BarTexts

_FIRST = datetime(1900, 1, 1, tzinfo=UTC)
_BATCH = 1000
"""Reading this many bars blocks the event loop for about 15 ms, which is as long as streams may wait."""


async def bars_in_batches(
    gateway: Gateway,
    pair: CurrencyPair,
    granularity: Granularity,
    start: datetime | None,
    end: datetime | None,
    limit: int | None,
) -> AsyncGenerator[list[BarTexts]]:
    """Yield the bars that start in ``[start, end)``, oldest first, without a limit all of them, each batch by a query of its own.

    With a limit and no start they are the last before the end. Raises DatabaseUnavailable.
    """
    read = gateway.stores.bar_texts.page
    if start is None and limit is not None:
        yield await gateway.from_database(read(pair, granularity, start=None, end=end, limit=limit))
        return
    following, left = start or _FIRST, limit
    while left is None or left > 0:
        size = BATCH if left is None else min(BATCH, left)
        bars = await gateway.from_database(read(pair, granularity, start=following, end=end, limit=size))
        if bars:
            yield bars
        if len(bars) < size:
            return
        following = granularity.end(parse_time(bars[-1].time))
        left = None if left is None else left - len(bars)


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
