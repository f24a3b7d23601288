"""Many clients of one server in one small process: ``python -m benchmarks.load TRANSPORT URL``.

It reads orders as JSON lines from standard input and answers each with a JSON line:

- ``connect`` (``clients``): connect the clients, ``at_once`` in flight, and subscribe each to all pairs, or to its list in
  ``pairs``; resume from the cursor ``since`` if given. ``room`` limits the receive buffer, in bytes. Returns how long it took.
- ``disconnect``: drop them.
- ``count`` (``sample_every``): reset the counters; with ``ids``, keep every id.
- ``finish`` (``expected`` events for a client of all pairs): wait until they have arrived, or nothing more arrives, and return
  the counts; with ``ids`` (the expected ones, in order) also how many clients got exactly these.
- ``deaf``: stop reading.
- ``closed``: return how many connections the server has closed meanwhile.

Nothing is decoded, except that a compressed stream is inflated. The load searches what arrives for a mark that each price holds
once, as the name of its event, and reads the publisher's timestamp from every ``sample_every``-th delivery. It counts the bytes
that it reads from its connections, with all framing above TCP.
"""

import json
import re
import selectors
import socket
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

_EVENT = b"price_update"
_STAMP = b'"timestamp":"'
_STAMP_LENGTH = len("2026-01-31T09:30:00.123456Z")
_ROW = b'data:["'
_MILLISECONDS = re.compile(rb'",(\d{13})[,\]]')
_ROW_LENGTH = 80
_ROOM = 1 << 18
_ID = re.compile(rb'"id":"(\d+-\d+)"')
_PAIRS = 20
_CONNECTING_AT_ONCE = 50
_CONNECT_WITHIN = 120.0
_NO_MORE_AFTER = 2.0
_ORDERS = 0


@dataclass(frozen=True)
class Dialect:
    """How a client of a transport subscribes.

    ``opening`` lists what the server sends until events flow, each with the client's answer. ``ping`` is the server's ping
    and ``pong`` the answer; ``ping_sign`` is a byte of the ping that never occurs in text. The pairs go into the answer at
    index ``subscribe`` of ``opening``, or into ``{query}`` of the request. ``mark`` is in each price once. Prices may be
    ``compact``, and the body of the answer ``compressed``, with gzip.
    """

    request: str
    opening: tuple[tuple[bytes, bytes], ...]
    ping: bytes = b""
    ping_sign: bytes = b""
    pong: bytes = b""
    subscribe: int = -1
    mark: bytes = _EVENT
    compact: bool = False
    compressed: bool = False


def masked(text: bytes) -> bytes:
    """Return a websocket text frame as a client sends it, masked with zeros."""
    size = len(text)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + text


_SOCKET_IO = Dialect(
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: YmVuY2htYXJrcy9sb2FkIQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    (
        (b" 101 ", b""),
        (b'0{"sid"', masked(b"40")),
        (b'40{"sid"', b""),
        (b'"subscription_confirmed"', b""),
    ),
    ping=b"\x81\x012",
    ping_sign=b"\x01",
    pong=masked(b"3"),
    subscribe=2,
)
_STREAM = Dialect(
    "GET /stream?{query} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n",
    ((b" 200 ", b""), (b"event: stream_opened", b"")),
)
_COMPRESSED_STREAM = replace(
    _STREAM,
    request=_STREAM.request.replace("\r\n\r\n", "\r\nAccept-Encoding: gzip\r\n\r\n"),
    opening=((b"\r\n\r\n", b""), (b"event: stream_opened", b"")),
    compressed=True,
)
_PLAIN = Dialect(
    "GET /ws?{query} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: YmVuY2htYXJrcy9sb2FkIQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ((b" 101 ", b""), (b'"type":"stream_opened"', b"")),
    ping=b"\x89\x00",
    ping_sign=b"\x89",
    pong=b"\x8a\x80" + bytes(4),
)

DIALECTS = {
    "websocket": _SOCKET_IO,
    "websocket-compact": replace(_SOCKET_IO, compact=True),
    "sse": _STREAM,
    "sse-compact": replace(_STREAM, mark=_ROW, compact=True),
    "sse-gzip": _COMPRESSED_STREAM,
    "sse-compact-gzip": replace(_COMPRESSED_STREAM, mark=_ROW, compact=True),
    "plain": _PLAIN,
    "plain-compact": replace(_PLAIN, mark=b'["', compact=True),
    "plain-websocket": Dialect(
        "GET /subscribe HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: YmVuY2htYXJrcy9sb2FkIQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        ((b" 101 ", b""), (b"\r\n\r\n", b"")),
    ),
    "plain-sse": Dialect(
        "GET /subscribe HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n",
        ((b" 200 ", b""), (b"\r\n\r\n", b"")),
    ),
}


class Client:
    """One connection and its progress."""

    __slots__ = ("connection", "got", "ids", "inflate", "opened", "packed", "pairs", "receive", "said", "tail")

    def __init__(self, connection: socket.socket, pairs: list[str] | None) -> None:
        self.connection = connection
        self.pairs = pairs
        self.ids: list[bytes] = []
        self.receive: Callable[[memoryview], int] = connection.recv_into
        self.opened = 0
        self.said = bytearray()
        self.tail = bytearray()
        self.packed = bytearray()
        self.inflate: Callable[[bytes], bytes] = bytes
        self.got = 0


class Crowd:
    """All clients of the server, their counters, and the loop that carries out orders."""

    def __init__(self, dialect: Dialect, url: str) -> None:
        address = urlsplit(url)
        self._address = (address.hostname or "", address.port or 80)
        self._host = address.netloc
        self._dialect = dialect
        self._kept = len(dialect.mark) - 1
        self._since: str | None = None
        self._receive_room: int | None = None
        self._keeping_ids = False
        self._selector = selectors.DefaultSelector()
        self._clients: list[Client] = []
        self._ready = 0
        self._lost = 0
        self._buffer = bytearray(self._kept + _ROOM)
        self._room = memoryview(self._buffer)[self._kept :]
        self._bytes = 0
        self._delivered = 0
        self._last_arrival = 0.0
        self._sample_every = 1
        self._next_sample = 1
        self._latencies: list[float] = []
        self._counting_since = 0.0
        self._cpu_before = 0.0

    def obey(self) -> None:
        """Carry out orders until standard input ends."""
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
                self._since, self._receive_room = order.get("since"), order.get("room")
                cpu_before = time.process_time()
                took = self._connect(order["clients"], order.get("pairs"), order.get("at_once", _CONNECTING_AT_ONCE))
                return {"ready": self._ready, "took": took, "cpu_share": (time.process_time() - cpu_before) / took}
            case "disconnect":
                self._disconnect()
                return {}
            case "count":
                self._count(order["sample_every"], order.get("ids", False))
                return {}
            case "finish":
                return self._finish(order["expected"], order.get("ids"))
            case "deaf":
                for client in self._clients:
                    self._selector.unregister(client.connection)
                return {}
            case "closed":
                return {"closed": sum(map(_ended_by_server, self._clients))}
        raise ValueError(f"no such order: {order}")

    # ------------------------------------------------------------ opening

    def _connect(self, clients: int, pairs: list[list[str]] | None, at_once: int) -> float:
        self._ready = self._lost = 0
        began = time.monotonic()
        while self._ready < clients:
            wave = min(clients, self._ready + at_once) - len(self._clients)
            for _ in range(min(wave, 20)):
                self._clients.append(self._open(pairs[len(self._clients)] if pairs else None))
            for key, _ in self._selector.select(0 if wave > 20 else 1.0):
                if key.data is not None:
                    self._take(key.data)
            if self._lost or time.monotonic() > began + _CONNECT_WITHIN:
                raise SystemExit(f"{self._ready} of {clients} clients are connected, {self._lost} were refused or lost")
        return time.monotonic() - began

    def _open(self, pairs: list[str] | None) -> Client:
        connection = socket.socket()
        if self._receive_room is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_room)
        connection.connect(self._address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        client = Client(connection, pairs)
        self._selector.register(connection, selectors.EVENT_READ, client)
        query = f"pairs={','.join(pairs or '*')}" + (f"&last_event_id={self._since}" if self._since else "")
        query += "&format=compact" if self._dialect.compact else ""
        connection.send(self._dialect.request.format(host=self._host, query=query).encode())
        return client

    def _subscription(self, client: Client) -> bytes:
        wanted: dict[str, object] = {"pairs": client.pairs or "*"}
        if self._since:
            wanted["since"] = self._since
        if self._dialect.compact:
            wanted["format"] = "compact"
        return masked(b"42" + json.dumps(["subscribe", wanted]).encode())

    def _go_on_opening(self, client: Client, piece: bytes) -> None:
        client.said += piece
        opening = self._dialect.opening
        while client.opened < len(opening):
            awaited, answer = opening[client.opened]
            place = client.said.find(awaited)
            if place < 0:
                return
            del client.said[: place + len(awaited)]
            if client.opened == self._dialect.subscribe:
                answer = self._subscription(client)
            if answer:
                client.connection.send(answer)
            client.opened += 1
            if self._dialect.compressed and client.opened == 1:  # the head is over
                client.inflate = zlib.decompressobj(wbits=31).decompress
                client.said = bytearray(_unpacked(client, bytes(client.said)))
        if self._keeping_ids:
            # Replayed events may follow in the same piece.
            client.got += client.said.count(self._dialect.mark)
            self._delivered += client.got
            self._keep_ids(client, bytes(client.said))
        else:
            client.said.clear()
        client.tail = bytearray(self._kept)
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
            piece = bytes(self._room[:size])
            self._go_on_opening(client, _unpacked(client, piece) if self._dialect.compressed and client.opened else piece)
            return
        self._bytes += size
        kept = self._kept
        # Prepend the end of the previous piece, for a mark that was split. It is too short to hold a whole one.
        if self._dialect.compressed:
            buffer = client.tail + _unpacked(client, bytes(self._room[:size]))
            end = len(buffer)
        else:
            buffer, end = self._buffer, kept + size
            buffer[:kept] = client.tail
        client.tail = buffer[end - kept : end]
        found = buffer.count(self._dialect.mark, 0, end)
        client.got += found
        self._delivered += found
        if self._keeping_ids:
            self._keep_ids(client, client.said + buffer[kept:end])
        if self._delivered >= self._next_sample:
            self._sample(buffer, end)
        sign = self._dialect.ping_sign
        start = max(0, kept - 2)
        if sign and buffer.find(sign, start, end) >= 0 and buffer.find(self._dialect.ping, start, end) >= 0:
            client.connection.send(self._dialect.pong)

    def _keep_ids(self, client: Client, text: bytes | bytearray) -> None:
        """Keep the ids of complete events, and the rest of the text for the next call."""
        last = None
        for last in _ID.finditer(text, text.find(_EVENT)):
            client.ids.append(last[1])
        after = last.end() if last is not None else 0
        client.said = bytearray(text[after:])

    def _sample(self, buffer: bytearray, end: int) -> None:
        """Read one latency, and count it for every sample that fell due with this piece."""
        now = time.time()
        due = (self._delivered - self._next_sample) // self._sample_every + 1
        self._next_sample += due * self._sample_every
        stamped = _newest_row(buffer, end) if self._dialect.compact else _newest_stamp(buffer, end)
        if stamped is not None:
            self._latencies += [now - stamped] * due

    def _count(self, sample_every: int, ids: bool) -> None:
        self._keeping_ids = ids
        for client in self._clients:
            client.got = 0
            client.ids.clear()
        self._delivered, self._bytes, self._latencies = 0, 0, []
        self._sample_every = self._next_sample = sample_every
        self._counting_since, self._cpu_before = time.monotonic(), time.process_time()

    def _finish(self, expected: int, ids: list[str] | None) -> dict[str, Any]:
        """Receive until everything has arrived, or nothing has for some seconds."""
        shares = [len(client.pairs) if client.pairs else _PAIRS for client in self._clients]
        whole = sum(expected * share // _PAIRS for share in shares)
        self._last_arrival = asked = time.monotonic()
        while self._delivered < whole and time.monotonic() - self._last_arrival < _NO_MORE_AFTER:
            before = self._delivered
            for key, _ in self._selector.select(0.1):
                if key.data is not None:
                    self._take(key.data)
            if self._delivered > before:
                self._last_arrival = time.monotonic()
        got = sorted(client.got for client in self._clients)
        wanted = [name.encode() for name in ids or ()]
        took = max(self._last_arrival - self._counting_since, 1e-9)
        latencies = sorted(self._latencies)
        return {
            "delivered": self._delivered,
            "expected": whole,
            "bytes": self._bytes,
            "exact": sum(client.ids == wanted for client in self._clients) if ids is not None else None,
            "least": got[0],
            "most": got[-1],
            "lost": self._lost,
            "last_arrival": self._last_arrival,
            "waited": self._last_arrival - asked,
            "p50": _quantile(latencies, 0.50),
            "p99": _quantile(latencies, 0.99),
            "longest": latencies[-1] if latencies else None,
            "cpu_share": (time.process_time() - self._cpu_before) / took,
        }


def _unpacked(client: Client, piece: bytes) -> bytes:
    """Return what the complete chunks in a piece of a compressed body hold, and keep the rest for the next call."""
    packed, place, text = client.packed + piece, 0, []
    while (line := packed.find(b"\r\n", place)) >= 0:
        begin = line + 2
        end = begin + int(packed[place:line], 16)
        if len(packed) < end + 2:
            break
        text.append(client.inflate(bytes(packed[begin:end])))
        place = end + 2
    client.packed = packed[place:]
    return b"".join(text)


def _newest_stamp(buffer: bytearray, end: int) -> float | None:
    """Return when the last whole event was published, in seconds since 1970."""
    place = buffer.rfind(_STAMP, 0, end - _STAMP_LENGTH)
    if place < 0:
        return None
    begin = place + len(_STAMP)
    return datetime.fromisoformat(buffer[begin : begin + _STAMP_LENGTH].decode()).timestamp()


def _newest_row(buffer: bytearray, end: int) -> float | None:
    """The same of the last whole price in the compact form, to a millisecond."""
    found = _MILLISECONDS.findall(buffer, max(0, end - 2 * _ROW_LENGTH), end)
    return int(found[-1]) / 1000 if found else None


def _ended_by_server(client: Client) -> bool:
    """Whether the server has closed the connection; discards what is still unread."""
    try:
        while client.connection.recv(_ROOM):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _quantile(ordered: list[float], part: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else None


if __name__ == "__main__":
    Crowd(DIALECTS[sys.argv[1]], sys.argv[2]).obey()
