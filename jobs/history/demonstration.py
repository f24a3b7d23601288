"""Simulated history, so that charts and measures have data at the first start of a gateway with simulated prices."""

import asyncio
import logging
from datetime import timedelta

from app.config import Settings
from app.market.bars.candle import Granularity
from app.market.clock import utc_now
from app.market.pair import TrackedPairs
from app.providers.simulated import TRAITS
from app.providers.simulated.demonstration import demonstration_candles
from app.sources import SOURCES
from app.storage.database.database import Database
from app.storage.market.candles import Candles
from jobs.history.aggregation import aggregate_stored

_MONTH = timedelta(days=30)

_logger = logging.getLogger(__name__)


async def fill(settings: Settings, database: Database) -> int:
    """If prices are simulated, store a month of hourly bars for every pair without any of that month; return the number of bars.

    The tables exist already. Raises DatabaseUnavailable, and SourceError for a pair that cannot be simulated.
    """
    if settings.source != (TRAITS.name,):
        return 0
    candles, now = Candles(database, SOURCES), utc_now()
    pairs = list(TrackedPairs(settings.tracked_pairs))
    newest = await candles.newest(pairs, Granularity.H1, 1)
    empty = [pair for pair in pairs if pair not in newest or newest[pair][-1].time < now - _MONTH]
    if not empty:
        return 0
    quotes_an_hour = settings.simulated_rate * 3600 / len(pairs)
    history = await asyncio.to_thread(demonstration_candles, empty, now, _MONTH.days, settings.simulated_seed, quotes_an_hour)
    bars = [bar for of_pair in history.values() for bar in of_pair]
    made = await candles.write(bars)
    for pair, of_pair in history.items():
        if of_pair:
            made += await aggregate_stored(candles, pair, Granularity.H1, of_pair[0].time, of_pair[-1].end, now)
    _logger.info("stored %d simulated bars of history for %d pairs", made, len(empty))
    return made
