"""``/stream``: prices and alerts as Server-Sent Events."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from app.errors import GatewayError, LimitExceeded, LogUnavailable, NotReady
from app.http.gateway import CurrentGateway
from app.http.parameters import Instrument, SpelledPairsOrAll
from app.http.problems import problem_response, refused_event_stream, responses
from app.realtime.hub.hub import Hub
from app.realtime.hub.subscription import Interest
from app.realtime.transports.sse import EventStreamResponse

router = APIRouter(tags=["streams"])

Since = Annotated[
    str | None,
    Query(description="Resume after this event; a browser sends the header `Last-Event-ID` by itself when it comes back"),
]
LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", description="Resume after this event; wins over the query parameter")
]
Snapshot = Annotated[bool, Query(description="Send the newest price of each pair first")]
MaxHz = Annotated[float | None, Query(gt=0, le=1000, description="At most so many prices a second of each pair")]

_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An endless stream: `retry:`, the event `stream_opened`, a snapshot or what was missed, then live events",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.get(
    "/stream/{pair}",
    operation_id="stream_pair",
    summary="Stream one pair",
    response_class=Response,
    responses={**_STREAMED, **responses(400, 503)},
)
async def stream_pair(
    request: Request,
    gateway: CurrentGateway,
    pair: Instrument,
    last_event_id: Since = None,
    header: LastEventId = None,
    snapshot: Snapshot = True,
    max_hz: MaxHz = None,
) -> Response:
    """Prices and alerts of one pair, and what concerns everyone, as they happen."""
    names = frozenset([gateway.hub.pairs.find(pair).name])
    return await _stream(request, gateway.hub, Interest(names, max_hz), header or last_event_id or None, snapshot)


@router.get(
    "/stream",
    operation_id="stream_pairs",
    summary="Stream several pairs",
    response_class=Response,
    responses={**_STREAMED, **responses(400, 503)},
)
async def stream_pairs(
    request: Request,
    gateway: CurrentGateway,
    pairs: Annotated[
        SpelledPairsOrAll, Query(description="Pairs, comma separated, or `*` for all", examples=["EUR_USD,GBP_USD"])
    ],
    last_event_id: Since = None,
    header: LastEventId = None,
    snapshot: Snapshot = True,
    max_hz: MaxHz = None,
) -> Response:
    """Prices and alerts of several pairs on one connection, and what concerns everyone, as they happen."""
    tracked = gateway.hub.pairs
    names = frozenset(tracked.names if pairs == "*" else [tracked.find(name.strip(" ")).name for name in pairs.split(",")])
    return await _stream(request, gateway.hub, Interest(names, max_hz), header or last_event_id or None, snapshot)


async def _stream(request: Request, hub: Hub, interest: Interest, since: str | None, snapshot: bool) -> Response:
    refuse = _refusal(request)
    try:
        held = await hub.holds(since) if since is not None else None
    except LogUnavailable:
        held = None
    return EventStreamResponse(hub, interest, since=since, held=held, snapshot=snapshot, refuse=refuse)


def _refusal(request: Request) -> Callable[[GatewayError], Response]:
    """How this client is told that there is no place for it now.

    Any status but 200 stops a browser's EventSource for good, so a browser gets an event and advice when to come back.
    Others get the status.
    """
    from_browser = "text/event-stream" in request.headers.get("accept", "")

    def refuse(error: GatewayError) -> Response:
        temporary = isinstance(error, LimitExceeded | NotReady)
        return refused_event_stream(error) if from_browser and temporary else problem_response(error, request)

    return refuse
