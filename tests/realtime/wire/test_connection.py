"""HTTP connections, byte by byte, with an application of each test's own."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn.server import ServerState

from app.realtime.wire import connection
from app.realtime.wire.connection import HttpConnection, Service
from app.realtime.wire.websocket import Application
from tests.waiting import wait_until

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def served(app: Application, keep_alive: float = 30) -> AsyncGenerator[Ends]:
    """A connection to a server of this application, which has nothing left in the end."""
    state, service = ServerState(), Service(app, keep_alive, 1000)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpConnection(service, server_state=state, app_state={}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        server.close()
        await wait_until(lambda: not (state.connections or state.tasks), "nothing is left")


async def respond(send: Any, body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    """Send a response of known length."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the body of the request, once it has arrived."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    await respond(send, body)


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    """Answer without reading."""
    await respond(send, b"no", status=413)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    """The next answer: its status, its head and its body."""
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r")[0])
        return int(head.split()[1]), head, await reader.readexactly(length)


POST = b"POST / HTTP/1.1\r\nHost: x\r\n"


async def test_what_cannot_be_read_is_refused_after_the_answers_before_it() -> None:
    go_on = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await go_on.wait()
        await respond(send, scope["path"].encode())

    async with served(slow) as (reader, writer):
        writer.write(b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nnonsense\r\n\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        go_on.set()
        assert [(await answer(reader))[::2] for _ in range(3)] == [
            (200, b"/a"), (200, b"/b"), (400, b"Invalid HTTP request: Invalid method encountered."),
        ]  # fmt: skip
        assert await reader.read() == b""


async def test_a_body_that_cannot_be_read_ends_its_request() -> None:
    heard: list[str] = []

    async def listening(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request":
            pass
        heard.append(message["type"])

    async with served(listening) as (reader, writer):
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n")
        assert (await answer(reader))[0] == 400
        assert await reader.read() == b""
    assert heard == ["http.disconnect"]


async def test_the_rest_of_a_body_that_is_answered_early_is_passed_over() -> None:
    async with served(refusing) as (reader, writer):
        writer.write(POST + b"Content-Length: 300000\r\n\r\n" + b"x" * 1000)
        assert (await answer(reader))[::2] == (413, b"no")
        writer.write(b"x" * 299_000 + POST + b"Content-Length: 0\r\n\r\n")
        assert (await answer(reader))[0] == 413


async def test_the_last_answer_arrives_though_the_client_still_sends() -> None:
    async with served(refusing) as (reader, writer):
        writer.write(POST + b"Connection: close\r\nContent-Length: 10000000\r\n\r\n")
        for _ in range(50):
            writer.write(b"x" * 50_000)
        status, head, body = await answer(reader)
        assert (status, head.count(b"\r\nconnection: close\r\n"), body) == (413, 1, b"no")
        assert await reader.read() == b"", "the end, and no reset"


async def test_a_body_that_comes_too_late_is_answered_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_WITHIN", 0.2)
    async with served(echo) as (reader, writer):
        writer.write(POST + b"Content-Length: 10\r\n\r\nx")
        assert (await answer(reader))[::2] == (408, b"Request Timeout.")
        assert await reader.read() == b""


async def test_a_body_is_sent_for_when_the_application_wants_it() -> None:
    async with served(echo) as (reader, writer):
        writer.write(POST + b"Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert (await answer(reader))[::2] == (200, b"ok")
    async with served(refusing) as (reader, writer):
        writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        status, head, _ = await answer(reader)
        assert (status, b"\r\nconnection: close\r\n" in head) == (413, True), "whether the body comes is not known"


async def test_an_application_that_fails_is_answered_for_unless_it_has_begun(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/begun":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        elif scope["path"] == "/short":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            await send({"type": "http.response.body", "body": b"x"})
        raise ZeroDivisionError

    for path, expected in ((b"/", 500), (b"/short", 500), (b"/begun", 200)):
        async with served(failing) as (reader, writer):
            writer.write(b"GET %b HTTP/1.1\r\n\r\n" % path)
            if expected == 500:
                assert (await answer(reader))[::2] == (500, b"Internal Server Error")
            else:
                assert not (await reader.read()).endswith(b"0\r\n\r\n"), "not the whole, and it shows"
    assert [record.getMessage() for record in caplog.records] == ["the application failed to answer a request"] * 3


async def test_what_an_application_says_of_the_connection_is_not_said_twice() -> None:
    async def talkative(scope: Any, receive: Any, send: Any) -> None:
        value = b"close" if scope["path"] == "/close" else b"keep-alive"
        await respond(send, b"", (b"Connection", value), (b"Transfer-Encoding", b"chunked"))

    async with served(talkative) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n\r\nGET /close HTTP/1.1\r\n\r\n")
        heads = [(await answer(reader))[1] for _ in range(2)]
        assert [head.count(b"connection:") for head in heads] == [0, 1]
        assert not any(b"transfer-encoding" in head for head in heads)
        assert await reader.read() == b""


@pytest.mark.parametrize(("status", "method"), [(204, "GET"), (304, "GET"), (200, "HEAD")])
async def test_what_has_no_body_has_no_framing(status: int, method: str) -> None:
    async def empty(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"x" if method == "HEAD" else b""})

    async with served(empty) as (reader, writer):
        for _ in range(2):
            writer.write(f"{method} / HTTP/1.1\r\n\r\n".encode())
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert b"transfer-encoding" not in head


async def test_a_target_may_be_absolute_or_an_asterisk() -> None:
    async def path(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, f"{scope['path']} {scope['query_string'].decode()}".encode())

    async with served(path) as (reader, writer):
        for target, expected in ((b"http://h:1/a%20b?c=d", b"/a b c=d"), (b"http://h", b"/ "), (b"*", b"* "), (b"//x", b"//x ")):
            writer.write(b"OPTIONS %b HTTP/1.1\r\nHost: h\r\n\r\n" % target)
            assert (await answer(reader))[::2] == (200, expected)
