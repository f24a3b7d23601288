"""What a job works with, opened once for all of its runs."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.config import Settings
from app.market.bars.history import CandleSource
from app.market.pair import TrackedPairs
from app.realtime.log.cache import Cache
from app.realtime.log.log import EventLog, Publisher, open_redis
from app.sources import SOURCES
from app.storage.database.database import Database, open_database
from jobs.running.sources import open_history


@dataclass(frozen=True, slots=True)
class JobContext:
    """The log and the cache, the database with its tables, and the history of the source, None where it has none."""

    settings: Settings
    log: EventLog
    publisher: Publisher
    cache: Cache
    database: Database
    pairs: TrackedPairs
    source: CandleSource | None

    @property
    def real_only(self) -> bool:
        """True where figures are to be of market prices alone: as soon as one of the sources has any."""
        return any(not SOURCES.is_invented(name) for name in self.settings.source)


@asynccontextmanager
async def open_context(settings: Settings, redis_url: str) -> AsyncGenerator[JobContext]:
    """The context of the settings on a Redis, closed on leaving.

    Raises DatabaseUnavailable, and ConfigurationError or SourceError where the settings cannot work.
    """
    async with (
        open_redis(redis_url) as redis,
        open_database(settings.database_address) as database,
        open_history(settings) as source,
    ):
        await database.migrate()
        pairs, log = TrackedPairs(settings.tracked_pairs), EventLog(redis, settings.event_log_length)
        yield JobContext(settings, log, log.publisher(), Cache(redis, pairs), database, pairs, source)
