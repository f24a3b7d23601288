"""Many clients of one server in one small process: ``python -m benchmarks.load TRANSPORT URL``.

It is told what to do by JSON lines on standard input and answers each with one:

``connect`` (``clients``) brings up the clients and subscribes each to all pairs. ``disconnect`` drops them. ``count``
(``sample_every``) starts counting anew. ``finish`` (``expected``, of each client) waits until that much has arrived, or no
more comes, and tells what was counted.

Nothing is decoded on the way. What arrives is searched for the name of the event, which a price event holds once on either
transport, and every so many deliveries the time that the publisher stamped on one is read.
"""

import json
import selectors
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

_EVENT = b"price_update"
_STAMP = b'"timestamp":"'
_STAMP_LENGTH = len("2026-01-31T09:30:00.123456Z")
_KEPT = len(_EVENT) - 1
_ROOM = 1 << 18
_CONNECTING_AT_ONCE = 50
_CONNECT_WITHIN = 60.0
_NO_MORE_AFTER = 2.0
_ORDERS = 0


@dataclass(frozen=True)
class Dialect:
    """How a client of a transport asks for its events.

    ``opening`` lists what the server says until events flow, each with the client's answer. ``ping`` is what the server
    may ask at any time and ``pong`` the answer; ``ping_sign`` is a byte of it that text does not hold.
    """

    request: str
    opening: tuple[tuple[bytes, bytes], ...]
    ping: bytes = b""
    ping_sign: bytes = b""
    pong: bytes = b""


def _masked(text: bytes) -> bytes:
    """A websocket text frame from a client, its mask all zeros."""
    assert len(text) < 126
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


DIALECTS = {
    "websocket": Dialect(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: YmVuY2htYXJrcy9sb2FkIQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        (
            (b" 101 ", b""),
            (b'0{"sid"', _masked(b"40")),
            (b'40{"sid"', _masked(b'42["subscribe",{"pairs":"*"}]')),
            (b'"subscription_confirmed"', b""),
        ),
        ping=b"\x81\x012",
        ping_sign=b"\x01",
        pong=_masked(b"3"),
    ),
    "sse": Dialect(
        "GET /stream?pairs=* HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n",
        ((b" 200 ", b""), (b"event: stream_opened", b"")),
    ),
}


class Client:
    """One connection and how far it has come."""

    __slots__ = ("connection", "got", "opened", "receive", "said", "tail")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.receive: Callable[[memoryview], int] = connection.recv_into
        self.opened = 0
        self.said = bytearray()
        self.tail = bytearray(_KEPT)
        self.got = 0


class Crowd:
    """All clients of the server, what they got, and the one who gives the orders."""

    def __init__(self, dialect: Dialect, url: str) -> None:
        address = urlsplit(url)
        self._address = (address.hostname or "", address.port or 80)
        self._request = dialect.request.format(host=address.netloc).encode()
        self._dialect = dialect
        self._selector = selectors.DefaultSelector()
        self._clients: list[Client] = []
        self._ready = 0
        self._lost = 0
        self._buffer = bytearray(_KEPT + _ROOM)
        self._room = memoryview(self._buffer)[_KEPT:]
        self._delivered = 0
        self._last_arrival = 0.0
        self._sample_every = 1
        self._next_sample = 1
        self._latencies: list[float] = []
        self._counting_since = 0.0
        self._cpu_before = 0.0

    def obey(self) -> None:
        """Carry out orders until there are no more."""
        self._selector.register(_ORDERS, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.data is not None:
                    self._take(key.data)
                elif line := sys.stdin.buffer.readline():
                    print(json.dumps(self._carry_out(json.loads(line))), flush=True)
                else:
                    return

    def _carry_out(self, order: dict[str, Any]) -> dict[str, Any]:
        match order["do"]:
            case "connect":
                self._connect(order["clients"])
                return {"ready": self._ready}
            case "disconnect":
                self._disconnect()
                return {}
            case "count":
                self._count(order["sample_every"])
                return {}
            case "finish":
                return self._finish(order["expected"])
        raise ValueError(f"no such order: {order}")

    # ------------------------------------------------------------ opening

    def _connect(self, clients: int) -> None:
        self._ready = self._lost = 0
        deadline = time.monotonic() + _CONNECT_WITHIN
        while self._ready < clients:
            while len(self._clients) < min(clients, self._ready + _CONNECTING_AT_ONCE):
                self._clients.append(self._open())
            for key, _ in self._selector.select(1.0):
                if key.data is not None:
                    self._take(key.data)
            if self._lost or time.monotonic() > deadline:
                raise SystemExit(f"{self._ready} of {clients} clients are connected, {self._lost} were refused or lost")

    def _open(self) -> Client:
        connection = socket.create_connection(self._address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        client = Client(connection)
        self._selector.register(connection, selectors.EVENT_READ, client)
        connection.send(self._request)
        return client

    def _go_on_opening(self, client: Client, piece: bytes) -> None:
        client.said += piece
        opening = self._dialect.opening
        while client.opened < len(opening):
            awaited, answer = opening[client.opened]
            place = client.said.find(awaited)
            if place < 0:
                return
            del client.said[: place + len(awaited)]
            if answer:
                client.connection.send(answer)
            client.opened += 1
        client.said.clear()
        self._ready += 1

    def _disconnect(self) -> None:
        for client in self._clients:
            self._drop(client)
        self._clients.clear()

    def _drop(self, client: Client) -> None:
        if client.connection.fileno() >= 0:
            self._selector.unregister(client.connection)
            client.connection.close()

    # ------------------------------------------------------------ counting

    def _take(self, client: Client) -> None:
        try:
            size = client.receive(self._room)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self._lost += 1
            self._drop(client)
            return
        if client.opened < len(self._dialect.opening):
            self._go_on_opening(client, bytes(self._room[:size]))
            return
        buffer, end = self._buffer, _KEPT + size
        # The end of the piece before goes in front, for a name that is cut in two. It is too short to hold a whole one.
        buffer[:_KEPT] = client.tail
        client.tail = buffer[size:end]
        found = buffer.count(_EVENT, 0, end)
        client.got += found
        self._delivered += found
        if self._delivered >= self._next_sample:
            self._sample(end)
        sign = self._dialect.ping_sign
        if sign and buffer.find(sign, _KEPT - 2, end) >= 0 and buffer.find(self._dialect.ping, _KEPT - 2, end) >= 0:
            client.connection.send(self._dialect.pong)

    def _sample(self, end: int) -> None:
        """Read one latency; it stands for as many samples as fell due with this piece."""
        now = time.time()
        due = (self._delivered - self._next_sample) // self._sample_every + 1
        self._next_sample += due * self._sample_every
        place = self._buffer.rfind(_STAMP, 0, end - _STAMP_LENGTH)
        if place >= 0:
            begin = place + len(_STAMP)
            stamped = datetime.fromisoformat(self._buffer[begin : begin + _STAMP_LENGTH].decode())
            self._latencies += [now - stamped.timestamp()] * due

    def _count(self, sample_every: int) -> None:
        for client in self._clients:
            client.got = 0
        self._delivered, self._latencies = 0, []
        self._sample_every = self._next_sample = sample_every
        self._counting_since, self._cpu_before = time.monotonic(), time.process_time()

    def _finish(self, expected: int) -> dict[str, Any]:
        """Receive until everything is here, or for some seconds nothing was."""
        whole = expected * len(self._clients)
        self._last_arrival = time.monotonic()
        while self._delivered < whole and time.monotonic() - self._last_arrival < _NO_MORE_AFTER:
            before = self._delivered
            for key, _ in self._selector.select(0.1):
                if key.data is not None:
                    self._take(key.data)
            if self._delivered > before:
                self._last_arrival = time.monotonic()
        got = sorted(client.got for client in self._clients)
        took = self._last_arrival - self._counting_since
        latencies = sorted(self._latencies)
        return {
            "delivered": self._delivered,
            "least": got[0],
            "most": got[-1],
            "lost": self._lost,
            "last_arrival": self._last_arrival,
            "p50": _quantile(latencies, 0.50),
            "p99": _quantile(latencies, 0.99),
            "cpu_share": (time.process_time() - self._cpu_before) / took,
        }


def _quantile(ordered: list[float], part: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else None


if __name__ == "__main__":
    Crowd(DIALECTS[sys.argv[1]], sys.argv[2]).obey()
