"""Bars of a pair, read a part at a time, so that nobody who asks for many of them holds up the streams."""

from collections.abc import AsyncIterator
from datetime import datetime

from app.http.gateway import Gateway
from app.market.bars.candle import Candle, Granularity
from app.market.pair import CurrencyPair
from app.market.source import Sources

_AT_A_TIME = 1000
"""Reading so many holds the event loop for some 15 ms, which is as long as streams may wait."""


async def page_of_bars(
    gateway: Gateway, pair: CurrencyPair, granularity: Granularity, start: datetime | None, end: datetime | None, limit: int
) -> list[Candle]:
    """Bars that start in ``[start, end)``, as ``Candles.page`` gives them. Raises DatabaseUnavailable."""
    bars: list[Candle] = []
    while len(bars) < limit:
        size = min(limit - len(bars), _AT_A_TIME)
        part = await gateway.from_database(gateway.candles.page(pair, granularity, start=start, end=end, limit=size))
        if start is None:
            bars = part + bars
        else:
            bars += part
        if len(part) < size:
            break
        if start is None:
            end = part[0].time
        else:
            start = part[-1].end
    return bars


async def newest_bars(
    gateway: Gateway, pair: CurrencyPair, granularity: Granularity, count: int, until: datetime | None
) -> list[Candle]:
    """Up to ``count`` complete bars that had ended by ``until``, oldest first. They are all real or all invented.

    Raises DatabaseUnavailable.
    """
    bars: list[Candle] = []
    async for stretch in _stretches(gateway, pair, granularity, count, until):
        bars = stretch + bars
    return bars


async def _stretches(
    gateway: Gateway, pair: CurrencyPair, granularity: Granularity, count: int, until: datetime | None
) -> AsyncIterator[list[Candle]]:
    """The bars in parts, the newest part first, each oldest first, up to the first that is invented where the newest is not."""
    left, invented = count, None
    while left:
        size = min(left, _AT_A_TIME)
        found = await gateway.from_database(
            gateway.candles.newest([pair], granularity, size, until=until, real_only=gateway.real_only)
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
    """The last of the bars that are all invented, or all not."""
    length = 0
    while length < len(bars) and sources.is_invented(bars[-1 - length].source) is invented:
        length += 1
    return bars[len(bars) - length :]
