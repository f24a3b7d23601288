"""What the jobs work with, opened once for all runs."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from app.config import Settings
from app.errors import ConfigurationError
from app.market.bars.history import CandleSource
from app.market.clock import utc_now
from app.market.pair import TrackedPairs
from app.realtime.log.cache import Cache
from app.realtime.log.log import EventLog, Publisher, open_redis
from app.sources import SOURCES
from app.storage.database.database import Database, open_database
from jobs.running.sources import open_history

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JobContext:
    """The log, the cache, the database with its tables, and the source of past bars, None where the source has none."""

    settings: Settings
    log: EventLog
    publisher: Publisher
    cache: Cache
    database: Database
    pairs: TrackedPairs
    source: CandleSource | None

    @property
    def real_only(self) -> bool:
        """True where figures are computed from market prices alone: as soon as one source has any."""
        return any(not SOURCES.is_invented(name) for name in self.settings.source)

    def on_the_wall(self, now: datetime) -> datetime:
        """Return when what a job does ``now`` is done: in a replay on its original clock, not at the time that is replayed.

        By this time rows are deleted one day.
        """
        return utc_now() if self.settings.keeps_recorded_times else now


@asynccontextmanager
async def open_context(settings: Settings, redis_url: str) -> AsyncGenerator[JobContext]:
    """Open the context of these settings on a Redis, until leaving.

    Raises DatabaseUnavailable, and ConfigurationError or SourceError for settings that cannot work.
    """
    async with (
        open_redis(redis_url) as redis,
        open_database(settings.database_address) as database,
        open_history(settings) as source,
    ):
        await database.migrate()
        pairs, log = TrackedPairs(settings.tracked_pairs), EventLog(redis, settings.event_log_length)
        yield JobContext(settings, log, log.publisher(), Cache(redis, pairs), database, pairs, source)


def read_rules(setting: str, parse: Callable[[str], T], text: str) -> T:
    """Parse the rules of a setting. Raises ConfigurationError, which names the setting."""
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigurationError(f"{setting}: {error}") from None
