"""``/ws``: prices and alerts over a plain websocket."""

from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from app.errors import Forbidden, InvalidRequest
from app.http.gateway import CurrentGateway
from app.http.parameters import pairs_or_all
from app.realtime.hub.subscription import NOTHING_YET
from app.realtime.transports.engine.request import Request
from app.realtime.transports.opening import Opening
from app.routers.live.stream import Options, opening_of

PATH = "/ws"

router = APIRouter()


@router.websocket(PATH)
async def open_websocket(
    websocket: WebSocket, gateway: CurrentGateway, options: Options, pairs: Annotated[str | None, Query()] = None
) -> None:
    """Stream the events of these pairs, and of those that the client subscribes to with messages.

    Raises GatewayError before the websocket is open.
    """
    request = Request(websocket.scope, websocket.receive, websocket.send)
    if not gateway.sockets.allows(request):
        raise Forbidden(f"{request.header(b'origin')} is not an accepted origin")
    if pairs is not None:
        opening = await opening_of(gateway.hub, pairs_or_all(pairs, gateway.hub.pairs), options)
    elif options.since is None and options.snapshot and options.max_hz is None:
        opening = Opening(replace(NOTHING_YET, format=options.format))
    else:
        raise InvalidRequest("pairs: needed with any other parameter but format; without pairs, subscribe with a message")
    await websocket.receive()  # the request to connect
    with suppress(OSError, WebSocketDisconnect):  # the client has left
        await gateway.sockets.serve(request, opening)


async def _explain(request: HttpRequest) -> Response:
    """Answer a request that is no handshake of a websocket."""
    raise HTTPException(
        HTTPStatus.UPGRADE_REQUIRED,
        "A websocket is served here; by plain HTTP the same events come from /stream",
        {"Connection": "Upgrade", "Upgrade": "websocket"},
    )


router.add_route(PATH, _explain, methods=["GET"], include_in_schema=False)
