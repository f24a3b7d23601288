"""The REST interface over a hub at work, called without a server or through one."""

import asyncio
import json
import socket
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import httpx
import uvicorn
from fastapi import FastAPI
from redis.asyncio import Redis
from starlette.types import ASGIApp

from app.http import problems
from app.http.gateway import Gateway, Limits, Stores, Tokens
from app.http.rate_limit import RateLimitMiddleware
from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.measures.volatility import BARS_PER_YEAR
from app.market.pair import CurrencyPair
from app.realtime.log.cache import Cache
from app.realtime.log.log import open_redis
from app.realtime.monitoring.report import Reports
from app.realtime.monitoring.view import PriceView
from app.realtime.transports.limit import RequestLimit
from app.realtime.transports.plain import PlainSockets
from app.routers import catalogue
from app.sources import SOURCES
from app.storage.database.database import Database, open_database
from tests.databases import migrated_postgres, on_postgres
from tests.realtime.listening import Stage, stage

TOKEN = "a token with enough characters"
FIRST = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday, at which the bars of tests begin."""
VERSION = "7.8.9"
"""The version of the application under test."""

_POINT = Decimal("0.00001")

BEARER = {"Authorization": f"Bearer {TOKEN}"}


Query = str | int | list[str]

T = TypeVar("T")


async def answering() -> None:
    """A database that answers."""


def application(gateway: Gateway, *, requests: int = 0, clock: Callable[[], float] = time.monotonic) -> FastAPI:
    """The endpoints on a gateway, put together as the application does it."""
    app = FastAPI(version=VERSION)
    catalogue.include(app, operator=True)
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
    """A gateway, its hub at work on a database with all its tables, and a client of its REST interface."""

    on: Stage
    redis: Redis
    database: Database
    gateway: Gateway
    client: httpx.AsyncClient

    async def get(self, path: str, **query: Query) -> httpx.Response:
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
    ping_database: Callable[[], Coroutine[Any, Any, None]] = answering,
    heartbeat_interval: float = 60,
    **changed: Any,
) -> AsyncGenerator[Rest]:
    """The REST interface on the Valkey at the URL and a database of its own; ``changed`` are members of its gateway."""
    async with (
        stage(url, heartbeat_interval=heartbeat_interval) as on,
        open_redis(url) as redis,
        _new_database() as database,
    ):
        prices, cache = PriceView(on.hub, stale_after=60, sources=SOURCES), Cache(redis, on.hub.pairs)
        gateway = Gateway(
            hub=on.hub,
            sockets=PlainSockets(
                on.hub,
                prices,
                cache,
                allows_origin=lambda scope: False,
                new_limit=lambda: RequestLimit(0, 60, time.monotonic),
                ping_interval=25,
            ),
            reports=Reports(on.hub),
            prices=prices,
            cache=cache,
            publisher=on.log.publisher(),
            ping_database=ping_database,
            migrated=lambda: True,
            stores=Stores.of(database, SOURCES),
            jobs_due=lambda now: {},
            annualization=BARS_PER_YEAR,
            retention_days=365,
            sources=("replay",),
            known_sources=SOURCES,
            tokens=Tokens(publish=(b"another token of this gateway", TOKEN.encode())),
            limits=Limits(),
        )
        gateway = replace(gateway, **changed)
        async with client(application(gateway)) as http:
            yield Rest(on, redis, database, gateway, http)


@asynccontextmanager
async def _new_database() -> AsyncGenerator[Database]:
    """A database with all tables; a SQLite file is gone on leaving."""
    if on_postgres():
        async with open_database(await migrated_postgres()) as database:
            yield database
        return
    with tempfile.TemporaryDirectory(prefix="fx-") as folder:
        Path(folder, "gateway.db").write_bytes(await asyncio.to_thread(_empty_tables))
        async with open_database(f"sqlite:///{folder}/gateway.db") as database:
            yield database


@lru_cache
def _empty_tables() -> bytes:
    """A SQLite file with all tables. To copy it takes a hundredth of the time that it takes to make one."""

    async def migrate(url: str) -> None:
        async with open_database(url) as database:
            await database.migrate()

    with tempfile.TemporaryDirectory(prefix="fx-") as folder:
        asyncio.run(migrate(f"sqlite:///{folder}/gateway.db"))
        return Path(folder, "gateway.db").read_bytes()


@asynccontextmanager
async def without_database() -> AsyncGenerator[Stores]:
    """The stores of a database that does not answer."""
    # A port that is bound but not listening, so that no other program can take it.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with open_database(f"postgresql://127.0.0.1:{taken.getsockname()[1]}/none") as database:
            yield Stores.of(database, SOURCES)


def bars(
    pair: str = "EUR_USD",
    count: int = 1,
    granularity: Granularity = Granularity.H1,
    *,
    start: datetime = FIRST,
    source: str = "oanda",
    seed: int = 1,
    unfinished: bool = False,
) -> list[Candle]:
    """Complete bars of a price that wanders, one after the other from ``start``; the last may be ``unfinished``."""
    of, random = CurrencyPair.parse(pair), Random(seed)
    made, time, close = [], start, Decimal(1)
    for _ in range(count):
        open_, close = close, (close * Decimal(str(random.uniform(0.999, 1.001)))).quantize(Decimal("0.00001"))
        mid = Ohlc(open_, max(open_, close) + 3 * _POINT, min(open_, close) - 3 * _POINT, close)
        bid, ask = _shifted(mid, -_POINT), _shifted(mid, _POINT)
        made.append(Candle(of, granularity, time, bid, mid, ask, volume=12, complete=True, source=source))
        time = granularity.end(time)
    if unfinished:
        made[-1] = replace(made[-1], complete=False)
    return made


def _shifted(prices: Ohlc, by: Decimal) -> Ohlc:
    return Ohlc(prices.open + by, prices.high + by, prices.low + by, prices.close + by)


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


async def assert_refused(api: Rest, path: str, table: Iterable[tuple[Mapping[str, Query], str]]) -> None:
    """Check that each query of a table is refused with 400, naming the parameter given with it."""
    for query, named in table:
        body = assert_problem(await api.get(path, **query), 400, "Invalid request")
        assert body["error"].startswith(f"{named}: "), (query, body)


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
