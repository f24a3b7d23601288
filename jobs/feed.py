"""The feed: takes quotes from a source, checks them and writes them to the log in batches."""

import asyncio
import logging
import math
import secrets
import sys

from app.config import Settings
from app.errors import LogUnavailable, SourceError
from app.market.check import QuoteCheck
from app.market.clock import utc_now
from app.market.pair import TrackedPairs
from app.market.source import PriceSource
from app.providers.backoff import Backoff
from app.providers.replay import ReplaySource
from app.providers.simulated import SimulatedSource
from app.realtime.event import Draft, heartbeat, price_update
from app.realtime.log import EventLog, open_redis
from jobs.process import run_job

_MOST_WAITING = 2000
_LARGEST_BATCH = 256

_logger = logging.getLogger(__name__)


class Feed:
    """Carries the quotes of a source to the log. ``published`` counts them, ``check`` knows which were dropped.

    While Redis is away nothing more is read from the source than fits a bounded queue, and nothing read is lost.
    """

    def __init__(self, source: PriceSource, log: EventLog, pairs: TrackedPairs, heartbeat_interval: float = 10.0) -> None:
        """``heartbeat_interval`` is in seconds; the first heartbeat is written at once."""
        self._source = source
        self._log = log
        self._heartbeat_interval = heartbeat_interval
        self._node = secrets.token_hex(4)
        self.check = QuoteCheck(pairs)
        self.published = 0

    async def run(self) -> None:
        """Run until the source ends and everything is published. A source that fails is started again after a pause."""
        waiting: asyncio.Queue[Draft] = asyncio.Queue(_MOST_WAITING)
        try:
            async with asyncio.TaskGroup() as tasks:
                endless = [tasks.create_task(self._publish(waiting)), tasks.create_task(self._beat())]
                await self._read(waiting)
                await waiting.join()
                for task in endless:
                    task.cancel()
        finally:
            _logger.info("%d quotes of source %s published, %s", self.published, self._source.name, self._drops())

    async def _read(self, waiting: asyncio.Queue[Draft]) -> None:
        backoff, clock = Backoff(), asyncio.get_running_loop().time
        while True:
            started = clock()
            try:
                async for quote in self._source.quotes():
                    admitted = self.check.admit(quote)
                    if admitted is not None:
                        await waiting.put(price_update(admitted, utc_now()))
                return
            except SourceError as error:
                _logger.warning("source %s failed: %s", self._source.name, error)
            except Exception:
                _logger.exception("source %s failed unexpectedly", self._source.name)
            pause = backoff.pause_after(clock() - started)
            _logger.info("source %s is started again in %.1f s", self._source.name, pause)
            await asyncio.sleep(pause)

    async def _publish(self, waiting: asyncio.Queue[Draft]) -> None:
        publisher = self._log.publisher()
        while True:
            batch = [await waiting.get()]
            while len(batch) < _LARGEST_BATCH and not waiting.empty():
                batch.append(waiting.get_nowait())
            await publisher.publish(batch, patience=math.inf)
            self.published += len(batch)
            for _ in batch:
                waiting.task_done()

    async def _beat(self) -> None:
        # A publisher of its own: behind a batch that waits for Redis no heartbeat would be missed, and nobody told.
        publisher = self._log.publisher()
        dropped = 0
        while True:
            sign = heartbeat(self._node, "feed", source=self._source.name, simulated=self._source.simulated)
            try:
                await publisher.publish([sign])
            except LogUnavailable as error:
                _logger.warning("the feed waits for its log: %s", error)
            if self.check.dropped.total() > dropped:
                dropped = self.check.dropped.total()
                _logger.warning("source %s: %s", self._source.name, self._drops())
            await asyncio.sleep(self._heartbeat_interval)

    def _drops(self) -> str:
        counts = ", ".join(f"{reason} {count}" for reason, count in self.check.dropped.most_common())
        return f"{self.check.dropped.total()} dropped" + (f" ({counts})" if counts else "")


def open_source(settings: Settings) -> PriceSource:
    """The source that the settings name. Raises SourceError where it cannot deliver what they ask for."""
    if settings.source == "replay":
        return ReplaySource(settings.replay_files, settings.replay_speed)
    return SimulatedSource(TrackedPairs(settings.tracked_pairs), settings.simulated_seed, settings.simulated_rate)


async def run(settings: Settings, redis_url: str, source: PriceSource | None = None) -> None:
    """Feed the log of this Redis until the source ends or the task is cancelled. Raises SourceError.

    Without ``source`` it is the one that the settings name.
    """
    source = source or open_source(settings)
    async with open_redis(redis_url) as redis:
        log = EventLog(redis, settings.event_log_length)
        await Feed(source, log, TrackedPairs(settings.tracked_pairs)).run()


if __name__ == "__main__":
    sys.exit(run_job("feed", run))
