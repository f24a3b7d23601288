"""Server-Sent Events: the same events to ``curl -N`` and to a browser's EventSource."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.errors import GatewayError
from app.realtime.hub.delivery import Direct, Fetching
from app.realtime.hub.frames import (
    CHUNKED_EVENT_STREAM,
    CHUNKED_GZIP_EVENT_STREAM,
    EVENT_STREAM,
    GZIP_EVENT_STREAM,
    Framing,
)
from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import CutReason, Transport
from app.realtime.hub.subscription import Subscription
from app.realtime.transports.opening import Opening, open_stream
from app.realtime.wire.exchange import HEAD_KEY
from app.realtime.wire.wire import Wire, WireUser, wire_of

RETRY_MS = 2000
"""Milliseconds that a client waits before it reconnects, until the gateway sends another ``retry:``."""

_LAST_CHUNK = b"0\r\n\r\n"

_MOST_FRAMES, _MOST_UNSENT, _LOOK_EVERY = 32, 2048, 0.02
"""Of a client that the hub does not write to, though there is a wire: the frames that are fetched at once, the bytes that may be
unsent before more are, and the seconds between looks."""

_STALLED_AFTER = 60.0
"""Seconds that one write may take where there is no wire."""


class EventStreamResponse(EventSourceResponse):
    """A stream of events for one client.

    Where the server offers a wire, the hub writes to the connection and the ASGI call returns: no task, queue or generator is
    kept for the client. Elsewhere the client is a fetching one, and sse-starlette sends what is fetched from its outbox.
    """

    def __init__(
        self,
        hub: Hub,
        opening: Opening,
        *,
        gzip: bool,
        refuse: Callable[[GatewayError], Response],
    ) -> None:
        """``gzip`` compresses the stream.

        ``refuse`` makes the answer to a client that the hub does not serve, which shows only when the stream begins.
        """
        encoding = {"Content-Encoding": "gzip"} if gzip else {}
        super().__init__(
            self._fetched(),
            headers={
                "Cache-Control": "no-store, no-transform",
                "Vary": "Accept-Encoding",
                "X-Accel-Buffering": "no",
                **encoding,
            },
            media_type="text/event-stream; charset=utf-8",
            ping=0,
            send_timeout=_STALLED_AFTER,
        )
        self._hub = hub
        self._opening = opening
        self._gzip = gzip
        self._refuse = refuse
        self._something_waits = asyncio.Event()
        self._client: Subscription | None = None
        self._wire: Wire | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get(HEAD_KEY):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
            return
        wire = wire_of(scope)
        if wire is not None and scope["http_version"] == "1.1":
            while (message := await receive()).get("more_body"):
                pass
            if message["type"] == "http.disconnect":
                return
            stream = _DirectStream(self._hub, wire, CHUNKED_GZIP_EVENT_STREAM if self._gzip else CHUNKED_EVENT_STREAM)
            if await self._connect(stream.client, scope, receive, send):
                await self._send_directly(stream, send)
            return
        self._wire = wire
        client = self._fetching(wire)
        if await self._connect(client, scope, receive, send):
            try:
                self._open(client)
                await super().__call__(scope, receive, send)
            except SendTimeoutError:
                self._hub.cut(client, CutReason.NOT_READING)
            finally:
                self._hub.disconnect(client)

    async def _connect(self, client: Subscription, scope: Scope, receive: Receive, send: Send) -> bool:
        try:
            self._hub.connect(client)
        except GatewayError as error:
            await self._refuse(error)(scope, receive, send)
            return False
        return True

    async def _send_directly(self, stream: "_DirectStream", send: Send) -> None:
        """Send the head and open the stream. The connection outlives this call: the hub writes to it from now on."""
        client = stream.client
        stream.wire.detach()
        try:
            # Nothing may be written before the head. Sending that can take a while: where the client has not read an
            # earlier response on this connection, uvicorn waits until it has.
            self._hub.pause(client)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if not client.closed:
                stream.wire.transport.write(client.framing.opening)
                client.discard()  # the stream has not begun: ``stream_opened`` comes first
                self._hub.resume(client)
                stream.wire.open(self._hub.bounds.send_buffer_bytes, stream)
            if not client.closed:
                stream.opened = True
                self._open(client)
        except BaseException:
            self._hub.disconnect(client)
            raise

    def _open(self, client: Subscription) -> None:
        self._client = client
        open_stream(self._hub, client, self._opening, before=b"retry: %d\n" % RETRY_MS)

    def _fetching(self, wire: Wire | None) -> Subscription:
        return Subscription(
            secrets.token_hex(8), Transport.SSE, GZIP_EVENT_STREAM if self._gzip else EVENT_STREAM, self._hub.bounds,
            Fetching(self._something_waits.set), cut=lambda _: self._end() if wire is None else wire.abort(), finish=self._end,
        )  # fmt: skip

    def _end(self) -> None:
        self._something_waits.set()
        if self._client is not None:
            self._hub.disconnect(self._client)

    async def _fetched(self) -> AsyncIterator[bytes]:
        client = self._client
        assert client is not None
        opening = client.framing.opening
        while not client.closed:
            self._something_waits.clear()
            frames = self._hub.fetch(client, None if self._wire is None else _MOST_FRAMES)
            if frames:
                yield opening + client.framing.join(frames)
                opening = b""
                await self._taken()
            else:
                await self._something_waits.wait()
        yield opening + client.framing.join([_advice()])

    async def _taken(self) -> None:
        """Wait until the client has taken most of what was sent to it, where the server offers a wire to tell by.

        Otherwise the buffers in front of a slow client would take everything at once, and nothing could be conflated.
        """
        client, wire = self._client, self._wire
        if client is None or wire is None or client.fetching is None:
            return
        client.fetching.sent(lambda: wire.line.unsent())
        while not client.closed and wire.line.unsent() > _MOST_UNSENT:  # noqa: ASYNC110 - the kernel does not signal it
            await asyncio.sleep(_LOOK_EVERY)


class _DirectStream(WireUser):
    """A direct client and its wire, which is all that is kept for the client."""

    __slots__ = ("_hub", "client", "opened", "wire")

    def __init__(self, hub: Hub, wire: Wire, framing: Framing) -> None:
        self._hub = hub
        self.wire = wire
        self.opened = False
        self.client = Subscription(
            secrets.token_hex(8), Transport.SSE, framing, hub.bounds, Direct(wire.transport, wire),
            cut=self._cut, finish=self._finish,
        )  # fmt: skip

    def wire_full(self) -> None:
        self._hub.pause(self.client)

    def wire_has_room(self) -> None:
        self._hub.resume(self.client)

    def wire_gone(self) -> None:
        if self.wire.has_vanished:
            self._hub.cut(self.client, CutReason.VANISHED)
        self._hub.disconnect(self.client)

    def _cut(self, reason: str) -> None:
        self.wire.abort()

    def _finish(self) -> None:
        self.wire.finish(self.client.framing.join([_advice()]) + _LAST_CHUNK if self.opened else b"")


def _advice() -> bytes:
    """Return a ``retry:`` for the end of a stream, random, so that after a stop not all clients reconnect at once."""
    return b"retry: %d\n\n" % (500 + secrets.randbelow(4500))
