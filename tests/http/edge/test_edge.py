"""What the server's edge says, byte by byte: how answers end, what HEAD answers, which headers stand everywhere."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from app.config import Settings
from app.realtime.transports.engine.packet import LARGEST_MESSAGE
from tests.gateways import QUIET, RunningGateway, gateway
from tests.realtime.socket_clients import UPGRADE_HEADERS, raw_polling
from tests.realtime.stream_clients import raw_stream, tcp
from tests.realtime.watching import sessions_of
from tests.waiting import wait_until

TOKEN = "0123456789abcdef-publish"

HANDSHAKE = "/socket.io/?EIO=4&transport=polling"

ANSWERED = (
    "/", "/docs", "/redoc", "/docs/events", "/docs/asyncapi.yaml", "/openapi.json", "/health", "/health/live", "/health/ready",
    "/metrics", "/admin", "/api/v1/info", "/api/v1/prices/all", "/api/v1/events", "/api/v1/candles?instrument=EUR_USD",
    "/api/v1/candles?instrument=EUR_USD&format=csv", "/api/v1/calendar", "/nothing", "/api/v1/prices/all?x=y", "/stream/XXX_YYY",
    "/stream",
    "/socket.io/?EIO=3",
)  # fmt: skip
"""Paths of every kind whose answers end: pages, documents, figures, exports, refusals."""

STATIC = [["/docs"], ["/redoc"], ["/docs/events"], ["/docs/asyncapi.yaml"]]

WEBSOCKET = "\n".join(f"{name.replace('_', '-')}: {value}" for name, value in UPGRADE_HEADERS.items())

STREAMS = ("/stream?pairs=*", "/stream/EUR_USD", HANDSHAKE, "/socket.io?EIO=4&transport=polling")


@pytest_asyncio.fixture
async def on(valkey_url: str, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway that takes what is published."""
    async with gateway(valkey_url, tmp_path, publish_tokens=(TOKEN,), websocket_max_clients=1) as running:
        yield running


async def ask(url: str, head: str, body: bytes = b"") -> tuple[str, list[str], bytes]:
    """Send a request on a connection of its own, and return the status line, the headers and the body of the answer."""
    reader, writer = await tcp(url)
    writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
    async with asyncio.timeout(20):
        answer = await reader.read(-1)
    writer.close()
    top, _, rest = answer.partition(b"\r\n\r\n")
    status, *headers = top.decode().lower().split("\r\n")
    return status, headers, rest


def value(headers: list[str], name: str) -> str | None:
    """A header that stands at most once."""
    values = [line.partition(": ")[2] for line in headers if line.startswith(f"{name}: ")]
    assert len(values) < 2, values
    return values[0] if values else None


async def test_http_1_0_gets_no_chunks_and_one_connection_header(on: RunningGateway) -> None:
    for path in ANSWERED:
        status, headers, body = await ask(on.url, f"GET {path} HTTP/1.0")
        assert status.startswith("http/1.1 ")
        assert value(headers, "transfer-encoding") is None, path
        assert value(headers, "connection") == "close", path
        length = value(headers, "content-length")
        assert length is None or int(length) == len(body), path
        if path.startswith("/api") and "json" in (value(headers, "content-type") or ""):
            orjson.loads(body)


async def test_a_stream_over_http_1_0_ends_with_its_connection(on: RunningGateway) -> None:
    async with raw_stream(on.url, "/stream/EUR_USD", version="1.0", Connection="keep-alive") as stream:
        assert stream.header("transfer-encoding") is None
        assert stream.header("connection") == "close"
        assert (await stream.read_events(1))[0].type == "stream_opened"
        on.app.stop_streaming()
        assert (await stream.read_to_end()).startswith(b"retry: 2000\nevent: stream_opened\n")


async def test_http_1_0_keeps_a_connection_that_it_asks_for_where_the_length_is_known(on: RunningGateway) -> None:
    reader, writer = await tcp(on.url)
    for _ in range(2):
        writer.write(b"GET /health/live HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        assert value(head, "connection") == "keep-alive"
        await reader.readexactly(int(value(head, "content-length") or 0))
    writer.close()


async def test_http_1_1_is_not_told_what_it_knows(on: RunningGateway) -> None:
    for path in ("/health/live", "/stream/EUR_USD"):
        async with raw_stream(on.url, path) as answer:
            assert answer.header("connection") is None
            assert answer.header("transfer-encoding") == ("chunked" if "stream" in path else None)


async def test_head_is_answered_like_get_without_a_body(on: RunningGateway) -> None:
    changing = ("date: ", "x-ratelimit", "ratelimit")
    for path in ANSWERED:
        of_get, of_head = [
            await ask(on.url, f"{method} {path} HTTP/1.1\nHost: x\nConnection: close") for method in ("GET", "HEAD")
        ]
        assert of_head[0] == of_get[0], path
        assert of_head[2] == b"", path
        unknown = ("content-length", "transfer-encoding") if path in ("/health", "/metrics") else ("transfer-encoding",)
        expected = [line for line in of_get[1] if not line.startswith((*changing, *unknown))]
        assert [line for line in of_head[1] if not line.startswith((*changing, *unknown))] == expected, path


async def test_head_of_a_stream_ends_at_once_and_takes_no_place(on: RunningGateway) -> None:
    reader, writer = await tcp(on.url)
    for path in STREAMS:  # on one connection: what follows shows that no body was sent
        writer.write(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        assert head[0] == "http/1.1 200 ok", path
        assert (value(head, "content-type") or "").startswith("text/plain" if "socket" in path else "text/event-stream")
        assert (value(head, "cache-control") or "").startswith("no-store")
        assert value(head, "connection") is None
    assert len(on.hub.clients) == 0
    assert sessions_of(on) == {}
    async with raw_polling(on.url, joined=True) as polling:
        writer.write(f"HEAD {HANDSHAKE}&sid={polling.sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        await polling.send("1")
    writer.close()


async def test_every_answer_but_a_static_file_is_kept_out_of_caches(on: RunningGateway) -> None:
    answers = [(f"GET {path} HTTP/1.1", b"") for path in ANSWERED]
    answers += [
        (f"GET {HANDSHAKE} HTTP/1.1\nOrigin: http://evil.example", b""),
        (f"GET {HANDSHAKE} HTTP/1.1", b""),
        (f"POST {HANDSHAKE}&sid=x HTTP/1.1\nContent-Length: 1", b"1"),
        (f"OPTIONS {HANDSHAKE} HTTP/1.1", b""),
        ("GET /health/ HTTP/1.1", b""),
        ("DELETE /health HTTP/1.1", b""),
        ("POST /api/v1/events HTTP/1.1\nContent-Length: 0", b""),
        ("OPTIONS /health HTTP/1.1\nOrigin: http://localhost:1\nAccess-Control-Request-Method: GET", b""),
        ("nonsense", b""),
        (f"GET /stream/EUR_USD HTTP/1.1\n{WEBSOCKET}", b""),
    ]
    for request, body in answers:
        line, _, rest = request.partition("\n")
        closing = "" if rest == WEBSOCKET else "Connection: close\n"
        status, headers, _ = await ask(on.url, f"{line}\nHost: x\n{closing}{rest}".rstrip("\n"), body)
        assert value(headers, "x-content-type-options") == "nosniff", (request, status)
        rule = "no-cache" if line.split()[1:2] in STATIC else "no-store"
        assert (value(headers, "cache-control") or "").startswith(rule), (request, headers)


# ---------------------------------------------------------------- bodies


EVENT = orjson.dumps({"type": "data_ready", "data": {"data_type": "prices", "instruments_count": 1}})


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("upgrade", [
    "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    "Connection: keep-alive, Upgrade\nUpgrade: TLS/1.2",
    "Upgrade: foo/2\nConnection: upgrade",
])  # fmt: skip
async def test_an_upgrade_that_is_not_offered_is_ignored(method: str, upgrade: str, on: RunningGateway) -> None:
    """Java's ``java.net.http`` asks for HTTP/2 in this way with every request."""
    reader, writer = await tcp(on.url)
    head = f"{method} /api/v1/events HTTP/1.1\nHost: x\nAuthorization: Bearer {TOKEN}\nContent-Type: application/json\n{upgrade}"
    body = EVENT if method == "POST" else b""
    sized = f"{head}\nContent-Length: {len(body)}\n\n".replace("\n", "\r\n").encode() + body
    chunked = (
        f"{head}\nTransfer-Encoding: chunked\n\n".replace("\n", "\r\n").encode()
        + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"")
        + b"0\r\n\r\n"
    )
    writer.write(sized[:200])
    await asyncio.sleep(0)
    writer.write(sized[200:] + chunked + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(2):
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        text = await reader.readexactly(int(value(answer, "content-length") or 0))
        assert answer[0].split()[1] in ("200", "201", "202"), text
        assert value(answer, "upgrade") is None
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_polling_posts_may_be_chunked_and_ask_for_an_upgrade(on: RunningGateway) -> None:
    """zishang520/socket.io for Go sends every body in chunks."""
    async with raw_polling(on.url, joined=True) as polling:
        for extra in ("", "\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAEAAEAA"):
            reader, writer = await tcp(on.url)
            path = f"/socket.io?EIO=4&transport=polling&sid={polling.sid}"
            head = f"POST {path} HTTP/1.1\nHost: x\nTransfer-Encoding: chunked{extra}\n\n"
            writer.write(head.replace("\n", "\r\n").encode())
            for piece in (b"42[", b'"ping"', b"]"):
                writer.write(b"%x;ignored=extension\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\nTrailer: too\r\n\r\n")
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
            assert [packet for packet in await polling.poll() if "pong" in packet]
            writer.close()


@pytest.mark.parametrize("framing", [f"Content-Length: {100 * LARGEST_MESSAGE}", "Transfer-Encoding: chunked"])
async def test_a_polling_body_that_is_too_large_is_refused_in_words_while_it_is_sent(framing: str, on: RunningGateway) -> None:
    async with raw_polling(on.url, joined=True) as polling:
        reader, writer = await tcp(on.url)
        head = f"POST {HANDSHAKE}&sid={polling.sid} HTTP/1.1\nHost: x\n{framing}\n\n"
        writer.write(head.replace("\n", "\r\n").encode())
        answered = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        sent, piece = 0, b"4" + b"x" * 0xFFFF
        while not answered.done() and sent < 30 * LARGEST_MESSAGE:
            writer.write(b"10000\r\n%b\r\n" % piece if "chunked" in framing else piece)
            sent += len(piece)
            await writer.drain()
            await asyncio.sleep(0)
        answer = (await answered).decode().lower().split("\r\n")
        assert answer[0].startswith("http/1.1 413 ")
        assert (
            orjson.loads(await reader.readexactly(int(value(answer, "content-length") or 0)))
            == "The body has more than 1100000 bytes"
        )
        writer.close()
        await wait_until(lambda: len(on.hub.clients) == 0, "the session has ended")


async def test_a_client_that_has_said_all_gets_its_answer(on: RunningGateway) -> None:
    """As with ``printf … | nc -N``: the client's end is closed, and it reads."""
    reader, writer = await tcp(on.url)
    writer.write(b"GET /api/v1/info HTTP/1.1\r\nHost: x\r\n\r\n")
    writer.write_eof()
    answer = await reader.read(-1)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    orjson.loads(answer.partition(b"\r\n\r\n")[2])
    writer.close()


# ---------------------------------------------------------------- without the slash


async def test_socket_io_is_served_without_a_trailing_slash(on: RunningGateway) -> None:
    path = "/socket.io?EIO=4&transport="
    status, _, body = await ask(on.url, f"GET {path}polling HTTP/1.1\nHost: x\nConnection: close")
    assert status == "http/1.1 200 ok"
    sid = orjson.loads(body[1:])["sid"]
    status, _, body = await ask(
        on.url, f"POST {path}polling&sid={sid} HTTP/1.1\nHost: x\nConnection: close\nContent-Length: 2", b"40"
    )
    assert (status, body) == ("http/1.1 200 ok", b"ok")
    status, _, body = await ask(on.url, f"GET {path}polling&sid={sid} HTTP/1.1\nHost: x\nConnection: close")
    assert body.startswith(b'40{"sid":')
    async with raw_stream(on.url, f"{path}websocket&sid={sid}", **UPGRADE_HEADERS) as websocket:
        assert websocket.status == 101
    async with raw_stream(on.url, f"{path}websocket", **UPGRADE_HEADERS) as websocket:
        assert websocket.status == 101
        assert b'"sid":' in await websocket.reader.readuntil(b"}")


# ---------------------------------------------------------------- idle connections


async def test_an_idle_connection_is_kept_for_as_long_as_the_setting_says(valkey_url: str, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with gateway(valkey_url, tmp_path, keepalive_timeout=1.2) as running:
        reader, writer = await tcp(running.url)
        for pause in (0.6, 0.6, None):  # each request begins the time anew
            writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            await reader.readexactly(int(value(head, "content-length") or 0))
            answered = loop.time()
            if pause is not None:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(reader.read(1), pause)
        assert await reader.read(1) == b""
        assert 1.0 < loop.time() - answered < 6
        writer.close()


def test_by_default_it_is_kept_longer_than_nginx_keeps_its_own() -> None:
    """nginx closes a connection to its upstream after ``keepalive_timeout``, 60 s by default, and AWS's balancers after 60 s."""
    assert Settings(**QUIET).keepalive_timeout == 75
