"""Recorded quotes, played back as if they came now, or at the times at which they were recorded."""

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
    """Plays files of recorded quotes, merged in order of time, ``speed`` times faster than recorded.

    The first quote is dated now, and each later one as long after it as it was recorded, divided by ``speed``. No quote is
    therefore ahead of the clock; a slow reader gets them late, dated at the time they were due. With ``keeps_times`` they come
    at the same pace, dated as they were recorded.
    """

    traits = TRAITS
    name = TRAITS.name
    simulated = TRAITS.simulated

    def __init__(self, files: Iterable[Path], speed: float = 1, *, keeps_times: bool = False) -> None:
        """Raises SourceError, naming the file, for one that cannot be read or has no known layout."""
        self._recordings = [Recording(path) for path in files]
        self._speed = speed
        self._keeps_times = keeps_times
        if not self._recordings:
            raise SourceError("A replay needs at least one file")

    async def quotes(self) -> AsyncGenerator[Quote]:
        """Yield the recorded quotes, in the order they were made.

        Raises SourceRefused when a file cannot be read to its end, after the quotes before the damage: starting over would not
        get any further.
        """
        first = min(recording.first.time for recording in self._recordings)
        rows = heapq.merge(*(recording.rows() for recording in self._recordings), key=attrgetter("time"))
        started_at, started = utc_now(), time.monotonic()
        # Reading in a thread keeps decompression off the event loop, a few hundred rows at a time.
        damage: SourceError | None = None
        while damage is None:
            some, damage = await asyncio.to_thread(_take, rows)
            for row in some:
                after = (row.time - first).total_seconds() / self._speed
                await until(started + after)
                moment = row.time if self._keeps_times else started_at + timedelta(seconds=after)
                yield Quote(row.pair, row.bid, row.ask, moment, self.name)
            if damage is None and len(some) < _ROWS_AT_ONCE:
                return
        raise SourceRefused(f"{damage}; the replay ends there, since starting over would not help") from damage


def _take(rows: Iterator[Row]) -> tuple[list[Row], SourceError | None]:
    """Return the next rows, fewer at the end, and the error that cut them short, if any."""
    some: list[Row] = []
    try:
        some.extend(islice(rows, _ROWS_AT_ONCE))
    except SourceError as error:
        return some, error
    return some, None
