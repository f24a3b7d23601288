"""Recorded quotes, played again as if they came now."""

import asyncio
import heapq
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from datetime import timedelta
from itertools import islice
from operator import attrgetter
from pathlib import Path

from app.errors import SourceError, SourceRefused
from app.market.clock import utc_now
from app.market.quote import Quote
from app.providers.pace import until
from app.providers.replay import TRAITS
from app.providers.replay.recording import Recording, Row

_ROWS_AT_ONCE = 256


class ReplaySource:
    """Plays files of recorded quotes, merged in time order, ``speed`` times faster than life.

    The first quote is made now, each later one as much after it as it was recorded, divided by ``speed``. So no quote
    is ahead of the wall clock; to a slow reader they come late, with the times at which they were due.
    """

    traits = TRAITS
    name = TRAITS.name
    simulated = TRAITS.simulated

    def __init__(self, files: Iterable[Path], speed: float = 1) -> None:
        """Raises SourceError, naming the file, where one cannot be read or is of no known format."""
        self._recordings = [Recording(path) for path in files]
        self._speed = speed
        if not self._recordings:
            raise SourceError("A replay needs at least one file")

    async def quotes(self) -> AsyncGenerator[Quote]:
        """The recorded quotes, in the order they were made.

        Raises SourceRefused where a file cannot be read to its end, after the quotes before that place: begun anew, the replay
        would come no further.
        """
        first = min(recording.first.time for recording in self._recordings)
        rows = heapq.merge(*(recording.rows() for recording in self._recordings), key=attrgetter("time"))
        started_at, started = utc_now(), time.monotonic()
        # Reading in a thread keeps unpacking off the event loop, and gives way to it after every few rows.
        damage: SourceError | None = None
        while damage is None:
            some, damage = await asyncio.to_thread(_take, rows)
            for row in some:
                after = (row.time - first).total_seconds() / self._speed
                await until(started + after)
                yield Quote(row.pair, row.bid, row.ask, started_at + timedelta(seconds=after), self.name)
            if damage is None and len(some) < _ROWS_AT_ONCE:
                return
        raise SourceRefused(f"{damage}; the replay ends there, since asking again would not help") from damage


def _take(rows: Iterator[Row]) -> tuple[list[Row], SourceError | None]:
    """The next rows, fewer at the end; and what has put an end to them before theirs, if anything has."""
    some: list[Row] = []
    try:
        some.extend(islice(rows, _ROWS_AT_ONCE))
    except SourceError as error:
        return some, error
    return some, None
