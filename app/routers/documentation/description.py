"""What the OpenAPI document says beyond its operations: groups, who may ask, and the schemas of bodies."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException

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
    NotFound,
    NotReady,
    PayloadTooLarge,
    TooManyClients,
    TooManyRequests,
    Unauthorized,
)
from app.http.bodies import InvalidBody
from app.http.problems import problem_body
from app.routers.alerts import price_levels
from app.routers.live import publishing
from app.routers.operation.admin import CLOSED

_PROBLEM = "application/problem+json"
_LEVEL = "5e0e8a6c4f5b4b0f9d1c2a3b4c5d6e7f"

_GROUPS = {
    "prices": "The newest price of a pair, or of all, from memory: the same figures as `price_update` carries.",
    "candles": "Bars of a pair at eight granularities, from the database; the newest may still be open.",
    "metrics": "Volatility and moving averages of a pair, and the volatility of all pairs.",
    "correlation": "How pairs move together: the newest matrix, two pairs, and pairs for a purpose.",
    "alerts": "Past alerts, and the price levels that users wait for.",
    "events": "The log that everything else is told from, in pages by cursor, and the way into it for other programs.",
    "streams": "Server-Sent Events. What they say is described at [/docs/events](/docs/events).",
    "sessions": "The trading sessions of the day and what is open now.",
    "jobs": "What ran in the background, when, and how it ended.",
    "cache": "What the Redis behind the gateway holds.",
    "health": "For operators, load balancers and whoever restarts processes.",
    "admin": "What the gateway does now, for whoever runs it. The operator page at `/admin` shows it.",
    "info": "The gateway about itself: version, pairs, endpoints.",
}


def register(app: FastAPI) -> None:
    """Complete the OpenAPI document of the application, wherever it is asked for."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        if "tags" in document:  # the framework keeps the document, and so it is complete already
            return document
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for schema in schemas.values():
            _plain_maps(schema)
        for name, schema in {**publishing.described_schemas(), **price_levels.described_schemas()}.items():
            schemas.setdefault(name, schema)
        for path, operations in document["paths"].items():
            for operation in operations.values():
                _show_refusals(path, operation)
        # Nothing is needed to ask, but where an operation says otherwise.
        document["security"] = []
        document["tags"] = [{"name": name, "description": text} for name, text in _GROUPS.items()]
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _plain_maps(part: object) -> None:
    """Say of a map by name what its values are and, apart from that, how its names look.

    That is the same as a pattern with values of its own, which few generators of clients give a type to.
    """
    if isinstance(part, dict):
        if len(part.get("patternProperties", {})) == 1:
            [(pattern, values)] = part.pop("patternProperties").items()
            part |= {"propertyNames": {"pattern": pattern}, "additionalProperties": values}
        for inner in part.values():
            _plain_maps(inner)
    elif isinstance(part, list):
        for inner in part:
            _plain_maps(inner)


def _show_refusals(path: str, operation: dict[str, Any]) -> None:
    """Give every error answer of an operation the bodies that come with it, by what they show."""
    asked = path.replace("{instrument}", "EUR_USD").replace("{pair}", "EUR_USD").replace("{id}", _LEVEL)
    for status, answer in operation["responses"].items():
        if _PROBLEM in answer.get("content", {}):
            shown = {}
            for error in _refusals(status, operation):
                body = problem_body(error, asked)
                shown[body["title"].lower().replace(" ", "_")] = {"summary": body["title"], "value": body}
            answer["content"][_PROBLEM]["examples"] = shown


def _refusals(status: str, operation: dict[str, Any]) -> Iterator[GatewayError | HTTPException | None]:
    """Errors that an operation may answer with this status."""
    parameters = {parameter["name"] for parameter in operation.get("parameters", [])}
    [group] = operation["tags"]
    match status:
        case "400":
            if parameters & {"instrument", "pair", "pair1", "pairs"}:
                yield InvalidPair("Invalid instrument: XXX_YYY")
            if parameters & {"since", "last_event_id"}:
                yield InvalidCursor("Invalid cursor: the id of an event is needed, like 1764000000000-0")
            if "limit" in parameters:
                yield InvalidRequest("limit: Input should be greater than or equal to 1")
            elif "end_time" in parameters:
                yield InvalidRequest("end_time: RFC 3339 with an offset is needed (+ is written as %2B), or seconds since 1970")
            elif "max_hz" in parameters:
                yield InvalidRequest("max_hz: Input should be greater than 0")
            elif "category" in parameters:
                yield InvalidRequest("category: Input should be 'hedging', 'diversification', 'moderate' or 'high_correlation'")
        case "401":
            yield Unauthorized("A bearer token is needed")
        case "403" if group == "admin":
            yield Forbidden(CLOSED)
        case "403":
            yield Forbidden("Publishing is not allowed: this gateway has no publish tokens")
        case "404" if group == "prices":
            yield NoPrice("No cached price for EUR_USD")
        case "404" if group == "alerts":
            yield NotFound(f"No price level has the id '{_LEVEL}'")
        case "404":
            yield NoData(_NOTHING[group])
        case "408":
            yield HTTPException(408, "The body did not arrive within 10 s")
        case "410":
            yield CursorExpired("Cursor expired: the log does not hold 1764000000000-0")
        case "413":
            yield PayloadTooLarge(
                "The body is larger than 8192 bytes" if group == "alerts" else "The body is larger than 1048576 bytes"
            )
        case "415":
            yield HTTPException(415, "A body of the type application/json is needed")
        case "422" if group == "events":
            yield InvalidBody("Invalid instrument: XXX_YYY", 2)
        case "422":
            yield InvalidBody("level: EUR_USD has 5 decimals")
        case "429":
            yield TooManyRequests("Rate limit exceeded: 100 requests in 60 s", 12)
        case "503" if group == "streams":
            yield TooManyClients("Max clients reached: this gateway serves 1000 at once")
            yield NotReady("Try again shortly: the gateway is catching up with the log")
        case "503" if group in ("events", "cache"):
            yield LogUnavailable("Redis does not answer: ConnectionError")
        case "503":
            yield DatabaseUnavailable("The database does not answer: ConnectionRefusedError")
        case "default":
            yield None


_NOTHING = {
    "candles": "No H1 bars of EUR_USD are stored",
    "metrics": "Nothing has been measured yet",
    "correlation": "No correlations have been computed yet",
}
