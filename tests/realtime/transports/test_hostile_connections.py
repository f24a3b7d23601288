"""Connections that break off, dawdle, or speak no HTTP and no websocket. Others must not notice."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio

from app.realtime.transports.engine import session
from app.realtime.wire import connection as wire_connection
from tests.realtime.listening import data_ready
from tests.realtime.socket_clients import (
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    UPGRADE_HEADERS,
    frame,
    raw_polling,
    raw_socket,
)
from tests.realtime.stream_clients import RawStream, Reading, raw_stream, tcp
from tests.realtime.watching import Watched, sessions_of, watched
from tests.waiting import wait_until

SOCKET = "/socket.io/?EIO=4&transport=websocket"


@pytest_asyncio.fixture
async def on(valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Watched]:
    """A gateway under watch, which has no connection left in the end but the steady client's."""
    async with watched(valkey_url, tmp_path, caplog) as on:
        yield on
        await on.alone()
        await wait_until(lambda: len(on.running.server.server_state.connections) == 1, "every other connection is closed")
        await wait_until(lambda: len(sessions_of(on.running)) == 1, "every other session is closed", 40)


async def read_to_end(reader: asyncio.StreamReader, timeout: float = 5) -> bytes:
    """All that comes until the connection ends, in whatever way."""
    got = b""
    async with asyncio.timeout(timeout):
        try:
            while piece := await reader.read(65536):
                got += piece
        except ConnectionResetError:
            pass
    return got


# ---------------------------------------------------------------- half-open


HALF = {
    "nothing": b"",
    "blank lines": b"\r\n\r\n",
    "half a request line": b"GET /hea",
    "half a head": b"GET /health HTTP/1.1\r\nHost: x\r\n",
    "half a body": b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    "no body": b"POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
    "half a chunk": b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
    "a stream with a body to come": b"GET /stream/EUR_USD HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
}


@pytest.mark.parametrize("sent", HALF.values(), ids=HALF.keys())
async def test_a_request_that_does_not_arrive_whole_is_cut_off(sent: bytes, on: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_polling(on.url, joined=True) as polling:
        with monkeypatch.context() as hurried:
            hurried.setattr(wire_connection, "REQUEST_WITHIN", 0.3)
            reader, writer = await tcp(on.url)
            writer.write(sent.replace(b"%s", polling.sid.encode()))
            await read_to_end(reader)
            writer.close()
        await polling.send("1")


async def test_a_request_that_arrives_byte_by_byte_is_cut_off(on: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_connection, "REQUEST_WITHIN", 0.4)
    reader, writer = await tcp(on.url)
    head = iter(b"GET /health HTTP/1.1\r\nHost: " + b"x" * 100_000)
    while not reader.at_eof():
        writer.write(bytes([next(head)]))
        try:
            async with asyncio.timeout(0.02):
                await reader.read(1)
        except TimeoutError:
            continue
        except ConnectionResetError:
            break
    writer.close()


async def test_blank_lines_after_a_request_do_not_keep_a_connection(on: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_connection, "REQUEST_WITHIN", 2)
    reader, writer = await tcp(on.url)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).endswith(b" 200 OK\r\n")
    ended = asyncio.create_task(read_to_end(reader, 30))
    while not ended.done():
        writer.write(b"\r\n")
        await asyncio.wait({ended}, timeout=0.05)
    await ended
    writer.close()


async def test_a_session_that_never_connects_ends(on: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CONNECT_WITHIN", 2)
    async with raw_socket(on.url) as mute, raw_polling(on.url) as polling:
        assert await polling.poll() == ["1"]
        assert await mute.end(10) == 1006


# ---------------------------------------------------------------- requests that are too large or no requests


REFUSED = {
    "target": b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 40_000),
    "query": b"GET /stream?pairs=%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 40_000),
    "header": b"GET /health HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n" % (b"x" * 40_000),
    "headers": b"GET /health HTTP/1.1\r\nHost: x\r\n%s\r\n" % (b"X: y\r\n" * 20_000),
    "name": b"GET /health HTTP/1.1\r\nHost: x\r\n%s: y\r\n\r\n" % (b"x" * 40_000),
    "head that does not end": b"GET /health HTTP/1.1\r\nHost: x\r\nX: %s" % (b"x" * 1_000_000),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    "rubbish": b"rubbish\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "length that is none": b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "bytes in the target": b"GET /stream/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "a later version": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "a tunnel": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
}

STATUSES = {
    "target": 414, "query": 414, "header": 431, "headers": 431, "name": 431, "head that does not end": 431,
    "a later version": 505, "no version": 505, "a tunnel": 501,
}  # fmt: skip


@pytest.mark.parametrize(("sent", "status"), [(sent, STATUSES.get(name, 400)) for name, sent in REFUSED.items()], ids=REFUSED)
async def test_requests_that_are_none_are_refused_and_closed(sent: bytes, status: int, on: Watched) -> None:
    reader, writer = await tcp(on.url)
    writer.write(sent)
    answer = await read_to_end(reader)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert head.count(b"\r\nconnection: close") == 1
    assert b"\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n" in head
    assert body.endswith(b".")
    writer.close()


async def test_the_head_of_a_request_may_come_in_pieces_up_to_its_limit(on: Watched) -> None:
    reader, writer = await tcp(on.url)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: ")
    for _ in range(3):
        writer.write(b"x" * 10_000)
        await writer.drain()
        await on.some_traffic(5)
    writer.write(b"\r\n\r\n")
    assert (await read_to_end(reader)).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()


async def test_pipelined_requests_are_answered_in_their_order(on: Watched) -> None:
    reader, writer = await tcp(on.url)
    paths = ["/health", "/api/v1/info", "/nothing", "/stream/XXX"] * 10
    requests = [f"GET {path} HTTP/1.1\r\nHost: x\r\n" for path in paths]
    writer.write("\r\n".join([*requests, ""]).encode())
    stream = RawStream(reader, writer)
    statuses = []
    for _ in paths:
        await stream.read_head()
        statuses.append(stream.status)
        await reader.readexactly(int(stream.header("content-length") or 0))
    assert statuses == [200, 200, 404, 400] * 10
    writer.close()


async def test_a_request_behind_an_event_stream_does_not_disturb_it(on: Watched) -> None:
    reader, writer = await tcp(on.url)
    writer.write(b"GET /stream?pairs=*&snapshot=false HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    stream = RawStream(reader, writer)
    await stream.read_head()
    [id] = await on.traffic.publish(data_ready())
    await stream.read_until(id)
    ids = [event.last_id for event in stream.parser.events if event.type != "stream_opened"]
    ids = ids[: ids.index(id) + 1]  # what came behind it may not be among the traffic's yet
    place = on.traffic.ids.index(ids[0])
    assert ids == on.traffic.ids[place : place + len(ids)]
    writer.close()
    await on.traffic.publish(*[data_ready()] * 3)


async def test_nothing_of_a_stream_goes_before_its_head(on: Watched) -> None:
    """The head of a stream waits where answers before it have not been read. So has what happens meanwhile."""
    reader, writer = await tcp(on.url, Reading(4096, None))
    answers = 0
    connection: wire_connection.HttpConnection | None = None
    while connection is None or not connection.is_full:
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        answers += 1
        await wait_until(lambda: on.running.server.server_state.total_requests >= answers, "it is answered")  # noqa: B023
        connections: set[Any] = set(on.running.server.server_state.connections)
        [connection] = [one for one in connections if isinstance(one, wire_connection.HttpConnection)]
    writer.write(b"GET /stream/EUR_USD?snapshot=false HTTP/1.1\r\nHost: x\r\n\r\n")
    await wait_until(lambda: len(on.running.hub.clients) == 2, "the stream has its place")
    await on.traffic.publish(*(data_ready(n) for n in range(10)))
    await on.some_traffic(100)
    stream = RawStream(reader, writer)
    for _ in range(answers):
        await stream.read_head()
        await reader.readexactly(int(stream.header("content-length") or 0))
    await stream.read_head()
    assert (await stream.read_events(5))[0].type == "stream_opened"
    writer.close()


# ---------------------------------------------------------------- connections that break off


async def reset(url: str, sent: bytes, until: Callable[[], bool]) -> None:
    """Send something and break off with a reset once the condition holds."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
        connection.sendall(sent)
        await wait_until(until, "what was sent has arrived")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def test_connections_that_are_reset_leave_nothing_behind(on: Watched) -> None:
    state = on.running.server.server_state
    async with raw_polling(on.url, joined=True) as polling:
        await wait_until(lambda: len(on.running.hub.clients) == 2, "the polling client has its place")
        for path in ("/stream/EUR_USD", "/stream?pairs=*", f"/socket.io/?EIO=4&transport=polling&sid={polling.sid}"):
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            if "stream" in path:
                await reset(on.url, request, lambda: len(on.running.hub.clients) > 2)
                await wait_until(lambda: len(on.running.hub.clients) == 2, "it is forgotten")
            await reset(on.url, request, lambda: len(state.connections) > 1)
        await reset(on.url, b"GET /stream/EUR_USD HT", lambda: len(state.connections) > 1)
        await polling.send("1")
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in UPGRADE_HEADERS.items())
    await reset(on.url, f"GET {SOCKET} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode(), lambda: len(sessions_of(on.running)) > 1)


async def test_a_websocket_and_a_stream_whose_clients_vanish_are_forgotten(on: Watched) -> None:
    async with raw_socket(on.url, joined=True) as vanishing:
        await vanishing.send('42["subscribe",{"pairs":"*"}]')
        vanishing.connection.transport.abort()
    async with raw_stream(on.url, "/stream?pairs=*") as stream:
        await stream.read_events(3)
        stream.writer.transport.abort()


@pytest.mark.parametrize("event", ['["subscribe",{"pairs":"*"}]', '["unsubscribe",{"pairs":"*"}]', '["ping"]', "0", "rubbish"])
async def test_what_comes_together_with_a_close_frame_is_let_fall(event: str, on: Watched) -> None:
    async with raw_stream(on.url, SOCKET, **UPGRADE_HEADERS) as connection:
        assert connection.status == 101
        connection.writer.write(frame(TEXT, b"40") + frame(TEXT, b"42" + event.encode()) * 20 + frame(CLOSE, b"\x03\xe8"))
        await connection.read_to_end()


# ---------------------------------------------------------------- websockets


VIOLATIONS = {
    "text that is no UTF-8": (frame(TEXT, b'42["\xff"]'), 1007),
    "text that is no UTF-8 in fragments": (frame(TEXT, b"42\xc3", first_bits=0) + frame(CONTINUATION, b"x"), 1007),
    "no mask": (frame(TEXT, b'42["ping"]', masked=False), 1002),
    "reserved bits": (frame(TEXT, b'42["ping"]', first_bits=0xC0), 1002),
    "unknown opcode": (frame(0x3, b"x"), 1002),
    "long control frame": (frame(PING, b"x" * 126), 1002),
    "fragmented control frame": (frame(PING, b"x", first_bits=0), 1002),
    "continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "close code that is none": (frame(CLOSE, b"\x00"), 1002),
    "claims to be huge": (frame(TEXT, b"")[:1] + b"\xff" + b"\x7f" * 8 + b"\0" * 4, 1009),
}


@pytest.mark.parametrize(("sent", "code"), VIOLATIONS.values(), ids=VIOLATIONS.keys())
async def test_a_violation_of_the_websocket_protocol_is_answered_with_its_code(sent: bytes, code: int, on: Watched) -> None:
    async with raw_stream(on.url, SOCKET, **UPGRADE_HEADERS) as connection:
        assert connection.status == 101
        connection.writer.write(frame(TEXT, b"40") + sent + frame(TEXT, b'42["ping"]') * 3)
        got = await connection.read_to_end()
        place = got.rindex(b"\x88")
        assert int.from_bytes(got[place + 2 : place + 4]) == code
        assert b'42["pong"' not in got


async def test_pings_of_the_websocket_itself_are_answered(on: Watched) -> None:
    async with raw_socket(on.url, joined=True) as client:
        await (await client.connection.ping(b"hello"))


async def test_pings_and_empty_fragments_are_no_end(on: Watched) -> None:
    async with raw_stream(on.url, SOCKET, **UPGRADE_HEADERS) as connection:
        connection.writer.write(frame(TEXT, b"40") + frame(PING) + frame(TEXT, first_bits=0) + frame(CONTINUATION, b"1"))
        assert b"\x8a\x00" in await connection.read_to_end()


BAD_HANDSHAKES = {
    "too many headers": ({f"X{n}": "y" for n in range(200)}, 431),
    "a header that is too long": ({"X": "y" * 9000}, 431),
    "a key that is none": ({"Sec_WebSocket_Key": "short"}, 400),
    "another version": ({"Sec_WebSocket_Version": "8"}, 400),
}


@pytest.mark.parametrize(("headers", "status"), BAD_HANDSHAKES.values(), ids=BAD_HANDSHAKES.keys())
async def test_handshakes_that_cannot_be_are_refused_and_closed(headers: dict[str, str], status: int, on: Watched) -> None:
    async with raw_stream(on.url, SOCKET, **{**UPGRADE_HEADERS, **headers}) as connection:
        assert connection.status == status
        await connection.read_to_end()


async def test_websockets_elsewhere_and_by_other_methods_are_refused(on: Watched) -> None:
    for path in ("/stream/EUR_USD", "/", "/health", "/api/v1/info"):
        async with raw_stream(on.url, path, **UPGRADE_HEADERS) as connection:
            assert connection.status == 403
            await connection.read_to_end()
    async with raw_stream(on.url, SOCKET, method="POST", **UPGRADE_HEADERS) as connection:
        assert connection.status == 405
    async with raw_stream(on.url, SOCKET, **{**UPGRADE_HEADERS, "Upgrade": "h2c"}) as connection:
        assert connection.status == 400


async def test_many_messages_at_once_do_not_keep_others_waiting(on: Watched) -> None:
    """Others are answered between them, not after the last."""
    async with raw_stream(on.url, SOCKET, **UPGRADE_HEADERS) as connection, httpx.AsyncClient(trust_env=False) as http:
        connection.writer.write(frame(TEXT, b"40") + frame(TEXT, b"3") * 100_000 + frame(TEXT, b'42["nonsense"]'))
        last_is_answered = asyncio.create_task(connection.reader.readuntil(b"Unknown event"))
        for _ in range(5):
            assert (await http.get(f"{on.url}/health")).status_code == 200
        assert not last_is_answered.done()
        await last_is_answered
