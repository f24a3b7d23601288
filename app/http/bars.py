"""Bars of a pair, read in batches, so that a request for many of them does not delay the streams."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from app.http.files.exports import BATCH
from app.http.gateway import Gateway
from app.market.bars.candle import Granularity
from app.market.bars.mid_bars import MidBars
from app.market.clock import parse_time
from app.market.pair import CurrencyPair
from app.storage.market.bar_texts import BarTexts

_FIRST = datetime(1900, 1, 1, tzinfo=UTC)


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


async def newest_mids(
    gateway: Gateway, pair: CurrencyPair, granularity: Granularity, count: int, until: datetime | None
) -> MidBars | None:
    """Return the mids of up to ``count`` complete bars that had ended by ``until``, either all real or all simulated; or None.

    Raises DatabaseUnavailable.
    """
    read = gateway.stores.candles.mids
    return await gateway.from_database(read(pair, granularity, count, until=until, real_only=gateway.real_only))
