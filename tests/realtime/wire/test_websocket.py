"""The websocket connection as an ASGI server, with applications of the tests' own."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from app.realtime.wire import websocket
from app.realtime.wire.websocket import WebSocketConnection
from app.realtime.wire.wire import WireUser, wire_of
from tests.waiting import wait_until

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


@asynccontextmanager
async def serving(app: Any) -> AsyncGenerator[tuple[str, set[WebSocketConnection]]]:
    """An application behind nothing but websocket connections, of which none is left in the end."""
    connections: set[WebSocketConnection] = set()

    def protocol() -> WebSocketConnection:
        return WebSocketConnection(app, connections, {"mine": 1}, root_path="/root", max_size=1000)

    async with await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"ws://{host}:{port}", connections
        await wait_until(lambda: not connections, "every connection has ended")


def to(url: str, **options: Any) -> connect:
    """A client that sends no pings of its own."""
    return connect(url, proxy=None, ping_interval=None, compression=None, **options)


async def code_of(client: ClientConnection) -> int | None:
    """The code with which the server closes."""
    async with asyncio.timeout(10):
        try:
            while True:
                await client.recv()
        except ConnectionClosed:
            return client.close_code


async def test_an_application_gets_the_scope_and_sends_text_and_bytes() -> None:
    scopes: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        assert await receive() == {"type": "websocket.connect"}
        await send({"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x-y", b"z")]})
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})
        assert message == {"type": "websocket.disconnect", "code": 3000}

    async with serving(app) as (url, _):
        names = [Subprotocol("a"), Subprotocol("b")]
        async with to(f"{url}/a%20b?c=d", subprotocols=names, additional_headers={"X-Name": "é"}) as client:
            assert (client.subprotocol, client.response.headers["X-Y"] if client.response else "") == ("b", "z")
            for message in ("text", b"bytes", "", b""):
                await client.send(message)
                assert await client.recv() == message
            await client.close(3000)
    [scope] = scopes
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/root/a b", b"/root/a%20b", b"c=d")
    assert (scope["scheme"], scope["subprotocols"], scope["state"]["mine"]) == ("ws", ["a", "b"], 1)
    assert scope["client"][0] == scope["server"][0] == "127.0.0.1"
    assert dict(scope["headers"])[b"x-name"] in ("é".encode("latin-1"), "é".encode())


async def test_an_application_closes_with_its_code_and_may_not_send_after_it() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
        with pytest.raises(OSError, match="closed"):
            await send({"type": "websocket.send", "text": "x"})

    async with serving(app) as (url, _), to(url) as client:
        assert await code_of(client) == 4001
        assert client.close_reason == "enough"


async def test_a_client_that_does_not_answer_a_close_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_WITHIN", 0.1)

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    async with serving(app) as (url, connections):
        host, port = url.removeprefix("ws://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        writer.write(f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        await wait_until(lambda: not connections, "the connection is dropped")
        writer.close()


async def test_an_application_refuses_a_websocket_or_answers_instead() -> None:
    async def refuses(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close"})

    async def answers(scope: Any, receive: Receive, send: Send) -> None:
        headers = [(b"x-y", b"z"), (b"content-type", b"application/json")]
        await send({"type": "websocket.http.response.start", "status": 429, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b'{"a"', "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b":1}"})

    async with serving(refuses) as (url, _):
        with pytest.raises(InvalidStatus, match="403"):
            async with to(url):
                pass
    async with serving(answers) as (url, _):
        with pytest.raises(InvalidStatus, match="429") as refused:
            async with to(url):
                pass
        response = refused.value.response
        assert (response.headers["X-Y"], response.headers["Content-Type"], response.body) == ("z", "application/json", b'{"a":1}')


async def test_an_application_that_fails_is_logged_and_its_client_let_go(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] == "/root/late":
            await send({"type": "websocket.accept"})
        await send({"type": "nonsense"})

    async with serving(fails) as (url, _):
        with pytest.raises(InvalidStatus, match="500"):
            async with to(url):
                pass
        async with to(f"{url}/late") as client:
            assert await code_of(client) == 1006
    assert [record.levelno for record in caplog.records if record.name == websocket.__name__] == [logging.ERROR] * 2


async def test_a_shutdown_closes_open_websockets_and_refuses_new_ones() -> None:
    waiting = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] == "/root/open":
            await send({"type": "websocket.accept"})
        waiting.set()
        await receive()
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with serving(app) as (url, connections):
        async with to(f"{url}/open") as client:
            await waiting.wait()
            [connection] = connections
            connection.shutdown()
            assert await code_of(client) == 1012
        waiting.clear()
        opening = asyncio.create_task(to(url).__aenter__())
        await waiting.wait()
        await wait_until(lambda: len(connections) == 1, "the first is gone")
        [connection] = connections
        connection.shutdown()
        with pytest.raises(InvalidStatus, match="503"):
            await opening


class _Kept(WireUser):
    def __init__(self) -> None:
        self.received: list[str | bytes] = []
        self.is_gone = False

    def wire_received(self, message: str | bytes) -> None:
        self.received.append(message)

    def wire_gone(self) -> None:
        self.is_gone = True


async def test_a_detached_websocket_outlives_its_call_and_loses_nothing_that_came_before() -> None:
    kept = _Kept()
    arrived = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        wire = wire_of(scope)
        assert wire is not None
        wire.detach()
        wire.open(65_536, kept)
        await arrived.wait()
        wire.let_go()

    async with serving(app) as (url, _), to(url) as client:
        for message in ("one", b"two", "three"):
            await client.send(message)
        await asyncio.sleep(0.05)
        arrived.set()
        await wait_until(lambda: kept.received == ["one", b"two", "three"], "what came before is handed on")
        await client.send(iter(["fo", "ur"]))
        await wait_until(lambda: kept.received[-1] == "four", "and what comes after")
        await client.close()
        assert kept.is_gone
