"""``/api/v1/prices``: the newest prices, from memory."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from app.http.gateway import CurrentGateway
from app.http.problems import responses
from app.realtime.contract.messages import AllPricesResponse, PriceResponse, SpelledPair

router = APIRouter(prefix="/api/v1/prices", tags=["prices"])


@router.get(
    "/current",
    operation_id="get_current_price",
    summary="Newest price of one pair",
    response_model=PriceResponse,
    responses=responses(400, 404, 429),
)
async def get_current_price(
    gateway: CurrentGateway,
    instrument: Annotated[SpelledPair, Query(description="A pair in any accepted spelling", examples=["EUR_USD", "EUR/USD"])],
) -> Response:
    """With its age, whether it is stale, and its source; `id` is the cursor to follow the stream from."""
    return Response(gateway.prices.current(gateway.hub.pairs.find(instrument)), media_type="application/json")


@router.get(
    "/all",
    operation_id="get_all_prices",
    summary="Newest prices of all pairs",
    response_model=AllPricesResponse,
    responses=responses(429),
)
async def get_all_prices(request: Request) -> Response:
    """Pairs that have had no price yet are left out. `cursor` is the place in the stream that the prices stand for."""
    # Not injected: on the endpoint that is asked most, that would be a tenth of the answer's cost.
    return Response(request.app.state.gateway.prices.all(), media_type="application/json")
