"""Rebuilding longer bars after an import, in memory where possible."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from app.market.bars.candle import Candle, Granularity, aggregate
from app.market.blocks.block import BarBlock
from app.market.blocks.starts import moment_of
from app.market.clock import utc_now
from app.market.source import Sources
from app.storage.market.candles import Candles
from jobs.history.aggregation import aggregate_stored

_HOUR = 3_600_000_000


async def store_longer(candles: Candles, block: BarBlock) -> int:
    """Rebuild every longer bar that contains bars of this stored block, and return how many were added or changed.

    The result is that of ``aggregate_stored``. If no other bars are stored between the first and the last of the block, those up
    to H1, or H4 and D of hours, are aggregated from the block, except those at its two ends. The others are rebuilt from the
    database, because a longer bar is whole only with all that belongs in it. Raises DatabaseUnavailable.
    """
    if not len(block):
        return 0
    of_minutes = [
        length
        for length in Granularity
        if block.granularity.divides(length) and (length is Granularity.H1 or length.divides(Granularity.H1))
    ]
    if block.granularity is Granularity.H1 and await _is_all_there_is(candles, block):
        return await _store_of_hours(candles, block)
    if not of_minutes or not await _is_all_there_is(candles, block):
        return await _at_the_end(candles, block, 0)
    changed = await _store_inner(candles, block, of_minutes)
    changed += await _at_the_start(candles, block)
    changed += await _at_the_end(candles, block, len(block) - 1)
    start, end = moment_of(block.times[0]), _end(block, len(block) - 1)
    return changed + await aggregate_stored(candles, block.pair, Granularity.H1, start, end, utc_now())


async def _is_all_there_is(candles: Candles, block: BarBlock) -> bool:
    """Return True if no other bars are stored between those of the block."""
    count = await candles.count(block.pair, block.granularity, moment_of(block.times[0]), _end(block, len(block) - 1))
    return count == len(block)


async def _store_of_hours(candles: Candles, block: BarBlock) -> int:
    changed = 0
    for length, hours in ((Granularity.H4, 4), (Granularity.D, 24)):
        full, others = await asyncio.to_thread(_longer_of, block, length, hours, candles.sources)
        changed += await candles.write_block(full) + await candles.write(others)
    changed += await _at_the_start(candles, block)
    changed += await _at_the_end(candles, block, len(block) - 1)
    start, end = moment_of(block.times[0]), _end(block, len(block) - 1)
    return changed + await aggregate_stored(candles, block.pair, Granularity.D, start, end, utc_now())


def _longer_of(block: BarBlock, length: Granularity, hours: int, sources: Sources) -> tuple[BarBlock, list[Candle]]:
    """Return the longer bars within a block of hours: those of so many hours without a gap, which are whole, and the others."""
    longer = block.aggregate(length)
    assert longer.counts is not None
    bounds = np.append(0, np.cumsum(longer.counts))
    lasts = block.times[bounds[1:] - 1]
    is_full = (longer.counts == hours) & (lasts - longer.times == (hours - 1) * _HOUR)
    is_inner = np.ones(len(longer), bool)
    is_inner[0] = is_inner[-1] = False
    now = utc_now()
    others = [
        bar
        for place in np.flatnonzero(is_inner & ~is_full)
        for bar in aggregate(block.part(bounds[place], bounds[place + 1]).candles(), length, now, sources)
    ]
    return longer.take(is_inner & is_full), others


async def _store_inner(candles: Candles, block: BarBlock, lengths: Sequence[Granularity]) -> int:
    """Store the bars of these lengths that lie within the block: all but the first and the last."""
    changed = 0
    for length in lengths:
        larger = block.aggregate(length)
        inner = larger.part(1, len(larger) - 1)
        if len(inner):
            changed += await candles.write_block(inner)
    return changed


async def _at_the_start(candles: Candles, block: BarBlock) -> int:
    return await aggregate_stored(candles, block.pair, block.granularity, moment_of(block.times[0]), _end(block, 0), utc_now())


async def _at_the_end(candles: Candles, block: BarBlock, first: int) -> int:
    """Rebuild the longer bars of the bars from index ``first`` from the database."""
    start, end = moment_of(block.times[first]), _end(block, len(block) - 1)
    return await aggregate_stored(candles, block.pair, block.granularity, start, end, utc_now())


def _end(block: BarBlock, place: int) -> datetime:
    """Return the end of a bar of the block."""
    return block.granularity.end(moment_of(block.times[place]))
