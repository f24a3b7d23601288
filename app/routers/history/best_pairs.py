"""``/api/v1/best-pairs``: combinations of two pairs, ranked by use."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.errors import InvalidRequest, NoData
from app.http.gateway import CurrentGateway
from app.http.matrices import NO_CORRELATIONS, newest_best_pairs
from app.http.refusals import NO_DATABASE, RATE_LIMITED, refusals
from app.market.measures.correlation import Category
from app.realtime.contract.figures import BestPairs

router = APIRouter(prefix="/api/v1/best-pairs", tags=["correlation"])


_UNKNOWN_CATEGORY = InvalidRequest("category: Input should be 'hedging', 'diversification', 'moderate' or 'high_correlation'")


@router.get(
    "",
    operation_id="get_best_pairs",
    summary="Pairs by use",
    responses=refusals(_UNKNOWN_CATEGORY, NoData(NO_CORRELATIONS), RATE_LIMITED, NO_DATABASE),
)
async def get_best_pairs(
    gateway: CurrentGateway,
    category: Annotated[
        Category | None,
        Query(
            description="Only this category: `hedging` is a correlation below −0.4, `diversification` from −0.4 to below 0.4, "
            "`moderate` from 0.4 to below 0.7, `high_correlation` from 0.7"
        ),
    ] = None,
) -> BestPairs:
    """Return every combination of two pairs with a known correlation, by category and rank, from the newest matrix."""
    newest = await newest_best_pairs(gateway)
    if category is None:
        return newest
    pairs = [pair for pair in newest.pairs if pair.category is category]
    return BestPairs(timestamp=newest.timestamp, simulated=newest.simulated, count=len(pairs), pairs=pairs)
