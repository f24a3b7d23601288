"""``/api/v1/info``: pairs, limits and endpoints of the gateway."""

from fastapi import APIRouter, Request
from pydantic import Field

from app.http.fields import Simulated, SourceName
from app.http.gateway import CurrentGateway
from app.http.refusals import RATE_LIMITED, refusals
from app.realtime.contract.fields import Message, PairName
from app.realtime.log.cache import CORRELATION_TTL, METRICS_TTL

router = APIRouter(prefix="/api/v1", tags=["info"])


class CacheTtls(Message):
    """Lifetimes of what is cached in Redis."""

    prices: str = Field(description="The newest prices", examples=["300s"])
    metrics: str = Field(description="The measures of the hourly job", examples=["3600s"])
    correlation: str = Field(description="The correlations of the daily job", examples=["86400s"])


class RateLimit(Message):
    """The rate limit of a client."""

    requests: int = Field(description="Requests in a window; 0 is no limit", examples=[100])
    window_seconds: float = Field(description="Length of a window in seconds", examples=[60])


class Info(Message):
    """Pairs, limits and endpoints of the gateway."""

    api_version: str = Field(description="The version of the gateway", examples=["0.1.0"])
    service: str = Field(description="The name of the service", examples=["FX Gateway"])
    tracked_pairs: list[PairName] = Field(description="The pairs that the gateway serves")
    pair_count: int = Field(description="Number of pairs", examples=[20])
    cache_ttls: CacheTtls = Field(description="Lifetimes of what is cached in Redis")
    data_retention: str = Field(description="How long events, alerts and figures are kept in the database", examples=["365d"])
    source: SourceName
    sources: list[str] = Field(description="The configured sources, the most preferred first", examples=[["oanda", "kraken"]])
    simulated: Simulated
    rate_limit: RateLimit = Field(description="The rate limit of a client")
    endpoints: dict[str, str] = Field(
        description="Paths by operation id", examples=[{"get_current_price": "/api/v1/prices/current"}]
    )


@router.get("/info", operation_id="get_info", summary="About this gateway", responses=refusals(RATE_LIMITED))
async def get_info(gateway: CurrentGateway, request: Request) -> Info:
    """Return tracked pairs, lifetimes, limits and endpoints."""
    pairs = gateway.hub.pairs
    source, simulated = gateway.current_source
    prefix: str = request.scope.get("root_path", "")
    return Info(
        api_version=request.app.version,
        service="FX Gateway",
        tracked_pairs=list(pairs.names),
        pair_count=len(pairs),
        cache_ttls=CacheTtls(
            prices=f"{gateway.hub.log.price_ttl}s",
            metrics=f"{METRICS_TTL}s",
            correlation=f"{CORRELATION_TTL}s",
        ),
        data_retention=f"{gateway.retention_days}d",
        source=source,
        sources=list(gateway.sources),
        simulated=simulated,
        rate_limit=RateLimit(requests=gateway.limits.requests, window_seconds=gateway.limits.window),
        endpoints={
            operation["operationId"]: f"{prefix}{path}"
            for path, operations in request.app.openapi()["paths"].items()
            for operation in operations.values()
        },
    )
