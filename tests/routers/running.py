"""The REST interface over a hub at work, called without a server or through one."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import httpx
import uvicorn
from fastapi import FastAPI
from redis.asyncio import Redis
from starlette.types import ASGIApp

from app.realtime.cache import Cache
from app.realtime.log import open_redis
from app.realtime.view import PriceView
from app.routers import cache, events, health, info, prices, problems, sessions
from app.routers.gateway import Gateway
from app.routers.rate_limit import RateLimitMiddleware
from tests.realtime.listening import Stage, stage

TOKEN = "a token with enough characters"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


T = TypeVar("T")


async def answering() -> None:
    """A database that answers."""


def application(gateway: Gateway, *, requests: int = 0, clock: Callable[[], float] = time.monotonic) -> FastAPI:
    """The endpoints over a gateway, put together as the application does it."""
    app = FastAPI()
    for endpoints in (health, info, prices, sessions, events, cache):
        app.include_router(endpoints.router)
    problems.register(app)
    app.add_middleware(RateLimitMiddleware, requests=requests, window=60, most_clients=2, clock=clock)
    app.state.gateway = gateway
    return app


def client(app: FastAPI, *, address: str = "192.0.2.1", raises: bool = True) -> httpx.AsyncClient:
    """A client that calls the application in this process."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=raises, client=(address, 12345))
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


@dataclass(frozen=True)
class Rest:
    """A gateway, its hub at work, and a client of its REST interface."""

    on: Stage
    redis: Redis
    gateway: Gateway
    client: httpx.AsyncClient

    async def get(self, path: str, **query: str | int) -> httpx.Response:
        """GET a path with these query parameters."""
        return await self.client.get(path, params=query)

    async def post(self, content: object, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """POST something to be published, with the token unless other headers are given."""
        encoded = {name.encode(): value.encode() for name, value in (BEARER if headers is None else headers).items()}
        return await self.client.post("/api/v1/events", content=json.dumps(content), headers=encoded)

    async def log_length(self) -> int:
        """How many entries the log holds."""
        length: int = await self.redis.xlen("fx:events")
        return length


@asynccontextmanager
async def rest(
    url: str,
    *,
    database_ping: Callable[[], Coroutine[Any, Any, None]] = answering,
    heartbeat_interval: float = 60,
    **changed: Any,
) -> AsyncGenerator[Rest]:
    """The REST interface on the Valkey at the URL; ``changed`` are members of its gateway."""
    async with stage(url, heartbeat_interval=heartbeat_interval) as on, open_redis(url) as redis:
        gateway = Gateway(
            hub=on.hub,
            prices=PriceView(on.hub, stale_after=60),
            cache=Cache(redis, on.hub.pairs),
            publisher=on.log.publisher(),
            database_ping=database_ping,
            source="replay",
            publish_tokens=(b"another token of this gateway", TOKEN.encode()),
            rate_limit_requests=100,
            rate_limit_window=60,
        )
        gateway = replace(gateway, **changed)
        async with client(application(gateway)) as http:
            yield Rest(on, redis, gateway, http)


@contextmanager
def rest_for_examples(url: str) -> Iterator[tuple[Rest, Callable[[Coroutine[Any, Any, T]], T]]]:
    """A REST interface that many examples of one property share, and what runs a coroutine on its event loop."""
    with asyncio.Runner() as runner:
        opened = AsyncExitStack()
        api = runner.run(opened.enter_async_context(rest(url)))
        try:
            yield api, runner.run
        finally:
            runner.run(opened.aclose())


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncGenerator[tuple[str, int]]:
    """The application on a port of its own, behind a real server."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield listener.getsockname()[:2]
    finally:
        server.should_exit = True
        await task


async def status_of(app: FastAPI, **changed: object) -> int:
    """The status of a GET that no client library would send: ``changed`` are members of its ASGI scope."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": "/", "root_path": "", "query_string": b"", "headers": [], "server": ("gateway", 80),
        "client": ("192.0.2.1", 12345), **changed,
    }  # fmt: skip
    statuses: list[int] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    [status] = statuses
    return status


def assert_problem(response: httpx.Response, status: int, title: str, **members: object) -> dict[str, Any]:
    """Check that an answer is a sound problem with this status, title and other members; give its body."""
    body: dict[str, Any] = response.json()
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert body.keys() - {"index"} == {"type", "title", "status", "detail", "instance", "error", "message"}
    assert (body["status"], body["title"], body["error"]) == (status, title, body["detail"])
    assert body["instance"] == response.request.url.path
    assert body["message"]
    assert {name: body[name] for name in members} == members
    return body
