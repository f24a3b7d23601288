"""What nginx does with requests: the file that is deployed, in front of a gateway."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import orjson
import pytest

from app.config import Settings
from app.realtime.log.log import EventLog, open_redis
from app.realtime.transports.engine.packet import LARGEST_MESSAGE
from tests.deploy.proxy import CONFIGURATION, Proxy, adapted, check, proxy
from tests.gateways import RunningGateway, gateway
from tests.realtime.listening import tick
from tests.realtime.socket_clients import UPGRADE, stock_client
from tests.realtime.stream_clients import open_stream, raw_stream
from tests.tcp_server import tcp_server


@asynccontextmanager
async def proxied(redis_url: str, folder: Path, **settings: object) -> AsyncGenerator[tuple[Proxy, RunningGateway]]:
    """nginx in front of one gateway."""
    async with gateway(redis_url, folder, **settings) as running, proxy(folder, running.url) as server:
        yield server, running


def http(url: str, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """A client of REST that comes from this address of the machine."""
    return httpx.AsyncClient(base_url=url, transport=httpx.AsyncHTTPTransport(local_address=address), timeout=30)


# ------------------------------------------------------------------ the file


async def test_the_file_as_it_is_deployed_is_a_configuration(tmp_path: Path) -> None:
    code, said = await check(tmp_path, CONFIGURATION.replace(" /tmp/", f" {tmp_path}/"))
    assert code == 0, said
    assert "[warn]" not in said


async def test_the_blocks_that_are_commented_out_are_a_configuration_too(tmp_path: Path) -> None:
    text = adapted(tmp_path, "127.0.0.1:8080", ["127.0.0.1:5001", "127.0.0.1:5002"])
    text, number = re.subn(r"^ +# ((?!ssl_cert|listen)[a-z_0-9]+ .+;)$", r"\1", text, flags=re.MULTILINE)
    assert number == 11, text
    code, said = await check(tmp_path, text)
    assert code == 0, said


def test_time_outs_are_longer_than_the_silences_of_a_gateway() -> None:
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    silence = max(settings.websocket_ping_interval + settings.websocket_ping_timeout, settings.heartbeat_interval)
    streams = [location for location in re.split(r"\n\s+location ", CONFIGURATION) if "proxy_buffering off" in location]
    assert len(streams) == 3
    for location in streams:
        assert float(re.findall(r"proxy_read_timeout (\d+)s", location)[0]) >= 2 * silence
    assert float(re.findall(r"\n    send_timeout (\d+)s", CONFIGURATION)[0]) > settings.lagging_timeout


def test_the_limit_of_bodies_is_above_that_of_the_gateway() -> None:
    assert int(re.findall(r"client_max_body_size (\d+)m", CONFIGURATION)[0]) << 20 > LARGEST_MESSAGE


# ------------------------------------------------------------- event streams


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_an_event_reaches_a_stream_at_once_and_as_the_gateway_sent_it(
    encoding: str, valkey_url: str, tmp_path: Path
) -> None:
    async with proxied(valkey_url, tmp_path) as (server, _), open_redis(valkey_url) as redis:
        publisher = EventLog(redis).publisher()
        async with open_stream(server.url, "/stream/EUR_USD", Accept_Encoding=encoding) as stream:
            assert stream.header("content-encoding") == (None if encoding == "identity" else encoding)
            assert (stream.header("content-type") or "").startswith("text/event-stream")
            for number in range(1, 6):
                [id] = await publisher.publish([tick("EUR_USD", f"1.{number:05}")])
                assert (await stream.read_events(number + 1))[-1].last_id == id
            assert not stream.ended


async def test_a_browser_whose_stream_finds_no_gateway_is_told_to_come_back(tmp_path: Path) -> None:
    async with proxy(tmp_path) as server:
        async with open_stream(server.url, "/stream?pairs=*", Accept="text/event-stream", Connection="close") as stream:
            await stream.read_to_end()
            assert [event.type for event in stream.parser.events] == ["server_error"]
            assert stream.parser.events[0].body == {"error": "No gateway answers", "message": "Try again shortly"}
            assert stream.parser.retries == [3000]
            assert stream.header("access-control-allow-origin") == "*"
        async with raw_stream(server.url, "/stream?pairs=*", Accept="*/*") as stream:
            assert stream.status == 503
            assert stream.header("content-type") == "application/problem+json"


# ----------------------------------------------------------------- Socket.IO


async def test_a_polling_session_changes_over_to_a_websocket(valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path / "1") as first,
        gateway(valkey_url, tmp_path / "2") as second,
        proxy(tmp_path, first.url, second.url) as server,
        stock_client(server.url, UPGRADE) as client,
    ):
        assert client.client.transport() == "websocket"
        assert (await client.call("ping"))["timestamp"]
    assert re.search(r"transport=polling\S* HTTP/1\.1\" 200 ", server.text)
    assert re.search(r"transport=websocket\S* HTTP/1\.1\" 101 ", server.text)


# ---------------------------------------------------------------------- REST


async def test_json_is_compressed_and_the_headers_of_security_are_there(valkey_url: str, tmp_path: Path) -> None:
    async with proxied(valkey_url, tmp_path) as (server, _), http(server.url) as client:
        answer = await client.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
        assert answer.status_code == 200
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.json()["info"]["title"] == "FX Gateway"
        assert answer.headers["server"] == "nginx"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        page = await client.get("/docs")
        assert (page.headers["x-content-type-options"], page.headers["referrer-policy"]) == ("nosniff", "no-referrer")


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/stream/../metrics", "/admin", "/admin/page", "/metrics?x"]
)
async def test_what_is_for_operators_is_refused(path: str, tmp_path: Path) -> None:
    async with proxy(tmp_path) as server, raw_stream(server.url, path) as answer:
        assert answer.status == 403


async def test_a_body_that_is_too_large_is_answered_by_the_gateway_and_a_huge_one_by_nginx(
    valkey_url: str, tmp_path: Path
) -> None:
    async with proxied(valkey_url, tmp_path, publish_tokens="a token of a test") as (server, _), http(server.url) as client:
        headers = {"Authorization": "Bearer a token of a test"}
        large = await client.post("/api/v1/events", content=b"x" * 1_900_000, headers=headers)
        assert (large.status_code, large.headers["content-type"]) == (413, "application/problem+json")
        huge = await client.post("/api/v1/events", content=b"x" * 2_200_000, headers=headers)
        assert (huge.status_code, huge.headers["content-type"]) == (413, "text/html")


async def test_requests_are_counted_by_the_address_of_the_client_and_not_by_what_it_claims(
    valkey_url: str, tmp_path: Path
) -> None:
    async with (
        proxied(valkey_url, tmp_path, rate_limit_requests=2) as (server, _),
        http(server.url) as one,  # from an address that the gateway takes for a proxy's
        http(server.url, "127.0.0.2") as other,
    ):
        claims = [{"X-Forwarded-For": f"192.0.2.{number}"} for number in range(3)]
        assert [(await one.get("/api/v1/info", headers=claim)).status_code for claim in claims] == [200, 200, 429]
        assert (await other.get("/api/v1/info")).status_code == 200


async def test_without_a_gateway_the_answer_is_a_problem(tmp_path: Path) -> None:
    async with proxy(tmp_path) as server, http(server.url) as client:
        answer = await client.get("/api/v1/prices/all")
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert orjson.loads(answer.content)["error"] == "No gateway answers"


async def test_only_what_is_safe_to_repeat_is_asked_of_another_gateway(tmp_path: Path) -> None:
    asked: list[str] = []

    async def take_and_leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().partition(" ")[0])
        writer.transport.abort()

    async with (
        tcp_server(take_and_leave) as one,
        tcp_server(take_and_leave) as other,
        proxy(tmp_path, f"http://127.0.0.1:{one}", f"http://127.0.0.1:{other}") as server,
        http(server.url) as client,
    ):
        assert (await client.get("/api/v1/info")).status_code == 503
        assert (await client.post("/api/v1/events", json={})).status_code == 503
    assert asked == ["GET", "GET", "POST"]
