"""Importing bars from files into the database."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from app.backoff import Backoff
from app.errors import DatabaseUnavailable
from app.market.bars.candle import Granularity
from app.market.pair import CurrencyPair, TrackedPairs
from app.providers.bar_files.reader import BarReader
from app.storage.market.candles import Candles
from jobs.history.longer import store_longer

_AT_ONCE = 10_000
_PATIENCE = 300.0
"""Seconds for which a failed write is retried."""

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


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an import: the fraction of the file read, its rows, and the fraction of its bars stored.

    ``waits`` is True while a failed write is retried.
    """

    read: float
    rows: int
    stored: float = 0.0
    waits: bool = False


Report = Callable[[Progress], None]


async def import_bars(
    reader: BarReader, candles: Candles, pairs: TrackedPairs, report: Report = lambda progress: None, patience: float = _PATIENCE
) -> Imported:
    """Store the bars of a file and rebuild the longer bars that contain them; existing bars are replaced where they differ.

    The whole file is read before anything is stored, so a damaged or refused file changes nothing. ``report`` is called with the
    progress, also from another thread. Failed writes are retried with backoff for ``patience`` seconds. Raises SourceError for a
    file that cannot be read, and DatabaseUnavailable; what is stored by then is kept, and repeating the import completes it.
    """
    blocks = await asyncio.to_thread(reader.blocks, lambda fraction: report(Progress(fraction, reader.rows)))
    total = sum(len(block) for block in blocks) or 1
    written = 0

    def tell(*, waits: bool = False) -> None:
        report(Progress(1.0, reader.rows, written / total, waits))

    changed, larger = 0, 0
    untracked, series = Counter[str](), Counter[_Series]()
    tell()
    for block in blocks:
        if block.pair.name not in pairs:
            untracked[block.pair.name] += len(block)
            continue
        series[block.pair, block.granularity] += len(block)
        for part in block.parts(_AT_ONCE):
            changed += await _patiently(partial(candles.write_block, part), tell, patience)
            written += len(part)
            tell()
    for block in blocks:
        if block.pair.name in pairs:
            larger += await _patiently(partial(store_longer, candles, block), tell, patience)
    return Imported(reader, changed, untracked, larger, dict(series))


async def _patiently(write: Callable[[], Awaitable[int]], tell: Callable[..., None], patience: float) -> int:
    """Write, and retry while the database is unavailable: writing the same bars twice is harmless."""
    deadline, backoff = time.monotonic() + patience, Backoff()
    while True:
        try:
            return await write()
        except DatabaseUnavailable:
            if time.monotonic() >= deadline:
                raise
            tell(waits=True)
            await asyncio.sleep(backoff.pause_after(0))
