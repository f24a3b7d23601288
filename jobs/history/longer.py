"""The longer bars that a block of imported bars adds up to, in one pass where nothing else is stored between them."""

from collections.abc import Sequence
from datetime import datetime

from app.market.bars.candle import Granularity
from app.market.blocks.block import BarBlock
from app.market.blocks.starts import moment_of
from app.market.clock import utc_now
from app.storage.market.candles import Candles
from jobs.history.aggregation import aggregate_stored


async def store_longer(candles: Candles, block: BarBlock) -> int:
    """Rebuild every longer bar that the stored bars of this block belong to; how many were added or changed.

    As ``aggregate_stored`` does: up to H1 from bars of this length, and beyond from hours. A longer bar that lies between the
    first and the last bar of the block, where no other bars are stored, is made of the block itself; only those at its two ends
    are made of what the database holds. Raises DatabaseUnavailable.
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
    """Whether no bars are stored between those of the block but these."""
    count = await candles.count(block.pair, block.granularity, moment_of(block.times[0]), _end(block, len(block) - 1))
    return count == len(block)


async def _store_inner(candles: Candles, block: BarBlock, lengths: Sequence[Granularity]) -> int:
    """Store the bars of these lengths that begin and end within the block: the first and the last of each may not."""
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
    """Rebuild from the database what the bars from place ``first`` on belong to."""
    start, end = moment_of(block.times[first]), _end(block, len(block) - 1)
    return await aggregate_stored(candles, block.pair, block.granularity, start, end, utc_now())


def _end(block: BarBlock, place: int) -> datetime:
    """Where a bar of the block ends."""
    return block.granularity.end(moment_of(block.times[place]))
