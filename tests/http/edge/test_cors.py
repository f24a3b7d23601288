"""Cross-origin requests of browsers, over every kind of path."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from app.http.edge.cors import MOST_HEADERS
from tests.gateways import gateway
from tests.realtime.stream_clients import raw_stream

PAGE = "https://desk.example.com"
STRANGER = "https://evil.test"
PATHS = ("/api/v1/prices/all", "/stream/EUR_USD", "/socket.io/?EIO=4&transport=polling", "/api/v1/no/such/path")


@asynccontextmanager
async def serving(redis_url: str, folder: Path, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that pages of one domain may use, and a client of it."""
    given = {"cors_allowed_origins": "https://*.example.com", **settings}
    async with gateway(redis_url, folder, **given) as running, httpx.AsyncClient(base_url=running.url) as http:
        yield http


def preflight(origin: str = PAGE, headers: str | None = None, method: str = "GET") -> dict[str, str]:
    """The headers of a preflight request."""
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return asked if headers is None else {**asked, "Access-Control-Request-Headers": headers}


def allowed(answer: httpx.Response) -> dict[str, str]:
    """What an answer allows."""
    names = ("origin", "credentials", "methods", "headers", "private-network")
    return {name: answer.headers[full] for name in names if (full := f"access-control-allow-{name}") in answer.headers}


async def test_a_page_may_send_whatever_headers_its_libraries_add(valkey_url: str, tmp_path: Path) -> None:
    names = (
        "authorization,baggage,cache-control,content-type,idempotency-key,if-none-match,last-event-id,pragma,sentry-trace,"
        "traceparent,tracestate,x-b3-traceid,x-requested-with"
    )
    async with serving(valkey_url, tmp_path) as http:
        for path in PATHS:
            answer = await http.options(path, headers=preflight(headers=names, method="POST"))
            assert (answer.status_code, answer.content) == (204, b""), path
            assert answer.headers["access-control-allow-headers"].replace(" ", "") == names
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert "POST" in answer.headers["access-control-allow-methods"]
            assert "access-control-allow-credentials" not in answer.headers
            assert {"Origin", "Access-Control-Request-Headers"} <= set(answer.headers["vary"].split(", "))
        without = await http.options(PATHS[0], headers=preflight())
        assert "access-control-allow-headers" not in without.headers
        many = await http.options(
            PATHS[0], headers=preflight(headers="*, a b, x\tz, x:y, " + ", ".join(f"x-{n}" for n in range(900)))
        )
        granted = allowed(many)["headers"].split(", ")
        assert granted == [f"x-{number}" for number in range(MOST_HEADERS - 4)]
        private = await http.options(PATHS[0], headers={**preflight(), "Access-Control-Request-Private-Network": "true"})
        assert allowed(private)["private-network"] == "true"


async def test_a_page_may_read_the_headers_that_clients_need(valkey_url: str, tmp_path: Path) -> None:
    async with serving(valkey_url, tmp_path) as http:
        for path in PATHS:
            async with http.stream("GET", path, headers={"Origin": PAGE}) as answer:
                assert allowed(answer) == {"origin": PAGE}, path
                exposed = answer.headers["access-control-expose-headers"].split(", ")
                assert {"Retry-After", "ETag", "Location", "Content-Disposition", "RateLimit"} <= set(exposed)
                assert "Origin" in answer.headers["vary"]
            async with http.stream("GET", path) as answer:  # a cache must not give a page what it keeps of another client
                assert allowed(answer) == {}
                assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("origin", [STRANGER, "null", "https://example.com", "https://desk.example.com.evil.test", "http://a:٣"])
async def test_a_page_of_another_origin_is_refused_everywhere(valkey_url: str, tmp_path: Path, origin: str) -> None:
    async with serving(valkey_url, tmp_path) as http:
        for path in PATHS:
            asked = [(name.encode(), value.encode()) for name, value in preflight(origin, "traceparent").items()]
            refused = await http.options(path, headers=asked)
            assert (refused.status_code, allowed(refused)) == (403, {}), path
            async with http.stream("GET", path, headers=[(b"Origin", origin.encode())]) as answer:
                assert allowed(answer) == {}
                assert answer.status_code == {PATHS[2]: 400, PATHS[3]: 404}.get(path, 200)
        if origin.isascii():
            with pytest.raises(InvalidStatus):
                await connect(f"{http.base_url}/socket.io/?EIO=4&transport=websocket".replace("http", "ws", 1), origin=origin)  # type: ignore[arg-type]


async def test_with_credentials_an_origin_is_named(valkey_url: str, tmp_path: Path) -> None:
    async with serving(valkey_url, tmp_path, cors_allow_credentials=True) as http:
        for path in PATHS:
            granted = {"origin": PAGE, "credentials": "true"}
            async with http.stream("GET", path, headers={"Origin": PAGE}) as answer:
                assert allowed(answer) == granted
            assert allowed(await http.options(path, headers=preflight())).items() >= granted.items()
            async with http.stream("GET", path, headers={"Origin": STRANGER}) as answer:
                assert allowed(answer) == {}


async def test_where_every_origin_is_allowed_the_answer_is_the_same_for_all(valkey_url: str, tmp_path: Path) -> None:
    async with serving(valkey_url, tmp_path, cors_allowed_origins="*") as http:
        for path in PATHS:
            for origin in (STRANGER, "null"):
                async with http.stream("GET", path, headers={"Origin": origin}) as answer:
                    assert allowed(answer) == {"origin": "*"}
                    assert "Origin" not in answer.headers.get("vary", "")
    async with serving(valkey_url, tmp_path, cors_allowed_origins="null") as http:
        assert allowed(await http.get(PATHS[0], headers={"Origin": "null"})) == {"origin": "null"}


async def test_a_request_without_an_origin_is_no_preflight(valkey_url: str, tmp_path: Path) -> None:
    async with serving(valkey_url, tmp_path) as http:
        asked = await http.options(PATHS[0], headers={"Access-Control-Request-Method": "GET"})
        assert asked.status_code == 405
        async with raw_stream(str(http.base_url), PATHS[1], Origin=str(http.base_url)) as own:
            assert own.status == 200
            assert own.header("access-control-allow-origin") is None
