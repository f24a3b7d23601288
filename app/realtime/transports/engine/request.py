"""A request to the Engine.IO server, over HTTP or as the handshake of a websocket."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import orjson

from app.realtime.wire.exchange import HEAD_KEY

_PACKETS = b"text/plain; charset=UTF-8"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Disconnected(OSError):
    """The client left before its request had arrived, or before its websocket had opened."""


class TooLarge(Exception):
    """The body of a request is larger than allowed."""


class Request:
    """An ASGI call: its query, and ways to read and to answer it."""

    __slots__ = ("_query", "receive", "scope", "send")

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self._query = parse_qs(scope["query_string"].decode("latin-1"))

    @property
    def is_websocket(self) -> bool:
        """True for the handshake of a websocket."""
        return bool(self.scope["type"] == "websocket")

    @property
    def method(self) -> str:
        """The HTTP method; a websocket's handshake is a GET."""
        if self.is_websocket:
            return "GET"
        return "HEAD" if self.scope.get(HEAD_KEY) else str(self.scope["method"])

    def parameter(self, name: str) -> str | None:
        """Return the first value of a query parameter, None if there is none."""
        values = self._query.get(name)
        return values[0] if values else None

    def header(self, name: bytes) -> str | None:
        """Return the value of a header, several values separated by commas, None if there is none."""
        values = [value.decode("latin-1") for key, value in self.scope["headers"] if key.lower() == name]
        return ",".join(values) if values else None

    async def body(self, limit: int) -> bytes:
        """Return the body, whether its length was announced or not. Raises TooLarge, Disconnected."""
        announced = self.header(b"content-length")
        if announced is not None and announced.isdecimal() and int(announced) > limit:
            raise TooLarge
        pieces: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await self.receive()
            if message["type"] != "http.request":
                raise Disconnected
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > limit:
                raise TooLarge
            more = message.get("more_body", False)
        return b"".join(pieces)

    async def answer(self, body: bytes) -> None:
        """Answer with packets."""
        await self._respond(200, body, _PACKETS)

    async def answer_head(self) -> None:
        """Answer a HEAD as packets would be, whose length is not known."""
        await self.send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", _PACKETS)]})
        await self.send({"type": "http.response.body"})

    async def refuse(self, reason: str, status: int = 400) -> None:
        """Answer a status with the reason, or refuse to open the websocket."""
        if self.is_websocket:
            await self.send({"type": "websocket.close"})
        else:
            # Plain text: a browser must not render what a client has put into a reason.
            await self._respond(status, orjson.dumps(reason), b"text/plain")

    async def _respond(self, status: int, body: bytes, kind: bytes) -> None:
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def accept(self) -> None:
        """Open the websocket."""
        await self.send({"type": "websocket.accept"})

    async def close(self) -> None:
        """Close the websocket."""
        await self.send({"type": "websocket.close", "code": 1000})

    async def read(self) -> str | bytes:
        """Return the next message of the websocket. Raises Disconnected."""
        message = await self.receive()
        if message["type"] != "websocket.receive":
            raise Disconnected
        text = message.get("text")
        return text if text is not None else message.get("bytes") or b""

    async def write(self, message: str | bytes) -> None:
        """Send a message over the websocket."""
        await self.send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})
