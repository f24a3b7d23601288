"""The alert watch: compares prices with the levels that users set, and sends every alert of the log to people."""

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial

from app.alerts.notification import Notifier
from app.alerts.price_level import PriceWatch, price_alert
from app.config import Settings
from app.errors import DatabaseUnavailable
from app.market.alert import Severity
from app.market.clock import parse_time
from app.market.pair import TrackedPairs
from app.market.price_level import PriceLevel
from app.realtime.contract.alert import alert_of, draft_of
from app.realtime.contract.catalogue import ALERTS
from app.realtime.contract.event import Event
from app.realtime.log.log import EventLog, LogReader, open_redis
from app.run.process import run_job
from app.sources import SOURCES
from app.storage.alerts.price_levels import PriceLevels
from app.storage.database.database import Database, open_database
from app.storage.recording import Batch, Recording
from jobs.running.persistence import persistently

_NAME = "the alert watch"
_PAGE = 1000
_BLOCK_MS = 500
_LEVELS_EVERY = 1.0
_POSITION_EVERY = 10.0
"""Seconds between two saves of the position while there is nothing that must not happen twice."""

_logger = logging.getLogger(__name__)


class AlertWatch:
    """Follows the log from where it left off. ``reached`` counts levels reached, ``sent`` the alerts handed to the notifier.

    A level that is reached becomes an event of the log under the level's id and count, so that it is written once even if the
    watch is killed between writing and saving. Like every alert it is sent to people when it is read back from the log.
    """

    def __init__(self, log: EventLog, database: Database, pairs: TrackedPairs, notifier: Notifier) -> None:
        self._log = log
        self._pairs = pairs
        self._notifier = notifier
        self._recording = Recording(database, SOURCES, "alerts")
        self._database = database
        self._levels = PriceLevels(database)
        self._watch = PriceWatch([])
        self._version: int | None = None
        self._unsaved: dict[str, PriceLevel] = {}
        self.reached = 0
        self.sent = 0

    async def run(self) -> None:
        """Watch until cancelled, waiting whenever the database or Redis is unavailable."""
        reader = await persistently(self._resume, _NAME)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_levels(), name="price levels")
            tasks.create_task(self._follow(reader), name="alert watch")

    async def _resume(self) -> LogReader:
        """Return a reader at the saved position; on the first run, at the end of the log: old alerts are no news."""
        await self._database.migrate()
        await self._load_levels()
        position = await self._recording.position()
        if position is None:
            tail = await self._log.tail()
            position = (tail, await self._log.sequence_of(tail) or 0)
            await self._recording.write(Batch(*position))
        return self._log.reader(*position)

    async def _follow(self, reader: LogReader) -> None:
        clock = asyncio.get_running_loop().time
        noted_at = 0.0
        while True:
            events = [event for event in await persistently(partial(reader.read, _PAGE, _BLOCK_MS), _NAME) if event.is_cursor]
            happened = [await self._see(event) for event in events]
            if events and (any(happened) or clock() - noted_at >= _POSITION_EVERY):
                await persistently(partial(self._note, events[-1]), _NAME)
                noted_at = clock()

    async def _note(self, newest: Event) -> None:
        """Save the levels, then the position: in this order nothing is lost if the process dies between the two."""
        await self._save_levels()
        await self._recording.write(Batch(newest.id, newest.seq))

    async def _see(self, event: Event) -> bool:
        """Act on an event; True where doing so twice would be wrong, so that the position has to be saved."""
        if event.is_price:
            return await self._see_price(event)
        if event.type in ALERTS:
            self._notifier.notify(alert_of(event))
            self.sent += 1
            return True
        return False

    async def _see_price(self, event: Event) -> bool:
        mid, time = Decimal(event.body["price"]["mid"]), parse_time(event.body["timestamp"])
        reached = self._watch.see(event.body["instrument"], mid, time)
        for level in reached:
            append = partial(self._log.append, f"level:{level.id}", level.triggered, [draft_of(price_alert(level, mid, time))])
            await persistently(append, _NAME)
            self._unsaved[level.id] = level
            self.reached += 1
        return bool(reached)

    async def _keep_levels(self) -> None:
        """Follow the levels that users add and delete, within about a second."""
        while True:
            await asyncio.sleep(_LEVELS_EVERY)
            try:
                await self._save_levels()
                await self._load_levels()
            except DatabaseUnavailable as error:
                _logger.warning("price levels cannot be read or saved: %s", error)

    async def _load_levels(self) -> None:
        version = await self._levels.version()
        if version != self._version:
            levels = [level for level in await self._levels.all() if level.pair.name in self._pairs]
            self._watch.replace(levels)
            self._version = version

    async def _save_levels(self) -> None:
        for level in self._watch.take_rearmed():
            self._unsaved[level.id] = level
        saving = dict(self._unsaved)
        await self._levels.save(list(saving.values()))
        for id, level in saving.items():
            if self._unsaved.get(id) is level:
                del self._unsaved[id]


def addresses(settings: Settings) -> Mapping[Severity, Sequence[str]]:
    """Return the notification URLs by the lowest severity that is sent to them."""
    urls = {
        Severity.INFO: settings.notify_info,
        Severity.WARNING: settings.notify_warning,
        Severity.CRITICAL: settings.notify_critical,
    }
    return {severity: [url.get_secret_value() for url in secrets] for severity, secrets in urls.items()}


async def run(settings: Settings, redis_url: str) -> None:
    """Watch the log of this Redis until cancelled. Raises ConfigurationError for a notification URL that cannot be used."""
    async with (
        Notifier(addresses(settings)) as notifier,
        open_redis(redis_url) as redis,
        open_database(settings.database_address) as database,
    ):
        log = EventLog(redis, settings.event_log_length)
        await AlertWatch(log, database, TrackedPairs(settings.tracked_pairs), notifier).run()


if __name__ == "__main__":
    sys.exit(run_job("alerts", run))
