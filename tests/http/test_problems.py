"""Errors over HTTP: one shape for all of them, and nothing from the inside."""

from collections.abc import AsyncGenerator, MutableMapping
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, field_validator
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app import errors
from app.errors import ConfigurationError, GatewayError, LogUnavailable, SourceError, TooManyRequests
from app.http.bodies import InvalidBody
from app.http.problems import ProblemDetails, refused_event_stream, register
from app.http.refusals import RATE_LIMITED, UNKNOWN_PAIR, refusals
from tests.routers.running import Rest, application, assert_problem, client

SECRET = "redis://:password@10.0.0.1"


def app_that_fails(error: Exception) -> FastAPI:
    """An application whose one endpoint raises."""
    app = FastAPI()
    register(app)

    @app.get("/fails")
    async def fail() -> None:
        raise error

    return app


async def answer_to(error: Exception) -> httpx.Response:
    """How an endpoint's error is answered."""
    async with client(app_that_fails(error)) as http:
        return await http.get("/fails")


def errors_of_the_gateway() -> list[type[GatewayError]]:
    """Every class of ``app.errors``."""
    return [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, GatewayError)]


INTERNAL = {
    GatewayError,
    ConfigurationError,
    SourceError,
    errors.NotOffered,
    errors.SourceRefused,
    errors.LimitExceeded,
    errors.WorkersLost,
}


@pytest.mark.parametrize("kind", errors_of_the_gateway(), ids=lambda kind: kind.__name__)
async def test_every_error_of_the_gateway_has_its_answer(kind: type[GatewayError], caplog: pytest.LogCaptureFixture) -> None:
    error = kind("what is wrong", 2.5) if kind is TooManyRequests else kind("what is wrong")
    response = await answer_to(error)
    problem = ProblemDetails.model_validate(response.json())
    if kind in INTERNAL:
        assert_problem(response, 500, "Internal error")
        assert "what is wrong" not in response.text
        assert "what is wrong" in caplog.text
        assert "Traceback" in caplog.text
    else:
        assert 400 <= problem.status != 500
        assert problem.detail == problem.error == "what is wrong"
        assert not caplog.records


async def test_the_wait_is_told_in_whole_seconds() -> None:
    response = await answer_to(TooManyRequests("too often", 2.5))
    assert response.headers["retry-after"] == "3"
    assert response.json()["message"] == "Try again in 3 s"
    assert (await answer_to(TooManyRequests("too often", 0.0))).headers["retry-after"] == "1"


async def test_the_index_of_the_wrong_item_is_told() -> None:
    body = assert_problem(await answer_to(InvalidBody("no price", 3)), 422, "Invalid body", index=3)
    assert body["detail"] == "item 3: no price"
    assert "index" not in (await answer_to(InvalidBody("no price"))).json()


async def test_the_instance_is_the_path_without_the_query(api: Rest) -> None:
    response = await api.client.get("/api/v1/prices/cürrent%2f<x>?token=secret")
    assert response.status_code == 404
    assert response.json()["instance"] == "/api/v1/prices/c%C3%BCrrent/%3Cx%3E"
    assert "secret" not in response.text


async def test_a_path_that_is_not_there(api: Rest) -> None:
    body = assert_problem(await api.get("/nowhere"), 404, "Not Found")
    assert body["type"] == "about:blank"


async def test_a_method_that_is_not_there(api: Rest) -> None:
    response = await api.client.delete("/api/v1/prices/current")
    assert_problem(response, 405, "Method Not Allowed", detail="DELETE is not answered here")
    assert response.headers["allow"] == "GET, HEAD"


async def test_all_methods_of_a_path_are_told_where_another_is_tried(api: Rest) -> None:
    paths = {
        "/health": "GET, HEAD",
        "/api/v1/events": "GET, HEAD, POST",
        "/api/v1/alerts/levels": "GET, HEAD, POST",
        f"/api/v1/alerts/levels/{'0' * 32}": "GET, HEAD, DELETE",
    }
    for path, allowed in paths.items():
        response = await api.client.put(path)
        assert_problem(response, 405, "Method Not Allowed")
        assert response.headers["allow"] == allowed


async def test_all_values_that_do_not_pass_are_named() -> None:
    class Body(BaseModel):
        count: int

        @field_validator("count")
        @classmethod
        def even(cls, count: int) -> int:
            if count % 2:
                raise ValueError("an even number is needed")
            return count

    app = FastAPI()
    register(app)

    @app.post("/takes/{size}")
    async def take(size: int, limit: int) -> None: ...

    @app.post("/reads")
    async def read(body: Body) -> None: ...

    async with client(app) as http:
        body = assert_problem(await http.post("/takes/x"), 400, "Invalid request")
        assert body["detail"].startswith("size: ")
        assert "; limit: Field required" in body["detail"]
        body = assert_problem(await http.post("/reads", json={"count": "x"}), 422, "Invalid body")
        assert body["detail"].startswith("count: ")
        # A message of ours, without the prefix of pydantic.
        body = assert_problem(await http.post("/reads", json={"count": 1}), 422, "Invalid body")
        assert body["detail"] == "count: an even number is needed"


# ---------------------------------------------------------------- unexpected errors


async def test_an_unexpected_error_is_logged_once_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    response = await answer_to(ZeroDivisionError(SECRET))
    assert_problem(response, 500, "Internal error", detail="The request could not be answered")
    assert SECRET not in response.text
    [record] = caplog.records
    assert record.getMessage() == "answering GET '/fails' failed"
    assert record.exc_info is not None
    assert SECRET in str(record.exc_info[1])


async def test_an_error_outside_of_the_endpoints_is_answered_alike() -> None:
    app = app_that_fails(ValueError())

    class Fails:
        def __init__(self, app: ASGIApp) -> None: ...

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise ZeroDivisionError(SECRET)

    app.add_middleware(Fails)
    async with client(app, raises=False) as http:
        response = await http.get("/fails")
    assert_problem(response, 500, "Internal error")
    assert SECRET not in response.text


async def test_an_answer_that_has_begun_is_broken_off() -> None:
    app = FastAPI()
    register(app)

    async def content() -> AsyncGenerator[bytes]:
        yield b"first"
        raise ZeroDivisionError

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(content())

    async with client(app) as http:
        with pytest.raises(ZeroDivisionError):
            await http.get("/stream")


async def test_what_is_no_request_is_left_alone() -> None:
    app = FastAPI(lifespan=None)
    register(app)
    said: list[Any] = []

    async def receive() -> dict[str, object]:
        return {"type": "lifespan.startup"} if not said else {"type": "lifespan.shutdown"}

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append(message["type"])

    await app({"type": "lifespan", "state": {}}, receive, send)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


# ---------------------------------------------------------------- event streams


def test_a_browser_is_refused_by_an_event_and_told_when_to_come_back() -> None:
    response = refused_event_stream(LogUnavailable("Redis does not answer: TimeoutError"))
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-accel-buffering"] == "no"
    assert "no-store" in response.headers["cache-control"]
    retry, event, data, *rest = bytes(response.body).split(b"\n")
    assert 2000 <= int(retry.removeprefix(b"retry: ")) < 10_000
    assert event == b"event: server_error"
    assert orjson.loads(data.removeprefix(b"data: ")) == {
        "error": "Redis does not answer: TimeoutError",
        "message": "Redis does not answer; try again later",
    }
    assert rest == [b"", b""]


# ---------------------------------------------------------------- OpenAPI


def test_the_responses_of_an_operation() -> None:
    described = refusals(UNKNOWN_PAIR, errors.NoData("none"), errors.NotFound("nothing"), RATE_LIMITED)
    assert set(described) == {400, 404, 429, "default"}
    assert described[404]["description"] == "Not Found"  # several kinds, so the name of the status
    assert described[400]["description"] == "Bad Request"
    assert "Retry-After" in described[429]["headers"]
    examples = described[404]["content"]["application/problem+json"]["examples"]
    assert {name: example["value"]["detail"] for name, example in examples.items()} == {"no_data": "none", "not_found": "nothing"}
    assert all(list(each["content"]) == ["application/problem+json"] for each in described.values())


async def test_the_description_is_whole(api: Rest) -> None:
    document = application(api.gateway).openapi()
    assert "ProblemDetails" in document["components"]["schemas"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for reference in references(document):
        assert resolved(document, reference), reference
    operations = {
        operation["operationId"]: operation for operations in document["paths"].values() for operation in operations.values()
    }
    for name, operation in operations.items():
        assert name.replace("_", "").isalpha(), name
        assert operation["tags"]
        assert operation["summary"]
        assert operation["description"]
    assert set(operations["get_events"]["responses"]) == {"200", "400", "406", "410", "429", "503", "default"}
    assert set(operations["publish_events"]["responses"]) == {
        "202", "401", "403", "408", "413", "422", "429", "503", "default",
    }  # fmt: skip
    assert operations["publish_events"]["security"] == [{"HTTPBearer": []}]
    assert operations["publish_events"]["requestBody"]["required"] is True
    page = operations["get_events"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert page == {"$ref": "#/components/schemas/EventPage"}
    health = operations["get_health"]["responses"]["503"]["content"]["application/json"]["schema"]
    assert health == {"$ref": "#/components/schemas/Health"}


def references(part: object) -> list[str]:
    """Every reference in a document."""
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [reference for value in part.values() for reference in references(value)]
    return [reference for item in part for reference in references(item)] if isinstance(part, list) else []


def resolved(document: dict[str, Any], reference: str) -> object:
    """What a reference stands for."""
    part: Any = document
    for name in reference.removeprefix("#/").split("/"):
        part = part[name]
    return part
