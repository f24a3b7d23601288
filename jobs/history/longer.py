"""Rebuilding longer bars after an import, in memory where possible."""

from collections.abc import Sequence
from datetime import datetime

from app.market.bars.candle import Granularity
from app.market.blocks.block import BarBlock
from app.market.blocks.starts import moment_of
from app.market.clock import utc_now
from app.storage.market.candles import Candles
from jobs.history.aggregation import aggregate_stored


async def store_longer(candles: Candles, block: BarBlock) -> int:
    """Rebuild every longer bar that contains bars of this stored block, and return how many were added or changed.

    The result is that of ``aggregate_stored``. If no other bars are stored between the first and the last of the block, those up
    to H1 are aggregated from the block, except those at its two ends. The others are rebuilt from the database, because a
    longer bar is whole only with all that belongs in it. Raises DatabaseUnavailable.
    """
    if not len(block):
        return 0
    of_minutes = [
        length
        for length in Granularity
        if block.granularity.divides(length) and (length is Granularity.H1 or length.divides(Granularity.H1))
    ]
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
