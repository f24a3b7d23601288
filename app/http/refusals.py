"""The error answers of an operation for OpenAPI, each with the examples that the operation declares."""

from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException

from app.errors import (
    DatabaseUnavailable,
    GatewayError,
    InvalidCursor,
    InvalidPair,
    InvalidRequest,
    LogUnavailable,
    TooManyRequests,
    Unauthorized,
)
from app.http.problems import MEDIA_TYPE, ProblemDetails, problem_body, status_of, titles_of

# Examples that several operations share. They are shown, never raised.
UNKNOWN_PAIR = InvalidPair("Invalid instrument: XXX_YYY")
UNKNOWN_CURSOR = InvalidCursor("Invalid cursor: the id of an event is needed, like 1764000000000-0")
WRONG_LIMIT = InvalidRequest("limit: Input should be greater than or equal to 1")
WRONG_TIME = InvalidRequest("end_time: RFC 3339 with an offset is needed (+ is written as %2B), or seconds since 1970")
NO_TOKEN = Unauthorized("A bearer token is needed")
LATE_BODY = HTTPException(408, "The body did not arrive within 10 s")
RATE_LIMITED = TooManyRequests("Rate limit exceeded: 100 requests in 60 s", 12)
NO_REDIS = LogUnavailable("Redis does not answer: ConnectionError")
NO_DATABASE = DatabaseUnavailable("The database does not answer: ConnectionRefusedError")


def refusals(*examples: GatewayError | HTTPException) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of an operation that may answer with these errors, grouped by their status.

    Their ``instance`` is left empty here; ``description`` puts the path of the operation there.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for error in examples:
        status = status_of(error)
        titles = titles_of(status)
        response = responses.setdefault(status, _response(titles[0] if len(titles) == 1 else HTTPStatus(status).phrase))
        _add_example(response, error)
    if 429 in responses:
        responses[429]["headers"] = {
            "Retry-After": {"description": "Seconds until the next request is answered", "schema": {"type": "integer"}}
        }
    # A default of our own, or FastAPI would describe a 422 of its own that is never sent.
    responses["default"] = _response("Any other error")
    _add_example(responses["default"], None)
    return responses


def _response(description: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema, "examples": {}}}}


def _add_example(response: dict[str, Any], error: GatewayError | HTTPException | None) -> None:
    body = problem_body(error, "")
    name = body["title"].lower().replace(" ", "_")
    response["content"][MEDIA_TYPE]["examples"][name] = {"summary": body["title"], "value": body}
