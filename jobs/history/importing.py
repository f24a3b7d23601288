"""Importing bars from files into the database."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from app.market.bars.candle import Candle, Granularity
from app.market.clock import utc_now
from app.market.pair import CurrencyPair, TrackedPairs
from app.providers.bar_files.reader import BarReader
from app.storage.market.candles import Candles
from jobs.history.aggregation import aggregate_stored

_AT_ONCE = 5000

_Series = tuple[CurrencyPair, Granularity]


@dataclass(frozen=True, slots=True)
class Imported:
    """The outcome of importing a file: bars ``changed`` or new, bars of untracked pairs, and ``larger`` bars rebuilt from them.

    ``series`` counts bars by pair and length. Rejected rows are counted by the reader.
    """

    reader: BarReader
    changed: int
    untracked: Counter[str]
    larger: int
    series: dict[_Series, int] = field(default_factory=dict)


async def import_bars(
    reader: BarReader, candles: Candles, pairs: TrackedPairs, read: Callable[[int], None] = lambda rows: None
) -> Imported:
    """Store the bars of a file and rebuild the longer bars that contain them; existing bars are replaced where they differ.

    ``read`` is called with the number of rows read so far. Raises SourceError for a file that cannot be read to its end, and
    DatabaseUnavailable; what is stored by then is kept, and repeating the import completes it.
    """
    changed, untracked = 0, Counter[str]()
    spans: dict[_Series, tuple[datetime, datetime]] = {}
    series = Counter[_Series]()
    bars = reader.candles()
    # Reading is CPU-bound and writing mostly I/O, so the next bars are read while these are written.
    reading = asyncio.create_task(asyncio.to_thread(_take, bars))
    try:
        while some := await reading:
            read(reader.rows)
            reading = asyncio.create_task(asyncio.to_thread(_take, bars))
            tracked = [bar for bar in some if bar.pair.name in pairs]
            untracked.update(bar.pair.name for bar in some if bar.pair.name not in pairs)
            for bar in tracked:
                first, last = spans.get((bar.pair, bar.granularity), (bar.time, bar.end))
                spans[bar.pair, bar.granularity] = min(first, bar.time), max(last, bar.end)
                series[bar.pair, bar.granularity] += 1
            changed += await candles.write(tracked)
    finally:
        await asyncio.gather(reading, return_exceptions=True)
    read(reader.rows)
    larger = 0
    for (pair, granularity), (first, end) in spans.items():
        larger += await aggregate_stored(candles, pair, granularity, first, end, utc_now())
    return Imported(reader, changed, untracked, larger, dict(series))


def _take(bars: Iterator[Candle]) -> list[Candle]:
    return list(islice(bars, _AT_ONCE))
