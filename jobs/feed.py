"""The feed: reads quotes from a source, checks them, and publishes them to the log in batches."""

import asyncio
import logging
import math
import secrets
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime

from app.backoff import Backoff
from app.config import Settings
from app.errors import SourceError, SourceRefused
from app.market.bars.candle import Granularity
from app.market.check import QuoteCheck
from app.market.clock import utc_now
from app.market.pair import TrackedPairs
from app.market.quote import Quote
from app.market.source import PriceSource, WatchedSource
from app.market.spike import SpikeFilter
from app.providers.preference import PreferredSources, Switch
from app.realtime.contract.event import Draft, feed_status, price_update, source_changed
from app.realtime.contract.heartbeat import FeedHeartbeat, heartbeat
from app.realtime.log.log import EventLog, open_redis
from app.run.process import run_job
from app.storage.database.database import open_database
from jobs.backfill import HoleFiller
from jobs.running.feed_time import Beat, RecordedTime
from jobs.running.persistence import publish_now
from jobs.running.sources import open_history, open_source

_NAME = "the feed"
_MOST_WAITING = 2000
_LARGEST_BATCH = 256
_LISTEN_EVERY = 0.25

_logger = logging.getLogger(__name__)


class Switches:
    """Changes of source that are not published yet: each is, before the first quote of the new source."""

    def __init__(self) -> None:
        self._noted: list[Switch] = []

    def note(self, switch: Switch) -> None:
        """Add a change. The first source to become active is not one."""
        if switch.previous is not None:
            self._noted.append(switch)

    def take(self) -> list[Switch]:
        """Return and clear the changes added since the last call."""
        noted, self._noted = self._noted, []
        return noted


class Feed:
    """Publishes the quotes of a source to the log. ``published`` counts them, ``dropped`` the others by reason.

    While Redis is unavailable quotes wait in a bounded queue; once that is full, the source is not read. Nothing read is lost.
    """

    def __init__(
        self,
        source: PriceSource,
        log: EventLog,
        pairs: TrackedPairs,
        switches: Switches | None = None,
        heartbeat_interval: float = 10.0,
        spikes: SpikeFilter | None = None,
        recorded_time: RecordedTime | None = None,
    ) -> None:
        """``switches`` is filled by the source. ``heartbeat_interval`` is in seconds; a heartbeat is also published at the start
        and whenever another source becomes active. ``spikes`` holds back quotes that are far from the others. With
        ``recorded_time``, prices and heartbeats are dated by the quotes, and the first heartbeat waits for the first quote.
        """
        self._source = source
        self._switches = switches or Switches()
        self._log = log
        self._heartbeat_interval = heartbeat_interval
        self._node = secrets.token_hex(4)
        self._changed = asyncio.Event()
        self._check = QuoteCheck(pairs)
        self._spikes = spikes or SpikeFilter()
        self._recorded_time = recorded_time
        self._dated: datetime | None = None
        self.published = 0

    @property
    def dropped(self) -> Counter[str]:
        """The quotes that were not published, by reason."""
        return self._check.dropped + Counter(spike=self._spikes.dropped)

    async def run(self) -> None:
        """Run until the source ends and all its quotes are published. A source that fails is restarted with backoff.

        Raises SourceRefused for a source that can never deliver, once all its quotes are published.
        """
        waiting: asyncio.Queue[Draft] = asyncio.Queue(_MOST_WAITING)
        try:
            async with asyncio.TaskGroup() as tasks:
                works = (self._publish(waiting), self._beat(waiting), self._listen_for_silence())
                endless = [tasks.create_task(work) for work in works]
                refusal = await self._read(waiting)
                if self._recorded_time is not None:
                    await self._put_beats(self._recorded_time.end(), waiting)
                await waiting.join()
                for task in endless:
                    task.cancel()
            # Outside the group, which would wrap it in an ExceptionGroup.
            if refusal is not None:
                raise refusal
        finally:
            _logger.info("%d quotes of source %s published, %s", self.published, self._source.name, self._drops())

    async def _read(self, waiting: asyncio.Queue[Draft]) -> SourceRefused | None:
        """Read quotes until the source ends; return its refusal where that is why."""
        backoff, clock = Backoff(), asyncio.get_running_loop().time
        while True:
            started = clock()
            try:
                async for quote in self._source.quotes():
                    for switch in self._switches.take():
                        news = source_changed(switch.source, switch.previous, self._source.simulated, switch.reason, switch.time)
                        await waiting.put(news)
                        self._changed.set()
                    admitted = self._check.admit(quote)
                    if admitted is not None:
                        for passed in self._spikes.take(admitted):
                            await self._put(passed, waiting)
                return None
            except SourceRefused as refusal:
                return refusal
            except SourceError as error:
                _logger.warning("source %s failed: %s", self._source.name, error)
            except Exception:
                _logger.exception("source %s failed unexpectedly", self._source.name)
            pause = backoff.pause_after(clock() - started)
            _logger.info("source %s will be restarted in %.1f s", self._source.name, pause)
            await asyncio.sleep(pause)

    async def _put(self, quote: Quote, waiting: asyncio.Queue[Draft]) -> None:
        if self._recorded_time is None:
            await waiting.put(price_update(quote, utc_now()))
            return
        await self._put_beats(self._recorded_time.advance(quote.time), waiting)
        await waiting.put(price_update(quote, quote.time))
        self._dated = quote.time

    async def _put_beats(self, beats: Sequence[Beat], waiting: asyncio.Queue[Draft]) -> None:
        """Put heartbeats of recorded times between the quotes. Each stretch of a recording is as if a feed of its own."""
        for beat in beats:
            if beat.begins:
                self._node = secrets.token_hex(4)
            await waiting.put(heartbeat(self._sign(), beat.time))

    async def _publish(self, waiting: asyncio.Queue[Draft]) -> None:
        publisher = self._log.publisher()
        while True:
            batch = [await waiting.get()]
            while len(batch) < _LARGEST_BATCH and not waiting.empty():
                batch.append(waiting.get_nowait())
            await publisher.publish(batch, patience=math.inf)
            self.published += sum(draft.price_of is not None for draft in batch)
            for _ in batch:
                waiting.task_done()

    async def _beat(self, waiting: asyncio.Queue[Draft]) -> None:
        # Use a separate publisher, or heartbeats would queue behind a blocked batch.
        publisher = self._log.publisher()
        dropped = 0
        while True:
            self._changed.clear()
            if self._recorded_time is None:
                await publish_now(publisher, heartbeat(self._sign()), _NAME)
            elif self._dated is not None:
                # Among the quotes, so that it is not ahead of those that wait.
                await waiting.put(heartbeat(self._sign(), self._dated))
            if self.dropped.total() > dropped:
                dropped = self.dropped.total()
                _logger.warning("source %s: %s", self._source.name, self._drops())
            with suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_interval):
                    await self._changed.wait()

    def _sign(self) -> FeedHeartbeat:
        source = self._source
        return FeedHeartbeat(
            node=self._node,
            source=source.name,
            simulated=source.simulated,
            sources=self._states(),
            dropped=dict(self.dropped),
        )

    async def _listen_for_silence(self) -> None:
        """Publish when the source falls silent, so that clients know that prices are stale, and when it quotes again."""
        publisher = self._log.publisher()
        was_silent = False
        while True:
            await asyncio.sleep(_LISTEN_EVERY)
            if self._silent != was_silent:
                was_silent = self._silent
                await publish_now(publisher, feed_status(self._source.name, was_silent, utc_now()), _NAME)
                self._changed.set()

    @property
    def _silent(self) -> bool:
        return isinstance(self._source, WatchedSource) and self._source.silent

    def _states(self) -> Mapping[str, str]:
        """The state of each source by its name."""
        if isinstance(self._source, PreferredSources):
            return dict(self._source.states)
        return {self._source.name: "silent" if self._silent else "active"}

    def _drops(self) -> str:
        counts = ", ".join(f"{reason} {count}" for reason, count in self.dropped.most_common())
        return f"{self.dropped.total()} dropped" + (f" ({counts})" if counts else "")


async def run(settings: Settings, redis_url: str) -> None:
    """Feed the log of this Redis until the source ends or the task is cancelled.

    Minutes missed while the source was disconnected are fetched into the database afterwards, if the source has history.
    Raises SourceError, ConfigurationError.
    """
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(open_redis(redis_url))
        database = await stack.enter_async_context(open_database(settings.database_address))
        history = await stack.enter_async_context(open_history(settings))
        pairs = TrackedPairs(settings.tracked_pairs)
        missed = Granularity.M1 in history.granularities if history is not None else False
        filler = HoleFiller(history, database, list(pairs)) if history is not None and missed else None
        switches = Switches()
        source = open_source(settings, on_switch=switches.note, on_hole=None if filler is None else filler.note)
        log = EventLog(redis, settings.event_log_length)
        recorded_time = RecordedTime() if settings.keeps_recorded_times else None
        spikes = SpikeFilter(settings.spike_multiple)
        feed = Feed(source, log, pairs, switches, settings.heartbeat_interval, spikes, recorded_time)
        refusal: SourceRefused | None = None
        async with asyncio.TaskGroup() as tasks:
            filling = tasks.create_task(filler.run(), name="hole filler") if filler is not None else None
            try:
                await feed.run()
            except SourceRefused as error:
                refusal = error
            if filling is not None:
                filling.cancel()
        if refusal is not None:
            raise refusal


if __name__ == "__main__":
    sys.exit(run_job("feed", run))
