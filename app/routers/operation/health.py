"""``/health``: whether the gateway is healthy, alive, and ready for clients."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from app.errors import GatewayError
from app.http.deadline import within
from app.http.fields import DroppedQuotes, FeedState, SilentPairs, Simulated, SourceName, SourceStates
from app.http.gateway import CurrentGateway, Gateway
from app.http.refusals import refusals
from app.market.clock import rfc3339, utc_now
from app.quiet_log import by_client
from app.realtime.contract.answers import RecorderLag
from app.realtime.contract.fields import Message, TimeText
from app.realtime.monitoring.view import recorder_lag

router = APIRouter(tags=["health"])

_logger = logging.getLogger(__name__)

_TIMEOUT = 2.0

Connected = Literal["connected", "disconnected"]


class Services(Message):
    """The state of the services that the gateway depends on."""

    redis: Connected = Field(description="Whether Redis answers")
    database: Connected = Field(description="Whether the database answers")
    feed: FeedState


class Health(Message):
    """The state of the gateway."""

    status: Literal["healthy", "unhealthy"] = Field(description="`unhealthy` if Redis or the database does not answer")
    service: str = Field(description="The name of the service", examples=["WebSocket Server"])
    timestamp: TimeText
    active_clients: int = Field(description="Streaming clients of all workers", examples=[5])
    max_clients: int = Field(description="Maximum number of streaming clients of all workers", examples=[1000])
    services: Services = Field(description="The services that the gateway depends on")
    source: SourceName
    simulated: Simulated
    sources: SourceStates
    silent_pairs: SilentPairs
    dropped: DroppedQuotes
    recorder: RecorderLag | None = Field(description="As the recorder last reported; null if no recorder has been heard")


class Liveness(Message):
    """A sign of life."""

    status: Literal["alive"] = Field(description="Always `alive`")
    reasons: list[str] = Field(description="Always empty, for symmetry with `/health/ready`")


class Readiness(Message):
    """Whether the gateway is ready for clients."""

    status: Literal["ready", "not ready"] = Field(description="`not ready` if there is any reason")
    reasons: list[str] = Field(description="Why it is not ready; empty if it is", examples=[["Redis does not answer"]])


def _unavailable(description: str, model: type[Message]) -> dict[int | str, dict[str, Any]]:
    return {**refusals(), HTTPStatus.SERVICE_UNAVAILABLE.value: {"description": description, "model": model}}


@router.head("/health", include_in_schema=False)
@router.get(
    "/health",
    operation_id="get_health",
    summary="State of the gateway",
    responses=_unavailable("Redis or the database does not answer", Health),
)
async def get_health(gateway: CurrentGateway, response: Response) -> Health:
    """Return whether Redis and the database answer, whether prices are fresh, and the number of streaming clients."""
    redis, database = await _connected(gateway)
    healthy = redis and database
    if not healthy:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    source, simulated = gateway.current_source
    sign = gateway.hub.signs.feed
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
        sources=dict(sign.sources) if sign else {},
        silent_pairs=gateway.prices.silent_pairs(),
        dropped=dict(sign.dropped) if sign else {},
        recorder=recorder_lag(gateway.hub),
    )


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live", operation_id="get_liveness", summary="Liveness", responses=refusals())
async def get_liveness() -> Liveness:
    """For process supervisors: 200 as long as the process runs, even without Redis or the database."""
    return Liveness(status="alive", reasons=[])


@router.head("/health/ready", include_in_schema=False)
@router.get(
    "/health/ready",
    operation_id="get_readiness",
    summary="Readiness",
    responses=_unavailable("This process should not get clients now", Readiness),
)
async def get_readiness(gateway: CurrentGateway, response: Response) -> Readiness:
    """For load balancers: ready if Redis and the database answer, and the process has caught up and is not stopping."""
    redis, database = await _connected(gateway)
    reasons = []
    if not redis:
        reasons.append("Redis does not answer")
    unready = gateway.hub.unready
    # Without Redis, the fault of the log is no further reason.
    if unready is not None and (redis or unready != gateway.hub.log_fault):
        reasons.append(unready)
    if not database:
        reasons.append("the database does not answer")
    if reasons:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return Readiness(status="not ready" if reasons else "ready", reasons=reasons)


async def _connected(gateway: Gateway) -> tuple[bool, bool]:
    """Whether Redis and the database answer."""
    return await asyncio.gather(_answers("Redis", gateway.hub.log.ping), _answers("the database", gateway.ping_database))


async def _answers(name: str, ping: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    try:
        await within(_TIMEOUT, ping())
    except GatewayError as error:  # its message names the service
        _logger.warning("health check failed: %s", error, extra=by_client(None, name))
    except Exception as error:  # whatever it is, the service cannot be used
        reason = error or type(error).__name__
        _logger.warning("health check failed: %s does not answer: %s", name, reason, extra=by_client(None, name))
    else:
        return True
    return False
