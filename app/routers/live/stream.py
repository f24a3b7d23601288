"""``/stream``: prices and alerts as Server-Sent Events."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.errors import GatewayError, InvalidRequest, LimitExceeded, LogUnavailable, NotReady, TooManyClients
from app.http.gateway import CurrentGateway
from app.http.parameters import Instrument, PairsOrAll, ResumedFrom, pairs_or_all
from app.http.problems import problem_response, refused_event_stream
from app.http.refusals import UNKNOWN_CURSOR, UNKNOWN_PAIR, refusals
from app.realtime.contract.compact import PriceFormat
from app.realtime.hub.hub import Hub
from app.realtime.hub.subscription import Interest
from app.realtime.transports.encoding import asks_for_gzip
from app.realtime.transports.opening import Opening
from app.realtime.transports.sse import EventStreamResponse

router = APIRouter(tags=["streams"])

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An endless stream: `retry:`, the event `stream_opened`, a snapshot or missed events, then live events. "
        "Compressed with gzip where `Accept-Encoding` asks for it",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    **refusals(
        UNKNOWN_PAIR,
        UNKNOWN_CURSOR,
        InvalidRequest("max_hz: Input should be greater than 0"),
        TooManyClients("Max clients reached: this gateway serves 1000 at once"),
        NotReady("Try again shortly: the gateway is catching up with the log"),
    ),
}


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How a client wants a stream: from which event on, with a snapshot or not, and how often."""

    since: str | None
    snapshot: bool
    max_hz: float | None
    format: PriceFormat


async def stream_options(
    since: ResumedFrom,
    snapshot: Annotated[bool, Query(description="Send the newest price of each pair first")] = True,
    max_hz: Annotated[float | None, Query(gt=0, le=1000, description="Maximum number of prices per second and pair")] = None,
    format: Annotated[PriceFormat, Query(description="The form of a price: `compact` is an array")] = PriceFormat.FULL,
) -> StreamOptions:
    """The parameters that every stream takes."""
    return StreamOptions(since, snapshot, max_hz, format)


Options = Annotated[StreamOptions, Depends(stream_options)]


@router.get(
    "/stream/{pair}",
    operation_id="stream_pair",
    summary="Stream one pair",
    response_class=Response,
    responses=_RESPONSES,
)
async def stream_pair(request: Request, gateway: CurrentGateway, pair: Instrument, options: Options) -> Response:
    """Stream the prices and alerts of one pair, and the events that concern every client."""
    return await _stream(request, gateway.hub, frozenset([gateway.hub.pairs.find(pair).name]), options)


@router.get(
    "/stream",
    operation_id="stream_pairs",
    summary="Stream several pairs",
    response_class=Response,
    responses=_RESPONSES,
)
async def stream_pairs(
    request: Request,
    gateway: CurrentGateway,
    pairs: PairsOrAll,
    options: Options,
) -> Response:
    """Stream the prices and alerts of several pairs on one connection, and the events that concern every client."""
    return await _stream(request, gateway.hub, pairs_or_all(pairs, gateway.hub.pairs), options)


async def opening_of(hub: Hub, pairs: frozenset[str], options: StreamOptions) -> Opening:
    """What a client asks for that opens a stream of these pairs. Raises InvalidCursor."""
    try:
        held = await hub.holds(options.since) if options.since is not None else None
    except LogUnavailable:
        held = None
    return Opening(Interest(pairs, options.max_hz, format=options.format), options.since, held, options.snapshot)


async def _stream(request: Request, hub: Hub, pairs: frozenset[str], options: StreamOptions) -> Response:
    opening = await opening_of(hub, pairs, options)
    gzip = asks_for_gzip(request.headers.getlist("accept-encoding"))
    return EventStreamResponse(hub, opening, gzip=gzip, refuse=_refusal(request))


def _refusal(request: Request) -> Callable[[GatewayError], Response]:
    """How to refuse this client.

    Any status but 200 stops a browser's EventSource for good. So a browser that may retry later gets 200 with an error event
    and a time to retry after, other clients the status of the error.
    """
    from_browser = "text/event-stream" in request.headers.get("accept", "")

    def refuse(error: GatewayError) -> Response:
        temporary = isinstance(error, LimitExceeded | NotReady)
        return refused_event_stream(error) if from_browser and temporary else problem_response(error, request)

    return refuse
