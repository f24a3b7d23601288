"""The recorder: reads the log from where it left off and keeps prices, bars, alerts and events in the database."""

import asyncio
import logging
import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

import orjson

from app.config import Settings
from app.errors import InvalidPair, LogUnavailable
from app.market.bars.candle import Candle, Granularity
from app.market.bars.live_bars import LiveBars
from app.market.clock import parse_time, utc_now
from app.market.pair import CurrencyPair, TrackedPairs
from app.market.quote import Quote, QuoteKind
from app.realtime.contract.event import ALERT_FIGURES, ALERTS, ORIGIN, VISIBLE, Event, EventType, heartbeat
from app.realtime.log.log import EventLog, LogReader, open_redis
from app.run.process import run_job
from app.sources import SOURCES
from app.storage.database.database import Database, open_database
from app.storage.market.candles import Candles
from app.storage.recording import Batch, Recording, StoredAlert, StoredEvent, Tick
from jobs.running.persistence import persistently

_NAME = "the recorder"
_PAGE = 1000
_BLOCK_MS = 1000
_LINGER = 0.25
"""Seconds that more events are waited for, so that a quiet market does not make a transaction of each price."""

_TOO_OLD = timedelta(seconds=60)
_SETTLED_AFTER = timedelta(seconds=5)
"""How long after its end a bar may still get quotes: what takes longer to arrive is late."""

_IN_NO_BAR = frozenset({QuoteKind.INDICATIVE, QuoteKind.DAILY})
_LONGEST_MONTH = 1000  # hours of a month and of a week that began before it

_logger = logging.getLogger(__name__)


class Recorder:
    """Carries the log into the database, each event once. ``recorded`` counts events, ``lost`` those the log no longer held.

    The position in the log is kept in the database and moves in the same transaction as what is written, and so do the unfinished
    bars: a recorder that was killed anywhere goes on as if nothing had been. While the database is away nothing more is read;
    what the log still holds then is not lost.
    """

    def __init__(self, log: EventLog, database: Database, pairs: TrackedPairs, heartbeat_interval: float = 5.0) -> None:
        """``heartbeat_interval`` is in seconds."""
        self._log = log
        self._recording = Recording(database, SOURCES)
        self._candles = Candles(database, SOURCES)
        self._database = database
        self._pairs = pairs
        self._heartbeat_interval = heartbeat_interval
        self._node = secrets.token_hex(4)
        self._bars: dict[str, LiveBars] = {}
        self._position: tuple[str, int] = (ORIGIN, 0)
        self.recorded = 0
        self.lost = 0

    async def run(self) -> None:
        """Record until cancelled, waiting for the database and for Redis wherever they are away."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._record(), name="recorder")
            tasks.create_task(self._beat(), name="recorder heartbeat")

    async def _record(self) -> None:
        reader = await persistently(self._resume, _NAME)
        while True:
            events = await persistently(partial(self._next, reader), _NAME)
            if events:
                await self._keep(events)

    async def _resume(self) -> LogReader:
        """A reader at the remembered position, and the bars as they were there."""
        await self._database.migrate()
        position = await self._recording.position()
        unfinished = await self._recording.unfinished()
        self._bars = {pair.name: LiveBars(pair, SOURCES) for pair in self._pairs}
        for pair in self._pairs:
            self._bars[pair.name].resume(bar for bar in unfinished if bar.pair == pair)
        await self._rebase(self._pairs.names, utc_now())
        if position is None:
            return self._log.reader()
        self._position = position
        _logger.info("recording goes on after %s", position[0])
        return self._log.reader(*position)

    async def _next(self, reader: LogReader) -> list[Event]:
        events = await reader.read(_PAGE, _BLOCK_MS)
        if events and len(events) < _PAGE:
            await asyncio.sleep(_LINGER)
            with suppress(LogUnavailable):  # what was read is not to be lost with what could not be
                events += await reader.read(_PAGE - len(events))
        return events

    async def _keep(self, events: Sequence[Event]) -> None:
        """Write what the events say; the database is asked until it has it."""
        entries = [event for event in events if event.is_cursor]
        for lost in (event for event in events if event.type == EventType.GAP):
            missed = orjson.loads(lost.bare)["missed"]
            self.lost += missed or 0
            _logger.warning("the log no longer holds what should be recorded: %s", lost.bare.decode())
        if not entries:
            return
        batch = self._batch(entries)
        await persistently(partial(self._recording.write, batch), _NAME)
        self._position = (batch.cursor, batch.seq)
        self.recorded += len(entries)
        closed = {bar.pair.name for bar in batch.candles if bar.complete and bar.granularity is Granularity.H1}
        if closed:
            await persistently(partial(self._rebase, sorted(closed), _moment_of(entries[-1])), _NAME)

    async def _rebase(self, pairs: Sequence[str], moment: datetime) -> None:
        """Build the longer bars on the hours that the database holds: jobs may have fetched better ones."""
        start = min(Granularity.W.start(moment), Granularity.M.start(moment))
        for name in pairs:
            hours = await self._candles.page(
                CurrencyPair.parse(name), Granularity.H1, start=start, end=None, limit=_LONGEST_MONTH
            )
            self._bars[name].rebase([hour for hour in hours if hour.complete])

    def _batch(self, entries: Sequence[Event]) -> Batch:
        ticks: list[Tick] = []
        events: list[StoredEvent] = []
        alerts: list[StoredAlert] = []
        in_bars: dict[str, list[Quote]] = {}
        candles: list[Candle] = []
        for event in entries:
            try:
                body = orjson.loads(event.bare)
                time = parse_time(body["timestamp"])
                if event.is_price:
                    quote = _quote(body)
                    ticks.append(Tick(event.id, quote))
                    if quote.kind not in _IN_NO_BAR and time - quote.time <= _TOO_OLD and quote.pair.name in self._bars:
                        in_bars.setdefault(quote.pair.name, []).append(quote)
                elif event.type == EventType.HEARTBEAT:
                    candles += self._grow(in_bars)
                    candles += self._settle(time - _SETTLED_AFTER)
                elif event.type in VISIBLE:
                    events.append(StoredEvent(event.id, event.type, event.pairs, event.bare, time))
                    if event.type in ALERTS:
                        alerts.append(_alert(event, body, time))
            except (KeyError, TypeError, ValueError, InvalidOperation, InvalidPair):
                _logger.warning("event %s cannot be recorded: %.200r", event.id, event.bare)
        candles += self._grow(in_bars)
        newest = entries[-1]
        return Batch(newest.id, newest.seq, ticks, events, alerts, candles)

    def _grow(self, quotes: dict[str, list[Quote]]) -> list[Candle]:
        """The bars that these quotes change; the quotes are taken."""
        changed = []
        for name, of_pair in quotes.items():
            self._bars[name].add(of_pair)
            changed += self._bars[name].changes()
        quotes.clear()
        return changed

    def _settle(self, moment: datetime) -> list[Candle]:
        """The bars that close because no quote from before ``moment`` is still to come."""
        closed = []
        for bars in self._bars.values():
            bars.advance(moment)
            closed += bars.changes()
        return closed

    async def _beat(self) -> None:
        publisher = self._log.publisher()
        while True:
            await asyncio.sleep(self._heartbeat_interval)
            cursor, seq = self._position
            late = sum(bars.late for bars in self._bars.values())
            facts = {"cursor": cursor, "seq": seq, "recorded": self.recorded, "lost": self.lost, "late": late}
            try:
                await publisher.publish([heartbeat(self._node, "recorder", **facts)])
            except LogUnavailable as error:
                _logger.warning("the recorder waits for its log: %s", error)


def _moment_of(event: Event) -> datetime:
    """When an event was written, by its id."""
    return parse_time("1970-01-01T00:00:00Z") + timedelta(milliseconds=event.order[0])


def _quote(body: Mapping[str, Any]) -> Quote:
    price = body["price"]
    return Quote(
        CurrencyPair.parse(body["instrument"]),
        Decimal(price["bid"]),
        Decimal(price["ask"]),
        parse_time(price["time"]),
        str(body["source"]),
        QuoteKind(body.get("kind", QuoteKind.QUOTED)),
    )


def _alert(event: Event, body: Mapping[str, Any], time: datetime) -> StoredAlert:
    value, threshold = (Decimal(str(body[name])) for name in ALERT_FIGURES[EventType(event.type)])
    return StoredAlert(event.id, event.type, event.pairs, body["severity"], value, threshold, body["message"], time, event.bare)


async def run(settings: Settings, redis_url: str) -> None:
    """Record the log of this Redis in the database of the settings until cancelled."""
    async with open_redis(redis_url) as redis, open_database(settings.database_address) as database:
        log = EventLog(redis, settings.event_log_length)
        await Recorder(log, database, TrackedPairs(settings.tracked_pairs)).run()


if __name__ == "__main__":
    sys.exit(run_job("recorder", run))
