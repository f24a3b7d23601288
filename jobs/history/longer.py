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

    The result is that of ``aggregate_stored``: up to H1 from bars of this length, longer ones from hours. If no other bars are
    stored between the first and the last of the block, longer bars are aggregated from the block, except those at its two ends,
    which are rebuilt from the database. Raises DatabaseUnavailable.
    """
    if not len(block):
        return 0
    lengths = [length for length in Granularity if block.granularity.divides(length)]
    of_minutes = [length for length in lengths if length is Granularity.H1 or length.divides(Granularity.H1)]
    if not await _is_all_there_is(candles, block):
        return await _at_the_end(candles, block, 0)
    changed = await _store_inner(candles, block, of_minutes or lengths)
    if of_minutes:
        hours = block.aggregate(Granularity.H1)
        inner = hours.part(1, len(hours) - 1)
        if len(inner) and not await _is_all_there_is(candles, inner):
            return changed + await _at_the_end(candles, block, 0)
        changed += await _store_inner(candles, hours, [length for length in lengths if length not in of_minutes])
    changed += await _at_the_start(candles, block)
    return changed + await _at_the_end(candles, block, len(block) - 1)


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
