"""Keep the trading days of all pairs in memory, so that prices show their change of the day without a query each."""

import asyncio
import logging

from app.errors import DatabaseUnavailable
from app.market.clock import utc_now
from app.market.pair import TrackedPairs
from app.realtime.monitoring.view import PriceView
from app.storage.market.candles import Candles

_EVERY = 5.0

_logger = logging.getLogger(__name__)


async def keep_trading_days(prices: PriceView, candles: Candles, pairs: TrackedPairs) -> None:
    """Read the days from the database every few seconds, until cancelled. While it does not answer, keep the last ones.

    They are the days of the newest prices, which a replay may give their original times.
    """
    answered = True
    while True:
        try:
            days = await candles.days(list(pairs), prices.newest_time or utc_now())
        except DatabaseUnavailable as error:
            if answered:
                _logger.warning("the change of the day may be out of date: %s", error)
            answered = False
        else:
            answered = True
            prices.days = {pair.name: day for pair, day in days.items()}
        await asyncio.sleep(_EVERY)
