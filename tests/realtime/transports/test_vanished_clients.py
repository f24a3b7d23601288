"""Clients that vanish without a word: their places are free again within 45 s, on every transport."""

import asyncio
import os
import selectors
import socket
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.realtime.log.log import EventLog, open_redis
from app.realtime.wire import line, watch, wire
from app.realtime.wire.line import OutQueue
from app.run.listeners import listen
from tests.gateways import RunningGateway, gateway
from tests.realtime.listening import tick
from tests.realtime.socket_clients import TEXT, UPGRADE_HEADERS, frame
from tests.vanishing import drop_everything
from tests.waiting import wait_until

SOON = float(os.environ.get("GONE_AFTER", "7"))
"""What stands for the 43 s in these tests."""

_UPGRADE = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in UPGRADE_HEADERS.items())
_SOCKET = f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n{_UPGRADE}\r\n".encode()
_POLL = "/socket.io/?EIO=4&transport=polling"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gateways take less time to notice that a client has vanished."""
    for module in (line, watch, wire):
        monkeypatch.setattr(module, "GONE_AFTER", SOON)


class Client:
    """A client on a bare socket, which can vanish."""

    def __init__(self, url: str) -> None:
        self.socket = socket.socket()
        self._url = url
        self._unread = b""

    async def send(self, data: bytes) -> None:
        """Send bytes, over a connection that the first of them open."""
        loop = asyncio.get_running_loop()
        if self.socket.getblocking():
            self.socket.setblocking(False)
            parts = urlsplit(self._url)
            await loop.sock_connect(self.socket, (parts.hostname, parts.port))
        await loop.sock_sendall(self.socket, data)

    async def read_until(self, end: bytes) -> bytes:
        """Read up to these bytes, and return what came before them."""
        while end not in self._unread:
            async with asyncio.timeout(10):
                data = await asyncio.get_running_loop().sock_recv(self.socket, 65_536)
            assert data, self._unread
            self._unread += data
        before, _, self._unread = self._unread.partition(end)
        return before

    async def vanish(self) -> None:
        """Leave without a word, as soon as the gateway's kernel has everything: it would be sent again otherwise."""
        await wait_until(lambda: OutQueue().bytes_of(self.socket.fileno()) == 0, "what was sent is acknowledged")
        drop_everything(self.socket)

    async def follow(self, kind: str, pairs: str) -> None:
        """Be a client of this kind that the gateway serves."""
        if kind == "stream":
            await self.send(f"GET /stream?pairs={pairs}&snapshot=false HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await self.read_until(b"stream_opened")
        elif kind == "plain":
            await self.send(f"GET /ws?pairs={pairs}&snapshot=false HTTP/1.1\r\nHost: x\r\n{_UPGRADE}\r\n".encode())
            await self.read_until(b"stream_opened")
        elif kind == "websocket":
            await self.send(_SOCKET)
            await self.read_until(b'"maxPayload"')
            await self.send(frame(TEXT, b"40"))
            await self.read_until(b"connection_established")
            await self.send(frame(TEXT, f'42["subscribe",{{"pairs":["{pairs}"],"snapshot":false}}]'.encode()))
            await self.read_until(b"subscription_confirmed")
        elif kind == "poll":
            sid = await self._poll_session()
            await self.send(f"GET {_POLL}&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        else:
            await self.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            await self.read_until(b"\r\n\r\n")

    async def _poll_session(self) -> str:
        await self.send(f"GET {_POLL} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await self.read_until(b'"sid":"')
        sid = (await self.read_until(b'"')).decode()
        await self.read_until(b"}")
        await self.send(f"POST {_POLL}&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n40".encode())
        await self.read_until(b"ok")
        await self.send(f"GET {_POLL}&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await self.read_until(b"connection_established")
        await self.read_until(b"}]")
        return sid


@pytest.mark.usefixtures("soon")
async def test_clients_that_vanish_are_gone_on_every_transport(valkey_url: str, tmp_path: Path) -> None:
    kinds = ["stream", "websocket", "plain", "poll", "keep-alive"]
    quiet = {"heartbeat_interval": 3600, "websocket_ping_interval": 3600}
    async with gateway(valkey_url, tmp_path, **quiet) as running, open_redis(valkey_url) as redis:
        clients = [(kind, pairs, Client(running.url)) for kind in kinds for pairs in ("EUR_USD", "GBP_USD")]
        connections = running.server.server_state.connections
        try:
            for kind, pairs, client in clients:
                await client.follow(kind, pairs)
            await wait_until(lambda: len(running.hub.clients) == 8, "all are served")
            for _, _, client in clients:
                await client.vanish()
            loop = asyncio.get_running_loop()
            began, publisher = loop.time(), EventLog(redis).publisher()
            while connections:
                await publisher.publish([tick("GBP_USD")])  # half of the clients are sent something, the others nothing
                await asyncio.sleep(0.1)
                assert loop.time() - began < SOON + 3, _left(running)
        finally:
            for _, _, client in clients:
                client.socket.close()
        assert len(running.hub.clients) == 0
        assert running.hub.statistics.cut_off["vanished"].value == 8


def _left(running: RunningGateway) -> list[tuple[str, str]]:
    connections = running.server.server_state.connections
    return [(type(one).__name__, repr(one.wire.transport)) for one in connections]  # type: ignore[union-attr]


def test_connections_of_several_workers_inherit_it_too() -> None:
    listeners = [listener for [listener] in listen(["127.0.0.1"], 0, 2)]
    address = listeners[0].getsockname()
    with listeners[0], listeners[1], selectors.DefaultSelector() as ready, ExitStack() as clients:
        for listener in listeners:
            ready.register(listener, selectors.EVENT_READ)
        accepted = 0
        while len(ready.get_map()):  # each has connections of its own, which the kernel chooses
            clients.enter_context(socket.create_connection(address))
            for key, _ in ready.select(1):
                connection, _ = key.fileobj.accept()  # type: ignore[union-attr]
                with connection:
                    assert notices(connection)
                ready.unregister(key.fileobj)
                accepted += 1
        assert accepted == 2


async def test_accepted_connections_inherit_what_notices_the_vanished(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running:
        parts = urlsplit(running.url)
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        await wait_until(lambda: bool(running.server.server_state.connections), "the connection is accepted")
        [accepted] = running.server.server_state.connections
        connection = accepted.wire.transport.get_extra_info("socket")  # type: ignore[union-attr]
        assert notices(connection)
        writer.close()


def notices(connection: socket.socket) -> bool:
    """Whether the kernel ends a connection whose peer has vanished, within 45 s."""
    idle, every, number, unacknowledged = (
        connection.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
        for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    )
    kept_alive = connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return bool(kept_alive) and 30 <= idle + every * number <= 45 and 30_000 <= unacknowledged <= 45_000
