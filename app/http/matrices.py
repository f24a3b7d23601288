"""The newest correlation matrix and its ranked pairs: from Redis, else from the database."""

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from app.errors import LogUnavailable, NoData
from app.http.gateway import Gateway
from app.market.bars.candle import Granularity
from app.market.clock import rfc3339
from app.market.measures.correlation import Category
from app.market.pair import CurrencyPair
from app.realtime.contract.figures import BestPair, BestPairs, CorrelationMatrix
from app.storage.market.correlations import StoredCorrelation

T = TypeVar("T")

NO_CORRELATIONS = "No correlations have been computed yet"


async def newest_matrix(gateway: Gateway) -> CorrelationMatrix:
    """Return the newest matrix. Raises NoData before the first, and DatabaseUnavailable if neither store answers."""
    cached = await _cached(gateway, gateway.cache.matrix())
    if cached is not None:
        return cached
    cells = await _stored_cells(gateway)
    return _matrix(cells, gateway.hub.pairs.names, await _simulated(gateway, cells))


async def newest_best_pairs(gateway: Gateway) -> BestPairs:
    """Return the ranked pairs of the newest matrix. Raises as ``newest_matrix`` does."""
    cached = await _cached(gateway, gateway.cache.best_pairs())
    if cached is not None:
        return cached
    cells = await _stored_cells(gateway)
    stored = await gateway.from_database(gateway.stores.correlations.best())
    # In the order of the cached list: categories as they are defined, not by name.
    order = list(Category)
    pairs = [
        BestPair(
            pair1=pair.pair1,
            pair2=pair.pair2,
            category=Category(pair.category),
            correlation=pair.correlation,
            observations=pair.observations,
            reason=pair.reason,
            rank=pair.rank,
        )
        for pair in stored
    ]
    pairs.sort(key=lambda pair: (order.index(pair.category), pair.rank))
    simulated = await _simulated(gateway, cells)
    return BestPairs(timestamp=rfc3339(cells[0].time), simulated=simulated, count=len(pairs), pairs=pairs)


async def _cached(gateway: Gateway, work: Coroutine[Any, Any, T]) -> T | None:
    """What work on Redis returns; None if Redis does not answer."""
    try:
        return await gateway.from_redis(work)
    except LogUnavailable:
        return None


async def _stored_cells(gateway: Gateway) -> Sequence[StoredCorrelation]:
    """The cells of the newest stored matrix. Raises NoData, DatabaseUnavailable."""
    cells = await gateway.from_database(gateway.stores.correlations.newest())
    if not cells:
        raise NoData(NO_CORRELATIONS)
    return cells


def _matrix(cells: Sequence[StoredCorrelation], tracked: Sequence[str], simulated: bool) -> CorrelationMatrix:
    """Rebuild a matrix from its stored cells, those above the diagonal. Its ``timestamp`` is the end of its bars.

    On the diagonal a pair has as many observations as the most it shares with another pair.
    """
    found = _names(cells)
    names = [name for name in tracked if name in found] + sorted(found.difference(tracked))
    matrix: dict[str, dict[str, float | None]] = {name: dict.fromkeys(names) for name in names}
    observations = {name: dict.fromkeys(names, 0) for name in names}
    for cell in cells:
        for row, column in ((cell.pair1, cell.pair2), (cell.pair2, cell.pair1)):
            matrix[row][column] = cell.correlation
            observations[row][column] = cell.observations
    for name in names:
        observations[name][name] = max(observations[name].values())
        matrix[name][name] = 1.0 if any(value is not None for value in matrix[name].values()) else None
    first = cells[0]
    return CorrelationMatrix(
        timestamp=rfc3339(first.time),
        end=rfc3339(first.time),
        granularity=Granularity(first.granularity),
        window=first.window,
        pair_count=len(names),
        simulated=simulated,
        matrix=matrix,
        observations=observations,
    )


async def _simulated(gateway: Gateway, cells: Sequence[StoredCorrelation]) -> bool:
    """Whether a stored matrix may rest on simulated bars. It does not record that, so its bars are looked up."""
    pairs = [CurrencyPair.parse(name) for name in sorted(_names(cells))]
    first = cells[0]
    found = await gateway.from_database(
        gateway.stores.candles.newest(pairs, Granularity(first.granularity), first.window, until=first.time)
    )
    return any(gateway.known_sources.is_invented(bar.source) for bars in found.values() for bar in bars)


def _names(cells: Sequence[StoredCorrelation]) -> set[str]:
    """The pairs of a matrix."""
    return {name for cell in cells for name in (cell.pair1, cell.pair2)}
