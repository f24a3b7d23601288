"""Every case of the official test suite of Engine.IO 4, over raw HTTP and websockets, with our wire and without.

https://github.com/socketio/engine.io-protocol/tree/main/test-suite: a server that sends back each message it is sent.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio
from starlette.routing import Mount
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.main import GatewayApp
from app.realtime.hub.hub import Hub
from app.realtime.transports.engine.packet import LARGEST_MESSAGE
from app.realtime.transports.engine.server import Engine
from app.realtime.transports.engine.session import Session
from tests.gateways import gateway
from tests.realtime.stream_clients import tcp
from tests.realtime.transports.test_other_servers import served
from tests.waiting import wait_until

PING_INTERVAL, PING_TIMEOUT = 20.0, 2.0

OFTEN = 0.3
"""The ping interval of the tests that are about pings."""

SERVERS = [None, ("h11", "wsproto")]


@dataclass(frozen=True)
class On:
    """An Engine.IO server that echoes, and a client of HTTP."""

    url: str
    engine: Engine
    http: httpx.AsyncClient

    async def request(self, method: str, sid: str | None = None, content: str | bytes = b"", **query: str) -> httpx.Response:
        """One request, with the query of a polling client unless it says otherwise."""
        query = {"EIO": "4", "transport": "polling", **query, **({"sid": sid} if sid else {})}
        return await self.http.request(method, "/engine.io/", params=query, content=content)

    async def poll(self, sid: str) -> httpx.Response:
        """One poll."""
        return await self.request("GET", sid)

    async def post(self, sid: str, content: str | bytes) -> httpx.Response:
        """Packets in one request."""
        return await self.request("POST", sid, content)

    async def open(self) -> str:
        """A new polling session's id."""
        return str(handshake((await self.request("GET")).text)["sid"])

    def websocket(self, sid: str | None = None, query: str = "EIO=4&transport=websocket") -> connect:
        """A websocket, of a new session where no ``sid`` is given."""
        target = f"{self.url.replace('http', 'ws', 1)}/engine.io/?{query}{f'&sid={sid}' if sid else ''}"
        return connect(target, proxy=None, ping_interval=None, max_size=None)


def echoing(app: GatewayApp, hub: Hub) -> Engine:
    """An engine that echoes, mounted beside the application's own."""
    engine = Engine(hub, allows_origin=lambda *_: True, ping_interval=PING_INTERVAL, ping_timeout=PING_TIMEOUT)

    async def opened(sid: str, session: Session) -> None:
        session.connected_to_namespace()

    async def ended(sid: str, reason: str) -> None:
        assert sid not in engine.sessions

    engine.on("connect", opened)
    engine.on("message", engine.send)
    engine.on("disconnect", ended)

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await engine.handle_request(scope, receive, send)

    app.router.routes.insert(0, Mount("/engine.io", serve))
    return engine


@pytest_asyncio.fixture(params=SERVERS, ids=["wire", "asgi"])
async def on(request: pytest.FixtureRequest, valkey_url: str, tmp_path: Path) -> AsyncIterator[On]:
    """An engine that echoes, under our server's protocols or under others."""
    if request.param is None:
        async with gateway(valkey_url, tmp_path) as running, httpx.AsyncClient(base_url=running.url, trust_env=False) as http:
            yield On(running.url, engine := echoing(running.app, running.hub), http)
            await engine.shutdown()
    else:
        async with (
            served(valkey_url, tmp_path, *request.param) as other,
            httpx.AsyncClient(base_url=other.url, trust_env=False) as http,
        ):
            yield On(other.url, engine := echoing(other.app, other.hub), http)
            await engine.shutdown()
    assert engine.sessions == {}


def handshake(packet: object) -> dict[str, Any]:
    """The handshake in an open packet."""
    text = str(packet)
    assert text.startswith("0")
    value = orjson.loads(text[1:])
    assert value.keys() == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
    assert isinstance(value["sid"], str)
    assert value["pingInterval"] in (PING_INTERVAL * 1000, OFTEN * 1000)
    assert (value["pingTimeout"], value["maxPayload"]) == (2000, LARGEST_MESSAGE)
    return dict(value)


async def closed(websocket: ClientConnection) -> None:
    """Read until the websocket is closed."""
    async with asyncio.timeout(10):
        try:
            while True:
                await websocket.recv()
        except ConnectionClosed:
            pass


async def message(websocket: ClientConnection) -> str | bytes:
    """The next packet that is no ping; pings are answered."""
    async with asyncio.timeout(10):
        while (packet := await websocket.recv()) == "2":
            await websocket.send("3")
        return packet


# ---------------------------------------------------------------- handshake


async def test_polling_opens_a_session(on: On) -> None:
    answer = await on.request("GET")
    assert answer.status_code == 200
    opened = handshake(answer.text)
    assert opened["upgrades"] == ["websocket"]
    assert opened["sid"] in on.engine.sessions


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("GET", {"EIO": ""}),
        ("GET", {"EIO": "abc"}),
        ("GET", {"EIO": "3"}),
        ("GET", {"transport": ""}),
        ("GET", {"transport": "abc"}),
        ("GET", {"transport": "websocket"}),
        ("GET", {"sid": "unknown"}),
        ("POST", {}),
        ("PUT", {}),
        ("DELETE", {}),
        ("PATCH", {}),
    ],
)
async def test_other_handshakes_are_refused(method: str, query: dict[str, str], on: On) -> None:
    assert (await on.request(method, **query)).status_code == 400
    assert on.engine.sessions == {}


async def test_a_handshake_without_the_version_or_the_transport_is_refused(on: On) -> None:
    for query in ({"transport": "polling"}, {"EIO": "4"}, {}):
        assert (await on.http.get("/engine.io/", params=query)).status_code == 400


async def test_a_websocket_opens_a_session(on: On) -> None:
    async with on.websocket() as websocket:
        assert handshake(await websocket.recv())["upgrades"] == []


@pytest.mark.parametrize(
    "query", ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc", "EIO=4&transport=polling"]
)
async def test_other_websockets_are_refused(query: str, on: On) -> None:
    with pytest.raises(InvalidStatus):
        async with on.websocket(query=query):
            pass
    assert on.engine.sessions == {}


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize("packets", ["4hello", "4test1\x1e4test2\x1e4test3", "4hello\x1ebAQIDBA==", "4€\x1e4", "b"])
async def test_a_polling_client_sends_packets_and_gets_some(packets: str, on: On) -> None:
    sid = await on.open()
    answer = await on.post(sid, packets)
    assert (answer.status_code, answer.text) == (200, "ok")
    answer = await on.poll(sid)
    assert (answer.status_code, answer.text) == (200, packets)


async def test_what_is_no_packet_ends_a_polling_session(on: On) -> None:
    sid = await on.open()
    assert (await on.post(sid, "abc")).status_code == 400
    assert (await on.poll(sid)).status_code == 400


async def test_a_second_poll_while_one_waits_ends_the_session(on: On) -> None:
    sid = await on.open()
    first = asyncio.create_task(on.poll(sid))
    await wait_until(lambda: on.engine.sessions[sid].is_polling, "the first poll waits")
    second = await on.poll(sid)
    answer = await first
    assert (answer.status_code, answer.text) == (200, "1")
    assert second.status_code == 400
    assert (await on.poll(sid)).status_code == 400


async def test_a_poll_that_is_broken_off_ends_the_session(on: On) -> None:
    sid = await on.open()
    _, writer = await tcp(on.url)
    writer.write(f"GET /engine.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    session = on.engine.sessions[sid]
    await wait_until(lambda: session.is_polling, "the poll waits")
    writer.transport.abort()
    await wait_until(lambda: session.is_closed, "the session has ended")
    assert (await on.post(sid, "4lost")).status_code == 400


@pytest.mark.parametrize("data", ["4hello", b"\1\2\3\4", "4" + "x" * 70_000, b"\0" * 70_000, b""], ids=len)
async def test_a_websocket_sends_a_message_and_gets_one(data: str | bytes, on: On) -> None:
    async with on.websocket() as websocket:
        handshake(await websocket.recv())
        await websocket.send(data)
        assert await message(websocket) == data


@pytest.mark.parametrize("packet", ["abc", "", "0", "2", "6", "b!"])
async def test_what_is_no_packet_ends_a_websocket(packet: str, on: On) -> None:
    async with on.websocket() as websocket:
        handshake(await websocket.recv())
        await websocket.send(packet)
        await closed(websocket)


# ---------------------------------------------------------------- heartbeat


async def test_a_polling_client_is_pinged_again_and_again(on: On) -> None:
    on.engine.ping_interval = OFTEN
    sid = await on.open()
    for _ in range(3):
        answer = await on.poll(sid)
        assert (answer.status_code, answer.text) == (200, "2")
        assert (await on.post(sid, "3")).status_code == 200


async def test_a_polling_client_that_does_not_answer_is_gone(on: On) -> None:
    on.engine.ping_interval = OFTEN
    sid = await on.open()
    await wait_until(lambda: not on.engine.sessions, "the session has ended")
    assert (await on.poll(sid)).status_code == 400


async def test_a_websocket_is_pinged_again_and_again(on: On) -> None:
    on.engine.ping_interval = OFTEN
    async with on.websocket() as websocket:
        handshake(await websocket.recv())
        for _ in range(3):
            assert await websocket.recv() == "2"
            await websocket.send("3")


async def test_a_websocket_that_does_not_answer_is_closed(on: On) -> None:
    on.engine.ping_interval = OFTEN
    async with on.websocket() as websocket:
        await closed(websocket)


# ---------------------------------------------------------------- close


async def test_a_polling_client_closes_its_session(on: On) -> None:
    sid = await on.open()
    waiting = asyncio.create_task(on.poll(sid))
    await wait_until(lambda: on.engine.sessions[sid].is_polling, "the poll waits")
    assert (await on.post(sid, "1")).text == "ok"
    answer = await waiting
    assert (answer.status_code, answer.text) == (200, "6")
    assert (await on.poll(sid)).status_code == 400


async def test_a_websocket_closes_its_session(on: On) -> None:
    async with on.websocket() as websocket:
        handshake(await websocket.recv())
        await websocket.send("1")
        await closed(websocket)


# ---------------------------------------------------------------- upgrade


async def upgraded(on: On, sid: str, websocket: ClientConnection) -> None:
    """Change a session over without waiting for anything."""
    await websocket.send("2probe")
    await websocket.send("5")
    assert await websocket.recv() == "3probe"
    await wait_until(lambda: on.engine.sessions[sid].is_upgraded, "the session has changed over")


async def test_a_session_changes_over_to_a_websocket(on: On) -> None:
    sid = await on.open()
    async with on.websocket(sid) as websocket:
        await websocket.send("2probe")
        assert await websocket.recv() == "3probe"
        answer = await on.poll(sid)
        assert (answer.status_code, answer.text) == (200, "6")
        await websocket.send("5")
        await websocket.send("4hello")
        assert await message(websocket) == "4hello"


async def test_messages_that_wait_go_over_the_websocket_first_be_they_text_or_binary(on: On) -> None:
    sid = await on.open()
    await on.post(sid, "\x1e".join(["4text", "bAQID"] * 10))
    assert len((await on.poll(sid)).text.split("\x1e")) == 16
    async with on.websocket(sid) as websocket:
        await upgraded(on, sid, websocket)
        await websocket.send(b"\4")
        assert [await message(websocket) for _ in range(5)] == ["4text", b"\1\2\3"] * 2 + [b"\4"]


async def test_requests_of_a_session_that_has_changed_over_are_refused(on: On) -> None:
    sid = await on.open()
    async with on.websocket(sid) as websocket:
        await upgraded(on, sid, websocket)
        assert (await on.poll(sid)).status_code == 400
        assert (await on.post(sid, "4x")).status_code == 400
        await websocket.send("4hello")
        assert await message(websocket) == "4hello"


async def test_a_second_websocket_of_a_session_is_closed(on: On) -> None:
    sid = await on.open()
    async with on.websocket(sid) as websocket:
        await upgraded(on, sid, websocket)
        async with on.websocket(sid) as second:
            await closed(second)
        await websocket.send("4hello")
        assert await message(websocket) == "4hello"
