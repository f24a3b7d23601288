"""Fetching past bars, in pages, so that an interrupted backfill can be resumed."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from app.backoff import Backoff
from app.errors import ConfigurationError, DatabaseUnavailable, NotOffered, SourceError
from app.market.bars.candle import Granularity
from app.market.bars.history import CandleSource
from app.market.clock import parse_time, rfc3339, utc_now
from app.market.pair import CurrencyPair
from app.sources import SOURCES
from app.storage.alerts.states import AlertStates
from app.storage.database.database import Database
from app.storage.market.candles import Candles
from jobs.history.aggregation import aggregate_stored

_MOST_HOLES = 100
_ATTEMPTS = 5
_SETTLES_IN = timedelta(seconds=12)
"""How long after the end of a minute the recorder may still write its own bar of it, which lacks the prices in the hole."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stretch:
    """The bars of a pair and length that start in ``[start, end)``."""

    pair: CurrencyPair
    granularity: Granularity
    start: datetime
    end: datetime

    @property
    def key(self) -> str:
        """The key of its progress in the database. It leaves out the end, which moves on where it is the present."""
        return f"backfill:{self.pair}:{self.granularity}:{rfc3339(self.start)}"


class Backfill:
    """Copies bars from a source to the database, page by page, and saves its progress in each stretch."""

    def __init__(self, history: CandleSource, database: Database) -> None:
        self._history = history
        self._candles = Candles(database, SOURCES)
        self._progress = AlertStates(database)

    async def run(self, stretch: Stretch, reached: Callable[[datetime], None] = lambda moment: None) -> int:
        """Fetch the rest of the stretch and rebuild the longer bars; return the number of bars added or changed.

        ``reached`` is called with the moment up to which the stretch is done. Raises SourceError, DatabaseUnavailable; what
        is done by then is kept, and the same call resumes from there. Raises NotOffered for a pair that the source does not
        have, and ConfigurationError for a length that it does not have.
        """
        if stretch.granularity not in self._history.granularities:
            offered = ", ".join(length for length in Granularity if length in self._history.granularities)
            raise ConfigurationError(f"--granularity: {self._history.name} has {offered}")
        start = await self._reached(stretch)
        reached(start)
        changed = 0
        pages = self._history.fetch_candles(stretch.pair, stretch.granularity, start, stretch.end)
        async with aclosing(pages):
            async for page in pages:
                if page:
                    changed += await self._candles.write(page)
                    # After an interruption the last bar is fetched again: it may have been incomplete.
                    await self._save(stretch, page[-1].time)
                    reached(page[-1].end)
        changed += await aggregate_stored(self._candles, stretch.pair, stretch.granularity, stretch.start, stretch.end, utc_now())
        await self._save(stretch, None)
        reached(stretch.end)
        return changed

    async def _reached(self, stretch: Stretch) -> datetime:
        text = (await self._progress.load(stretch.key)).get(stretch.key)
        moment = orjson.loads(text) if text else None
        return stretch.start if moment is None else max(stretch.start, parse_time(moment))

    async def _save(self, stretch: Stretch, moment: datetime | None) -> None:
        text = None if moment is None else rfc3339(moment)
        await self._progress.save({stretch.key: orjson.dumps(text)})


class HoleFiller:
    """Fetches the minutes that a source made while its stream was disconnected."""

    def __init__(
        self,
        history: CandleSource,
        database: Database,
        pairs: Sequence[CurrencyPair],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """``clock`` returns the present moment, aware."""
        self._clock = clock
        self._backfill = Backfill(history, database)
        self._pairs = pairs
        self._holes: asyncio.Queue[tuple[datetime, datetime]] = asyncio.Queue(_MOST_HOLES)

    def note(self, start: datetime, end: datetime) -> None:
        """Queue a hole to be filled. If the queue is full, the oldest is dropped and logged."""
        if self._holes.full():
            given_up = self._holes.get_nowait()
            _logger.error("the bars from %s to %s will be missing: too many holes are queued", *given_up)
        self._holes.put_nowait((start, end))

    async def run(self) -> None:
        """Fill holes until cancelled, each once the minute in which it ended is over. Bars it cannot fetch stay missing."""
        while True:
            start, end = await self._holes.get()
            first = Granularity.M1.start(start)
            # The minute in which the stream resumes is fetched too, once it is over and the recorder no longer writes it.
            until = Granularity.M1.end(end)
            await asyncio.sleep(max(0.0, (until + _SETTLES_IN - self._clock()).total_seconds()))
            filled = [await self._fill(Stretch(pair, Granularity.M1, first, until)) for pair in self._pairs]
            _logger.info("filled the hole from %s to %s: %d bars fetched", rfc3339(start), rfc3339(end), sum(filled))

    async def _fill(self, stretch: Stretch) -> int:
        backoff = Backoff()
        for _ in range(_ATTEMPTS):
            try:
                return await self._backfill.run(stretch)
            except NotOffered as error:
                _logger.info("holes are not filled: %s", error)
                return 0
            except (SourceError, DatabaseUnavailable) as error:
                _logger.warning("bars of %s could not be fetched: %s", stretch.pair, error)
            await asyncio.sleep(backoff.pause_after(0))
        return 0
