"""Simulated history, so that charts and measures have data at the first start of a gateway with simulated prices."""

import asyncio
import logging
from datetime import timedelta

from app.config import Settings
from app.market.bars.candle import Candle, Granularity
from app.market.clock import utc_now
from app.market.pair import TrackedPairs
from app.providers.simulated import TRAITS
from app.providers.simulated.demonstration import histories
from app.sources import SOURCES
from app.storage.database.database import Database
from app.storage.market.candles import Candles
from app.storage.recording import Recording

_MONTH = timedelta(days=30)

_logger = logging.getLogger(__name__)


async def fill(settings: Settings, database: Database) -> int:
    """If prices are simulated, store bars of every length for each pair without hours of the last month; return how many.

    The tables exist already, and the recorder does not run yet: on its first start it continues the bars that are not over.
    Raises DatabaseUnavailable, and SourceError for a pair that cannot be simulated.
    """
    if settings.source != (TRAITS.name,):
        return 0
    candles, now = Candles(database, SOURCES), utc_now()
    pairs = list(TrackedPairs(settings.tracked_pairs))
    newest = await candles.newest(pairs, Granularity.H1, 1)
    empty = [pair for pair in pairs if pair not in newest or newest[pair][-1].time < now - _MONTH]
    if not empty:
        return 0
    recording = Recording(database, SOURCES)
    is_first_start = await recording.position() is None
    made = 0
    unfinished: list[Candle] = []
    simulated = histories(empty, now, settings.simulated_seed, settings.simulated_rate * 3600 / len(pairs))
    while history := await asyncio.to_thread(next, simulated, None):
        for block in history.complete:
            made += await candles.write_block(block)
        unfinished += history.unfinished
    made += await candles.write(unfinished)
    if is_first_start:
        await recording.begin_with(unfinished)
    _logger.info("stored %d simulated bars of history for %d pairs", made, len(empty))
    return made
