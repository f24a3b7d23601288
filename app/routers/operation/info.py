"""``/api/v1/info``: what this gateway serves, and where."""

from fastapi import APIRouter, Request
from pydantic import Field

from app.http.gateway import CurrentGateway
from app.http.problems import responses
from app.realtime.contract.messages import Message, PairName

router = APIRouter(prefix="/api/v1", tags=["info"])

_API_VERSION = "1.0.0"


class CacheTtls(Message):
    """How long what is cached in Redis lives."""

    prices: str = Field(description="The newest prices", examples=["300s"])
    metrics: str = Field(description="What the hourly job measures", examples=["3600s"])
    correlation: str = Field(description="What the daily job computes", examples=["86400s"])


class RateLimit(Message):
    """How often a client may ask."""

    requests: int = Field(description="Requests in a window; 0 sets no limit", examples=[100])
    window_seconds: float = Field(description="The length of a window in seconds", examples=[60])


class Info(Message):
    """What this gateway serves."""

    api_version: str = Field(description="The version of the REST interface", examples=[_API_VERSION])
    service: str = Field(description="The name of the service", examples=["FX Gateway"])
    tracked_pairs: list[PairName] = Field(description="Every pair there are prices of")
    pair_count: int = Field(description="How many pairs these are", examples=[20])
    cache_ttls: CacheTtls = Field(description="How long what is cached lives")
    data_retention: str = Field(description="How long history is kept", examples=["365d"])
    source: str = Field(description="Where prices come from", examples=["oanda", "simulated"])
    sources: list[str] = Field(
        description="Every source that is configured, the most preferred first", examples=[["oanda", "kraken"]]
    )
    simulated: bool | None = Field(description="True where prices are invented; null where that is not known yet")
    rate_limit: RateLimit = Field(description="How often a client may ask")
    endpoints: dict[str, str] = Field(
        description="Paths by the names of their operations", examples=[{"get_current_price": "/api/v1/prices/current"}]
    )


@router.get("/info", operation_id="get_info", summary="What this gateway serves", responses=responses(429))
async def get_info(gateway: CurrentGateway, request: Request) -> Info:
    """Tracked pairs, lifetimes, limits and every endpoint."""
    pairs = gateway.hub.pairs
    source, simulated = gateway.shown_source
    return Info(
        api_version=_API_VERSION,
        service="FX Gateway",
        tracked_pairs=list(pairs.names),
        pair_count=len(pairs),
        cache_ttls=CacheTtls(
            prices=f"{gateway.hub.log.price_ttl}s",
            metrics=f"{gateway.metrics_ttl}s",
            correlation=f"{gateway.correlation_ttl}s",
        ),
        data_retention=f"{gateway.retention_days}d",
        source=source,
        sources=list(gateway.sources),
        simulated=simulated,
        rate_limit=RateLimit(requests=gateway.rate_limit_requests, window_seconds=gateway.rate_limit_window),
        endpoints={
            operation["operationId"]: path
            for path, operations in request.app.openapi()["paths"].items()
            for operation in operations.values()
        },
    )
