"""Bars from files into the database."""

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
"""Seconds that the database may be away or busy before an import gives up."""

_Series = tuple[CurrencyPair, Granularity]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file: bars that were new or changed something, and bars of pairs that the gateway does not track.

    The rest is in the counts of its reader. ``larger`` bars were made anew from those of the file.
    """

    reader: BarReader
    changed: int
    untracked: Counter[str]
    larger: int
    series: dict[_Series, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is: the share of the file read, its rows, and the share of its bars that is stored.

    ``waits`` is true while the database does not answer and a write is tried again.
    """

    read: float
    rows: int
    stored: float = 0.0
    waits: bool = False


Report = Callable[[Progress], None]


async def import_bars(
    reader: BarReader, candles: Candles, pairs: TrackedPairs, report: Report = lambda progress: None, patience: float = _PATIENCE
) -> Imported:
    """Store the bars of a file, and the larger bars that they are parts of; those there already are replaced where they differ.

    The file is read whole before anything is stored, so one that is damaged or refused changes nothing. ``report`` is called with
    the progress, also from another thread. A write that fails is tried again for ``patience`` seconds. Raises SourceError where
    the file cannot be read to its end, and DatabaseUnavailable; what was stored by then stays, and the same import again
    completes it.
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
    """Write, and try again while the database is away. Writing the same again changes nothing more."""
    deadline, backoff = time.monotonic() + patience, Backoff()
    while True:
        try:
            return await write()
        except DatabaseUnavailable:
            if time.monotonic() >= deadline:
                raise
            tell(waits=True)
            await asyncio.sleep(backoff.pause_after(0))
