"""``/health``: whether the gateway works, lives, and should get clients."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from app.http.deadline import within
from app.http.gateway import CurrentGateway, Gateway
from app.http.problems import responses
from app.market.clock import rfc3339, utc_now
from app.realtime.contract.messages import Message, RecorderLag, TimeText
from app.realtime.monitoring.view import recorder_lag

router = APIRouter(tags=["health"])

_logger = logging.getLogger(__name__)

_ANSWER_WITHIN = 2.0

Connected = Literal["connected", "disconnected"]


class Services(Message):
    """The state of what the gateway depends on."""

    redis: Connected = Field(description="Whether Redis answers")
    database: Connected = Field(description="Whether the database answers")
    feed: Literal["live", "stale", "none"] = Field(
        description="`live` while any price is fresh, `stale` where none is, `none` where there never was one"
    )


class Health(Message):
    """The state of the gateway."""

    status: Literal["healthy", "unhealthy"] = Field(description="`unhealthy` where Redis or the database does not answer")
    service: str = Field(description="The name of the service", examples=["WebSocket Server"])
    timestamp: TimeText
    active_clients: int = Field(description="Streaming clients, of all workers that serve this port", examples=[5])
    max_clients: int = Field(description="As many as all workers together serve at once", examples=[1000])
    services: Services = Field(description="What the gateway depends on")
    source: str = Field(description="Where prices come from", examples=["oanda", "simulated"])
    simulated: bool | None = Field(description="True where prices are invented; null where that is not known yet")
    sources: dict[str, str] = Field(
        description="Every source of the feed by its name, the most preferred first: `active`, `standby`, `silent` or `refused`; "
        "empty before the feed was heard",
        examples=[{"oanda": "silent", "kraken": "active"}],
    )
    recorder: RecorderLag | None = Field(description="As the recorder last said; null where none has been heard")


class Liveness(Message):
    """That the process answers."""

    status: Literal["alive"] = Field(description="Always `alive`: a process that is not does not answer")
    reasons: list[str] = Field(description="Always empty; there for the likeness of `/health/ready`")


class Readiness(Message):
    """Whether the gateway should get clients."""

    status: Literal["ready", "not ready"] = Field(description="`not ready` where there is any reason")
    reasons: list[str] = Field(description="Why not; empty where it is ready", examples=[["Redis does not answer"]])


def _unavailable(description: str, model: type[Message]) -> dict[int | str, dict[str, Any]]:
    return {**responses(), HTTPStatus.SERVICE_UNAVAILABLE.value: {"description": description, "model": model}}


@router.head("/health", include_in_schema=False)
@router.get(
    "/health",
    operation_id="get_health",
    summary="State of the gateway",
    responses=_unavailable("Redis or the database does not answer", Health),
)
async def get_health(gateway: CurrentGateway, response: Response) -> Health:
    """Whether Redis and the database answer, how fresh prices are, and how many streaming clients there are."""
    redis, database = await _connected(gateway)
    healthy = redis and database
    if not healthy:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    source, simulated = gateway.shown_source
    words: dict[bool, Connected] = {True: "connected", False: "disconnected"}
    return Health(
        status="healthy" if healthy else "unhealthy",
        service="WebSocket Server",
        timestamp=rfc3339(utc_now()),
        active_clients=gateway.hub.statistics.table.total_clients,
        max_clients=gateway.hub.max_clients,
        services=Services.model_validate(
            {"redis": words[redis], "database": words[database], "feed": gateway.prices.feed_state()}
        ),
        source=source,
        simulated=simulated,
        sources=dict(gateway.hub.signs.feed.sources) if gateway.hub.signs.feed else {},
        recorder=recorder_lag(gateway.hub),
    )


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live", operation_id="get_liveness", summary="Does the process answer?", responses=responses())
async def get_liveness() -> Liveness:
    """For whoever restarts processes: loss of Redis or of the database is no reason to, this still answers 200."""
    return Liveness(status="alive", reasons=[])


@router.head("/health/ready", include_in_schema=False)
@router.get(
    "/health/ready",
    operation_id="get_readiness",
    summary="Should it get clients?",
    responses=_unavailable("This process should get no clients now", Readiness),
)
async def get_readiness(gateway: CurrentGateway, response: Response) -> Readiness:
    """For load balancers: ready when caught up with the log, not stopping, and Redis and the database answer."""
    redis, database = await _connected(gateway)
    reasons = []
    if not redis:
        reasons.append("Redis does not answer")
    unready = gateway.hub.unready
    # Where Redis is away, the fault of the log says the same once more.
    if unready is not None and (redis or unready != gateway.hub.log_fault):
        reasons.append(unready)
    if not database:
        reasons.append("the database does not answer")
    if reasons:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return Readiness(status="not ready" if reasons else "ready", reasons=reasons)


async def _connected(gateway: Gateway) -> tuple[bool, bool]:
    """Whether Redis and the database answer."""
    return await asyncio.gather(_answers("Redis", gateway.hub.log.ping), _answers("the database", gateway.database_ping))


async def _answers(name: str, ping: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    try:
        await within(_ANSWER_WITHIN, ping())
    except Exception as error:  # whatever it is, the service cannot be used
        _logger.warning("%s does not answer: %s", name, error or type(error).__name__)
        return False
    return True
