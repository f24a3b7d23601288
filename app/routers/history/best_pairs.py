"""``/api/v1/best-pairs``: which two pairs go together, and what for."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.errors import NoData
from app.http.gateway import CurrentGateway
from app.http.matrices import newest_best_pairs
from app.http.problems import responses
from app.market.measures.correlation import Category
from app.realtime.contract.figures import BestPairs

router = APIRouter(prefix="/api/v1/best-pairs", tags=["correlation"])


@router.get("", operation_id="get_best_pairs", summary="Pairs for a purpose", responses=responses(400, 404, 429, 503))
async def get_best_pairs(
    gateway: CurrentGateway,
    category: Annotated[
        Category | None,
        Query(
            description="Only these: `hedging` below a correlation of −0.4, `diversification` from there to below 0.4, "
            "`moderate` to below 0.7, `high_correlation` from there on"
        ),
    ] = None,
) -> BestPairs:
    """Every two pairs whose correlation is known, by category and rank, from the newest matrix."""
    newest = await newest_best_pairs(gateway)
    if newest is None:
        raise NoData("No correlations have been computed yet")
    if category is None:
        return newest
    pairs = [pair for pair in newest.pairs if pair.category is category]
    return BestPairs(timestamp=newest.timestamp, simulated=newest.simulated, count=len(pairs), pairs=pairs)
