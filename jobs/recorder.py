"""The recorder: follows the log from where it left off, and stores prices, bars, alerts and events in the database."""

import asyncio
import logging
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise

from app.config import Settings
from app.errors import GatewayError, LogUnavailable
from app.market.bars.candle import Candle, Granularity
from app.market.bars.live_bars import KEPT_FOR, LiveBars
from app.market.bars.making import LIVE
from app.market.check import MOST_AHEAD
from app.market.clock import utc_now
from app.market.hours.calendar import open_time
from app.market.pair import CurrencyPair, TrackedPairs
from app.market.quote import Quote, QuoteKind
from app.realtime.contract.alert import alert_of
from app.realtime.contract.catalogue import ALERTS, VISIBLE, EventType
from app.realtime.contract.event import ORIGIN, Event, quote_of
from app.realtime.contract.fields import LARGEST_COUNT
from app.realtime.contract.heartbeat import RecorderHeartbeat, heartbeat
from app.realtime.log.log import EventLog, LogReader, open_redis
from app.run.process import run_job
from app.sources import SOURCES
from app.storage.database.database import Database, open_database
from app.storage.market.candles import Candles
from app.storage.recording import Batch, Recording, RefusedEvent, StoredAlert, StoredEvent, Tick
from app.storage.refusals import RefusedEvents
from jobs.running.feed_time import is_heartbeat_of_feed, is_set_back, moment_of, timestamp_of
from jobs.running.persistence import persistently, publish_now

_NAME = "the recorder"
_PAGE = 1000
_BLOCK_MS = 1000
_LINGER = 0.25
"""Seconds to wait for more events, so that a quiet market does not cost one transaction per price."""

_STANDING = timedelta(seconds=60)
"""From this age on, when the feed reads it, a quote may be one that a source repeats when it is connected to."""
_SETTLED_AFTER = timedelta(seconds=5)
"""How long after its end a bar is closed. Quotes on their way by then, or held up for longer, correct it."""
_FEED_AWAY = timedelta(minutes=5)
"""Open market without a feed, after which bars under construction lack something."""

_MOST_MALFORMED = 1000
"""Entries between two events of the log that are put aside because they are no events."""

_LONGEST_ENTRY = 4000
"""Characters that are kept of an entry that is no event."""

_IN_NO_BAR = frozenset({QuoteKind.INDICATIVE, QuoteKind.DAILY})
_LONGEST_MONTH = 1000  # hours of a month and of the week that it begins in

_logger = logging.getLogger(__name__)


class Recorder:
    """Writes the log to the database, each event once. ``recorded`` counts events, ``lost`` those trimmed from the log before,
    and ``standing`` first quotes of pairs that were old when the feed read them, and are in no bar.

    ``refused`` counts what is put aside in the database because it cannot be read or stored, by earlier recorders too.

    The position in the log is stored in the database, in the same transaction as the data and the unfinished bars, so that a
    recorder killed at any point resumes exactly. While the database is unavailable nothing is read; what the log retains
    until it is back is not lost.
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
        self._feed: str | None = None
        self._feed_heard: datetime | None = None
        self._published: dict[str, datetime] = {}
        self.recorded = 0
        self.lost = 0
        self.refused = 0
        self._malformed: list[RefusedEvent] = []
        self.losses_of_unknown_size = 0
        self.standing = 0
        self._late_before = 0
        self._missed = False
        self._listens = False

    @property
    def _reached(self) -> datetime | None:
        """The time up to which there are bars of any pair, by the clock of the feed; None before the first."""
        return max((bars.reached for bars in self._bars.values() if bars.reached is not None), default=None)

    async def run(self) -> None:
        """Record until cancelled, waiting whenever the database or Redis is unavailable."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._record(), name="recorder")
            tasks.create_task(self._beat(), name="recorder heartbeat")

    async def _record(self) -> None:
        reader = await persistently(self._resume, _NAME)
        while True:
            events = await persistently(partial(self._next, reader), _NAME)
            for stretch in self._stretches(events):
                await self._keep(stretch)

    async def _resume(self) -> LogReader:
        """Return a reader at the saved position, and restore the bars as they were there."""
        await self._database.migrate()
        position = await self._recording.position()
        self.refused = await RefusedEvents(self._database).count()
        newest = await self._recording.newest_bars()
        self._bars = {pair.name: LiveBars(pair, SOURCES) for pair in self._pairs}
        for pair in self._pairs:
            await self._restore(self._bars[pair.name], [bar for bar in newest if bar.pair == pair])
        self._feed_heard = self._reached
        await self._rebase(self._pairs.names, self._feed_heard or utc_now())
        if position is None:
            return self._log.reader(on_malformed=self._refuse)
        self._position = position
        _logger.info("recording resumes after %s", position[0])
        return self._log.reader(*position, self._refuse)

    async def _restore(self, bars: LiveBars, newest: Sequence[Candle]) -> None:
        """Continue the bars that the recorder began last, and those before them that may still be corrected."""
        known = {(bar.granularity, bar.time): bar for bar in newest}
        if newest:
            last = max(bar.made.last_time or bar.time for bar in newest)
            for granularity in Granularity:
                start = granularity.start(last - KEPT_FOR)
                stored = await self._candles.page(newest[0].pair, granularity, start=start, end=last, limit=_LONGEST_MONTH)
                for bar in stored:
                    if bar.made.of == LIVE and bar.made.last_time is not None:
                        known.setdefault((granularity, bar.time), bar)
        bars.resume(known[key] for key in sorted(known))

    async def _next(self, reader: LogReader) -> list[Event]:
        events = await reader.read(_PAGE, _BLOCK_MS)
        if events and len(events) < _PAGE:
            await asyncio.sleep(_LINGER)
            with suppress(LogUnavailable):  # the events read so far must not be lost
                events += await reader.read(_PAGE - len(events))
        return events

    def _refuse(self, id: str, fields: Mapping[bytes, bytes], error: Exception) -> None:
        """Put an entry of the log aside that is no event, with the next batch; one of too many is only logged."""
        if len(self._malformed) < _MOST_MALFORMED:
            written = " ".join(f"{_escaped(name)}={_escaped(value)}" for name, value in fields.items())[:_LONGEST_ENTRY]
            first_line = str(error).partition("\n")[0]
            type = _escaped(fields.get(b"t", b""))
            self._malformed.append(RefusedEvent.of(id, type, written.encode(), f"not an event: {first_line}"))

    def _stretches(self, events: Sequence[Event]) -> list[Sequence[Event]]:
        """Divide events where another feed is heard first, since its clock may have been set back."""
        cuts, node = [0], self._feed
        for place, event in enumerate(events):
            if is_heartbeat_of_feed(event) and event.body.get("node") != node:
                node = event.body.get("node")
                cuts.append(place)
        return [part for first, end in pairwise([*cuts, len(events)]) if (part := events[first:end])]

    async def _keep(self, events: Sequence[Event]) -> None:
        """Write the events to the database, retrying until it has them."""
        entries = [event for event in events if event.is_cursor]
        for lost in (event for event in events if event.type == EventType.GAP):
            # A forged sequence number makes a hole of any size; more than this the heartbeat could not carry.
            self.lost = min(self.lost + (lost.body["missed"] or 0), LARGEST_COUNT)
            self.losses_of_unknown_size += lost.body["missed"] is None
            _logger.warning("events were trimmed from the log before they were recorded: %s", lost.bare.decode())
        self._missed = self._missed or len(entries) < len(events)
        if not entries:
            return
        begins_anew = is_set_back(entries[0], self._feed, self._reached)
        if begins_anew:
            self._begin_anew()
        begins = next((_begin_of(event) for event in entries if event.is_price or is_heartbeat_of_feed(event)), None)
        if begins is None and self._missed:
            begins = entries[0].time
        if begins is not None:
            await self._listen(begins, self._missed or self._was_away(entries[0]))
            self._missed = False
        batch = self._batch(entries)
        batch = replace(batch, refused=[*batch.refused, *self._malformed], begins_anew=begins_anew)
        if refused := await persistently(partial(self._recording.write, batch), _NAME):
            self.refused += refused
            _logger.warning("%d entries up to %s cannot be stored and are put aside in refused_events", refused, batch.cursor)
        self._malformed.clear()
        self._position = (batch.cursor, batch.seq)
        self.recorded += len(entries)
        stale = {bar.pair.name for bar in batch.candles if bar.complete and bar.granularity is Granularity.H1}
        if stale:
            await persistently(partial(self._rebase, sorted(stale), self._reached or entries[-1].time), _NAME)

    def _begin_anew(self) -> None:
        """Begin bars of an earlier time, as in a replay that is played again."""
        self._late_before += sum(bars.late for bars in self._bars.values())
        self._bars = {pair.name: LiveBars(pair, SOURCES) for pair in self._pairs}
        self._feed_heard = None
        self._listens = False
        self._published.clear()
        _logger.info("the clock of the feed was set back: bars begin anew")

    async def _listen(self, begins: datetime, lacks_before: bool) -> None:
        """Note that the feed is heard from this time on, by its clock, and whether something before was lost."""
        for bars in self._bars.values():
            bars.listen(begins)
            if lacks_before:
                bars.interrupt(begins)
        if lacks_before or not self._listens:
            self._listens = True
            # At once, since longer bars may end before the next rebuilding, and would lack the hours until now.
            await persistently(partial(self._rebase, self._pairs.names, begins), _NAME)

    async def _rebase(self, pairs: Sequence[str], moment: datetime) -> None:
        """Rebuild the longer bars from the hours and days in the database, where jobs may have stored better ones.

        Those after ``moment`` are left out: the database may have them of a replay that is played again.
        """
        for name in pairs:
            pair, newest = CurrencyPair.parse(name), self._bars[name].newest or moment
            start = min(Granularity.W.start(newest), Granularity.M.start(newest))
            hours = await self._candles.page(pair, Granularity.H1, start=start, end=None, limit=_LONGEST_MONTH)
            days = await self._candles.page(pair, Granularity.D, start=start, end=None, limit=_LONGEST_MONTH)
            past = [hour for hour in hours if hour.complete and hour.end <= moment]
            self._bars[name].rebase(past, [day for day in days if day.end <= moment])

    def _batch(self, entries: Sequence[Event]) -> Batch:
        ticks: list[Tick] = []
        events: list[StoredEvent] = []
        alerts: list[StoredAlert] = []
        in_bars: dict[str, list[Quote]] = {}
        candles: list[Candle] = []
        refused: list[RefusedEvent] = []
        for event in _readable(entries, refused):
            if event.is_price:
                quote = quote_of(event)
                ticks.append(Tick(event.id, quote))
                if self._is_in_bars(quote, event, in_bars):
                    in_bars.setdefault(quote.pair.name, []).append(quote)
            elif event.type == EventType.HEARTBEAT:
                if is_heartbeat_of_feed(event):
                    candles += self._grow(in_bars)
                    self._feed, self._feed_heard = event.body.get("node"), moment_of(event)
                    candles += self._settle(moment_of(event) - _SETTLED_AFTER)
            elif event.type in VISIBLE:
                events.append(StoredEvent(event.id, event.type, event.pairs, event.bare, timestamp_of(event)))
                if event.type in ALERTS:
                    alerts.append(_stored(event))
        candles += self._grow(in_bars)
        newest = entries[-1]
        return Batch(newest.id, newest.seq, ticks, events, alerts, candles, refused)

    def _is_in_bars(self, quote: Quote, event: Event, waiting: Mapping[str, Sequence[Quote]]) -> bool:
        """True for a quote that bars are made of: a live one of a tracked pair, and not one that a source repeats.

        How long a quote was on its way does not matter, but a source that is connected to sends its newest quotes once more.
        """
        name = quote.pair.name
        if quote.kind in _IN_NO_BAR or name not in self._bars or quote.time > event.time + MOST_AHEAD:
            return False
        bars, published = self._bars[name], timestamp_of(event)
        before, self._published[name] = self._published.get(name), published
        if published - quote.time <= _STANDING or waiting.get(name):
            return True
        if bars.newest is None:
            self.standing += 1
            return False
        # In a stream that is held up, quotes of the same time and prices follow each other at once.
        return not bars.repeats(quote) or (before is not None and published - before <= _STANDING)

    def _was_away(self, event: Event) -> bool:
        """Return True where another feed is heard than the last, which ran long ago: quotes in between are in no bar."""
        if not is_heartbeat_of_feed(event) or event.body.get("node") == self._feed or self._feed_heard is None:
            return False
        return open_time(self._feed_heard, _begin_of(event)) > _FEED_AWAY

    def _grow(self, quotes: dict[str, list[Quote]]) -> list[Candle]:
        """Add the quotes to their bars, empty the dict, and return the bars that changed."""
        changed = []
        for name, of_pair in quotes.items():
            self._bars[name].add(of_pair)
            changed += self._bars[name].changes()
        quotes.clear()
        return changed

    def _settle(self, moment: datetime) -> list[Candle]:
        """Close the bars that ended before ``moment``, and return them."""
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
            late = self.standing + self._late_before + sum(bars.late for bars in self._bars.values())
            sign = RecorderHeartbeat(
                node=self._node,
                cursor=cursor,
                seq=seq,
                recorded=self.recorded,
                lost=self.lost,
                losses_of_unknown_size=self.losses_of_unknown_size,
                late=late,
                refused=self.refused,
            )
            await publish_now(publisher, heartbeat(sign), _NAME)


def _readable(entries: Sequence[Event], refused: list[RefusedEvent]) -> Iterator[Event]:
    """Yield the events that can be read, and add the others to ``refused``.

    The reader of the log has checked each one. An event that a check has missed must not end the recorder at every start.
    """
    for event in entries:
        try:
            timestamp_of(event)
            if event.is_price:
                quote_of(event)
            elif event.type in ALERTS:
                _stored(event)
        except (LookupError, TypeError, ValueError, ArithmeticError, GatewayError) as error:
            refused.append(RefusedEvent.of(event.id, event.type, event.bare, error))
        else:
            yield event


def _escaped(text: bytes) -> str:
    return text[:_LONGEST_ENTRY].decode("utf-8", "backslashreplace")


def _begin_of(event: Event) -> datetime:
    """When an event that may be malformed was published."""
    with suppress(LookupError, TypeError, ValueError):
        return moment_of(event)
    return event.time


def _stored(event: Event) -> StoredAlert:
    alert = alert_of(event)
    value, threshold = (Decimal(str(number)) for number in (alert.value, alert.threshold))
    return StoredAlert(event.id, alert.type, alert.pairs, alert.severity, value, threshold, alert.message, alert.time, event.bare)


async def run(settings: Settings, redis_url: str) -> None:
    """Record the log of this Redis in the database of the settings, until cancelled."""
    async with open_redis(redis_url) as redis, open_database(settings.database_address) as database:
        log = EventLog(redis, settings.event_log_length)
        await Recorder(log, database, TrackedPairs(settings.tracked_pairs)).run()


if __name__ == "__main__":
    sys.exit(run_job("recorder", run))
