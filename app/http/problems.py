"""Errors as HTTP answers: RFC 9457 problem details, from one table."""

import logging
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import Any, cast
from urllib.parse import quote

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError, ValidationException, WebSocketRequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.errors import (
    CursorExpired,
    DatabaseUnavailable,
    Forbidden,
    GatewayError,
    InvalidCursor,
    InvalidPair,
    InvalidRequest,
    LogUnavailable,
    NoData,
    NoPrice,
    NotAcceptable,
    NotFound,
    NotReady,
    PayloadTooLarge,
    TooManyClients,
    TooManyRequests,
    Unauthorized,
    UnknownParameter,
)
from app.http.bodies import InvalidBody
from app.realtime.contract.answers import Problem
from app.realtime.hub.frames import EVENT_STREAM, PLAIN_MESSAGES
from app.validation import fault_message

_logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_LONGEST_REASON = 123


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of error is answered: its status, its title, and advice for the client."""

    status: int
    title: str
    message: str

    @property
    def type(self) -> str:
        """The URI by which programs recognise the kind."""
        return f"urn:problem-type:fx-gateway:{self.title.lower().replace(' ', '-')}"


_INTERNAL = Kind(500, "Internal error", "The request could not be answered")
_INVALID = Kind(400, "Invalid request", "A value of the request cannot be used")
_INVALID_BODY = Kind(422, "Invalid body", "The body of the request cannot be used; nothing was done")

_KINDS: Mapping[type[Exception], Kind] = {
    InvalidRequest: _INVALID,
    InvalidPair: Kind(400, "Invalid pair", "Not a currency pair, or not one that this gateway tracks"),
    UnknownParameter: Kind(422, "Unknown parameter", "The endpoint does not have this parameter; nothing was done"),
    InvalidCursor: Kind(400, "Invalid cursor", "A cursor is the id of an event"),
    InvalidBody: _INVALID_BODY,
    Unauthorized: Kind(401, "Unauthorized", "A bearer token of this gateway is needed"),
    Forbidden: Kind(403, "Forbidden", "This gateway does not allow this"),
    NoPrice: Kind(404, "No price yet", "Run hourly cron job to populate prices"),
    NoData: Kind(404, "No data", "Nothing is stored for this yet"),
    NotFound: Kind(404, "Not found", "Nothing has this name"),
    NotAcceptable: Kind(406, "Not acceptable", "Ask for another form"),
    CursorExpired: Kind(410, "Cursor expired", "Start again without a cursor, from the oldest retained event"),
    PayloadTooLarge: Kind(413, "Payload too large", "Send less at a time"),
    TooManyRequests: Kind(429, "Too many requests", "Try again later"),
    TooManyClients: Kind(503, "Too many clients", "Every place for a streaming client is taken; try again later"),
    NotReady: Kind(503, "Not ready", "Try again shortly"),
    LogUnavailable: Kind(503, "Log unavailable", "Redis does not answer; try again later"),
    DatabaseUnavailable: Kind(503, "Database unavailable", "The database does not answer; try again later"),
    GatewayError: _INTERNAL,
}


class ProblemDetails(BaseModel):
    """An error in the form of RFC 9457. `error` and `message` are the same as in the error events of Socket.IO."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:problem-type:fx-gateway:invalid-pair",
                    "title": "Invalid pair",
                    "status": 400,
                    "detail": "Invalid instrument: XXX_YYY",
                    "instance": "/api/v1/prices/current",
                    "error": "Invalid instrument: XXX_YYY",
                    "message": "Not a currency pair, or not one that this gateway tracks",
                }
            ]
        }
    )

    type: str = Field(description="A URI that names the kind of error; `about:blank` if it is no more than the status")
    title: str = Field(description="The kind of error in words")
    status: int = Field(description="The HTTP status")
    detail: str = Field(description="What went wrong this time")
    instance: str = Field(description="The path of the request")
    error: str = Field(description="The same as `detail`")
    message: str = Field(description="Advice for the client")
    index: int | None = Field(None, description="Which item of a list is at fault, counted from 0")


def register(app: FastAPI) -> None:
    """Answer every error of the application with a problem. Middleware that is added later is not covered."""
    app.add_exception_handler(GatewayError, cast(Any, _answer_gateway_error))  # of a request, and of a websocket
    app.add_exception_handler(RequestValidationError, _answer_invalid_values)
    app.add_exception_handler(WebSocketRequestValidationError, _refuse_invalid_values)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(Exception, _answer_unexpected)
    app.add_middleware(UnexpectedErrorMiddleware)


def problem_response(error: GatewayError, request: Request) -> Response:
    """The answer to an error of the gateway. Errors that are not for clients are logged and answered with a bare 500."""
    kind = _kind(error)
    if kind is _INTERNAL:
        _logger.error("answering %s %r failed", request.method, request.scope["path"], exc_info=error)
        return _problem(kind, request, kind.message)
    index = error.index if isinstance(error, InvalidBody) else None
    return _problem(kind, request, str(error), message=_message(kind, error), index=index, headers=_headers(error))


def problem_body(error: GatewayError | HTTPException | None, path: str) -> dict[str, Any]:
    """The body that answers an error at a path; None stands for an unexpected error."""
    request = Request({"type": "http", "method": "GET", "path": path, "headers": []})
    match error:
        case None:
            answer = _problem(_INTERNAL, request, _INTERNAL.message)
        case HTTPException():
            answer = _http_problem(error, request)
        case GatewayError():
            answer = problem_response(error, request)
    body: dict[str, Any] = orjson.loads(answer.body)
    return body


def status_of(error: GatewayError | HTTPException) -> int:
    """The HTTP status that answers an error."""
    return error.status_code if isinstance(error, HTTPException) else _kind(error).status


def titles_of(status: int) -> list[str]:
    """The titles of all kinds of errors with this status."""
    return [kind.title for kind in _KINDS.values() if kind.status == status]


def refused_event_stream(error: GatewayError) -> Response:
    """A refusal after which a browser's EventSource retries: one error event, and the milliseconds to wait."""
    problem = Problem(error=str(error), message=_message(_kind(error), error))
    advice = b"retry: %d\n" % (2000 + random.randrange(8000))
    return Response(
        advice + EVENT_STREAM.message("server_error", orjson.dumps(problem.model_dump())),
        headers={"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"},
        media_type="text/event-stream",
    )


def _kind(error: GatewayError) -> Kind:
    return next(_KINDS[ancestor] for ancestor in type(error).__mro__ if ancestor in _KINDS)


def _message(kind: Kind, error: GatewayError) -> str:
    return f"Try again in {ceil(error.retry_after)} s" if isinstance(error, TooManyRequests) else kind.message


def _headers(error: GatewayError) -> dict[str, str]:
    match error:
        case TooManyRequests():
            return {"Retry-After": str(max(1, ceil(error.retry_after)))}
        case Unauthorized():
            return {"WWW-Authenticate": 'Bearer realm="fx-gateway"'}
        case _:
            return {}


def _problem(
    kind: Kind,
    request: Request,
    detail: str,
    *,
    type: str | None = None,
    message: str | None = None,
    index: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    body = ProblemDetails(
        type=type or kind.type,
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=quote(request.scope["path"]),
        error=detail,
        message=message or kind.message,
        index=index,
    )
    return Response(
        orjson.dumps(body.model_dump(exclude={"index"} if index is None else None)),
        kind.status,
        headers,
        MEDIA_TYPE,
    )


async def _answer_gateway_error(request: HTTPConnection, error: Exception) -> Response | None:
    assert isinstance(error, GatewayError)
    if isinstance(request, WebSocket):
        await _refuse_websocket(request, problem_response(error, _handshake(request)))
        return None
    assert isinstance(request, Request)
    return problem_response(error, request)


async def _answer_invalid_values(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _invalid_values(request, error)


async def _refuse_invalid_values(websocket: WebSocket, error: Exception) -> None:
    assert isinstance(error, WebSocketRequestValidationError)
    await _refuse_websocket(websocket, _invalid_values(_handshake(websocket), error))


def _handshake(websocket: WebSocket) -> Request:
    """The request that a websocket begins with."""
    return Request({**websocket.scope, "type": "http", "method": "GET"})


async def _refuse_websocket(websocket: WebSocket, answer: Response) -> None:
    """Refuse to open a websocket.

    A browser shows a page neither the status nor the body of a refusal. So its websocket is opened, told the error as an
    event and closed: with code 1013 (try again later) if the reason may pass, else 1008 (policy violation), see RFC 6455,
    section 7.4, and the IANA registry of close codes. Other clients get the answer, and so does a page that may not connect.
    """
    from_browser = not {"origin", "sec-fetch-mode"}.isdisjoint(websocket.headers)
    with suppress(OSError, WebSocketDisconnect):  # the client has left
        if not from_browser or answer.status_code == HTTPStatus.FORBIDDEN:
            await websocket.send_denial_response(answer)
            return
        problem = orjson.loads(answer.body)
        body = Problem(error=problem["error"], message=problem["message"])
        await websocket.accept()
        await websocket.send_text(PLAIN_MESSAGES.message("server_error", orjson.dumps(body.model_dump())).decode())
        passes = answer.status_code in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
        await websocket.close(1013 if passes else 1008, _shortened(problem["error"]))


def _shortened(reason: str) -> str:
    """The beginning of a text, short enough for the reason of a close frame."""
    return reason.encode()[:_LONGEST_REASON].decode("utf-8", "ignore")


def _invalid_values(request: Request, error: ValidationException) -> Response:
    """Values that do not fit the declaration of their endpoint. All of them are named."""
    faults = error.errors()
    kind = _INVALID_BODY if any(fault["loc"][0] == "body" for fault in faults) else _INVALID
    detail = "; ".join(f"{'.'.join(map(str, fault['loc'][1:]))}: {fault_message(fault)}" for fault in faults)
    return _problem(kind, request, detail)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    """Errors of the framework: no such path, no such method."""
    assert isinstance(error, HTTPException)
    return _http_problem(error, request)


def _http_problem(error: HTTPException, request: Request) -> Response:
    phrase = HTTPStatus(error.status_code).phrase
    detail = f"{request.method} is not answered here" if error.status_code == 405 else str(error.detail)
    kind = Kind(error.status_code, phrase, "See /api/v1/info for the endpoints" if error.status_code == 404 else phrase)
    headers = {"Allow": ", ".join(_methods(request))} if error.status_code == 405 else error.headers
    return _problem(kind, request, detail, type="about:blank", headers=headers)


def _methods(request: Request) -> list[str]:
    """Every method of the path of a request: the framework names only those of its first route for that path."""
    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

    def is_answered(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    allowed = [method for method in methods if is_answered(method)]
    return [method for method in methods if method in allowed or (method == "HEAD" and "GET" in allowed)]


async def _answer_unexpected(request: Request, error: Exception) -> Response:
    """Answer what fails outside of ``UnexpectedErrorMiddleware``. The server logs the error."""
    return _problem(_INTERNAL, request, _INTERNAL.message)


class UnexpectedErrorMiddleware:
    """Log an unexpected error once, with the path, and answer without any internal text.

    The framework's own handler is outside of all other middleware, so that its answer has no CORS and rate-limit headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_noting_start(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_noting_start)
        except Exception:
            if started:
                raise
            _logger.exception("answering %s %r failed", scope["method"], scope["path"])
            answer = _problem(_INTERNAL, Request(scope), _INTERNAL.message)
            await answer(scope, receive, send)
