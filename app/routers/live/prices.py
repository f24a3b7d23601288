"""``/api/v1/prices``: the newest prices, from memory."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from app.errors import NoPrice
from app.http.gateway import CurrentGateway
from app.http.query import check_parameters
from app.http.refusals import RATE_LIMITED, UNKNOWN_PAIR, refusals
from app.realtime.contract.answers import AllPricesResponse, PriceResponse
from app.realtime.contract.fields import SpelledPair

router = APIRouter(prefix="/api/v1/prices", tags=["prices"])


@router.get(
    "/current",
    operation_id="get_current_price",
    summary="Newest price of one pair",
    response_model=PriceResponse,
    responses=refusals(UNKNOWN_PAIR, NoPrice("No cached price for EUR_USD"), RATE_LIMITED),
)
async def get_current_price(
    gateway: CurrentGateway,
    instrument: Annotated[SpelledPair, Query(description="A pair in any accepted spelling")],
) -> Response:
    """Return the newest price with its age, staleness and source. `id` is the cursor to follow a stream from."""
    return Response(gateway.prices.current(gateway.hub.pairs.find(instrument)), media_type="application/json")


@router.get(
    "/all",
    operation_id="get_all_prices",
    summary="Newest prices of all pairs",
    response_model=AllPricesResponse,
    responses=refusals(RATE_LIMITED),
)
async def get_all_prices(request: Request) -> Response:
    """Return the newest price of every pair that has one. `cursor` is their position in the stream."""
    check_parameters(request)
    # The gateway is not injected: on this endpoint, the most used, that would be a tenth of the cost.
    return Response(request.app.state.gateway.prices.all(), media_type="application/json")
