"""Plain websockets: each event is one JSON message ``{"type","id","data"}``, for clients without a Socket.IO library.

The client may send the events of Socket.IO clients as ``{"type","data"}``, and is answered in the same form. WebSocket frames
and close codes: RFC 6455, sections 5.5.2 and 7.4.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

import orjson

from app.market.clock import rfc3339, utc_now
from app.realtime.contract.answers import StreamClosing
from app.realtime.hub.delivery import Direct, Fetching
from app.realtime.hub.frames import PLAIN_FRAMES, PLAIN_MESSAGES
from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import CutReason, Transport
from app.realtime.hub.subscription import Subscription
from app.realtime.log.cache import Cache
from app.realtime.monitoring.view import PriceView
from app.realtime.transports.connection import Connection
from app.realtime.transports.engine.packet import LARGEST_MESSAGE
from app.realtime.transports.engine.request import Request
from app.realtime.transports.limit import RequestLimit
from app.realtime.transports.opening import Opening, open_stream
from app.realtime.transports.receiving import Receiver
from app.realtime.transports.tasks import Tasks
from app.realtime.wire.wire import Wire, wire_of

_PING = b"\x89\x00"
_SERVICE_RESTART, _TOO_BIG = 1012, 1009
_LONGEST_TYPE = 100


class PlainSockets:
    """The plain websockets of this process, and what their clients have in common."""

    def __init__(
        self,
        hub: Hub,
        prices: PriceView,
        cache: Cache,
        *,
        allows_origin: Callable[[Mapping[str, Any]], bool],
        new_limit: Callable[[], RequestLimit],
        ping_interval: float,
    ) -> None:
        """``allows_origin`` judges the web page that a request comes from, given its scope; without one it allows.

        ``new_limit`` gives each client a limit of its own; ``ping_interval`` is in seconds.
        """
        self.hub = hub
        self.ping_interval = ping_interval
        self._prices = prices
        self._cache = cache
        self._allows_origin = allows_origin
        self._new_limit = new_limit
        self._tasks = Tasks()

    def allows(self, request: Request) -> bool:
        """Return whether the page that opens the websocket may, true for a client that is no browser."""
        return self._allows_origin(request.scope)

    async def serve(self, request: Request, opening: Opening) -> None:
        """Serve a client. Where the server offers a wire this returns at once, and the hub writes to the connection.

        Raises TooManyClients or NotReady before the websocket is open, OSError if the client leaves meanwhile.
        """
        wire = wire_of(request.scope)
        socket = _AsgiSocket(self, request) if wire is None else _WireSocket(self, wire)
        self.hub.connect(socket.client)
        await socket.open(request, opening)

    def connection(self, client: Subscription) -> Connection:
        """Return what answers the messages of a client."""
        return Connection(client, self.hub, self._prices, self._cache, self._new_limit())

    def spawn(self, work: Awaitable[None]) -> None:
        """Run something that the caller cannot wait for. A failure is logged."""
        self._tasks.spawn(work)

    async def shutdown(self) -> None:
        """Wait until no message is being answered."""
        await self._tasks.finished()


class _WireSocket(Receiver):
    """A client that is written to past ASGI."""

    __slots__ = ("_connection", "_heard_at", "_is_open", "_sockets", "_timer", "client")

    def __init__(self, sockets: PlainSockets, wire: Wire) -> None:
        super().__init__(wire)
        self._sockets = sockets
        self._is_open = False
        self._heard_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.client = Subscription(
            secrets.token_hex(8), Transport.PLAIN, PLAIN_FRAMES, sockets.hub.bounds, Direct(wire.transport, wire),
            cut=self._cut, finish=self._finish,
        )  # fmt: skip
        self._connection = sockets.connection(self.client)

    async def open(self, request: Request, opening: Opening) -> None:
        """Open the websocket and the stream. The connection outlives this call."""
        hub, client = self._sockets.hub, self.client
        self.wire.detach()
        try:
            hub.pause(client)  # nothing may be written before the head of the answer
            await request.accept()
            if not client.closed:
                client.discard()  # the stream has not begun: ``stream_opened`` comes first
                hub.resume(client)
                self.wire.open(hub.bounds.send_buffer_bytes, self)
            if not client.closed:
                self._is_open = True
                open_stream(hub, client, opening)
                self._heard_at = monotonic()
                self._ping_later()
        except BaseException:
            hub.disconnect(client)
            raise

    def _ping_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._sockets.ping_interval, self._ping)

    def _ping(self) -> None:
        """Send a ping frame: proxies see traffic, and a client that runs answers.

        How long a line may be silent is for the kernel to judge. This is about a process that hangs while its kernel lives.
        """
        hub = self._sockets.hub
        if monotonic() - self._heard_at > self._sockets.ping_interval + hub.bounds.lagging_timeout:
            hub.cut(self.client, CutReason.PING_TIMEOUT)
            return
        if not self.wire.transport.is_closing():
            self.wire.transport.write(_PING)
        self._ping_later()

    # ------------------------------------------------------------ the wire

    def wire_full(self) -> None:
        self._sockets.hub.pause(self.client)

    def wire_has_room(self) -> None:
        self._sockets.hub.resume(self.client)

    def wire_gone(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.wire.has_vanished:
            self._sockets.hub.cut(self.client, CutReason.VANISHED)
        self._sockets.hub.disconnect(self.client)

    def wire_answered(self) -> None:
        self._heard_at = monotonic()

    def wire_received(self, message: str | bytes) -> None:
        self._heard_at = monotonic()
        super().wire_received(message)

    # ------------------------------------------------------------ messages

    @property
    def has_ended(self) -> bool:
        return self.client.closed

    async def receive(self, message: str | bytes) -> None:
        await _receive(self._connection, message)

    def spawn(self, work: Awaitable[None]) -> None:
        self._sockets.spawn(work)

    # ------------------------------------------------------------ the end

    def _cut(self, reason: str) -> None:
        self.wire.abort()

    def _finish(self) -> None:
        if self._is_open:  # the server closes the websocket next, with the code that makes clients reconnect
            _send_farewell(self.client)


class _AsgiSocket:
    """A client of a server without a wire: one task reads and one writes. The server sends the pings."""

    def __init__(self, sockets: PlainSockets, request: Request) -> None:
        self._hub = sockets.hub
        self._request = request
        self._something_waits = asyncio.Event()
        self._close_code: int | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self.client = Subscription(
            secrets.token_hex(8), Transport.PLAIN, PLAIN_MESSAGES, sockets.hub.bounds, Fetching(self._something_waits.set),
            cut=lambda _: self._end(), finish=self._finish,
        )  # fmt: skip
        self._connection = sockets.connection(self.client)

    async def open(self, request: Request, opening: Opening) -> None:
        """Open the websocket and the stream, and serve it to its end."""
        try:
            await request.accept()
            if not self.client.closed:
                self.client.discard()
                open_stream(self._hub, self.client, opening)
                await self._serve()
        finally:
            self._hub.disconnect(self.client)
        if self._close_code is not None:
            with suppress(OSError, RuntimeError):  # the client has closed it
                await request.send({"type": "websocket.close", "code": self._close_code})

    async def _serve(self) -> None:
        self._tasks = tuple(asyncio.create_task(work) for work in (self._read(), self._write()))
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._end()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self) -> None:
        while not self.client.closed:
            message = await self._request.read()
            if len(message) > LARGEST_MESSAGE:
                self._close_code = _TOO_BIG
                return
            await _receive(self._connection, message)
            await asyncio.sleep(0)  # a client that sends a lot at once does not keep the others waiting

    async def _write(self) -> None:
        while not self.client.closed:
            self._something_waits.clear()
            while frames := self._hub.fetch(self.client):
                for frame in frames:
                    await self._request.write(frame.decode())
            if self._close_code is not None:
                return
            await self._something_waits.wait()

    def _end(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _finish(self) -> None:
        self._close_code = _SERVICE_RESTART
        _send_farewell(self.client)


async def _receive(connection: Connection, message: str | bytes) -> None:
    """Answer one message of a client."""
    try:
        body = orjson.loads(message)
    except ValueError:
        body = None
    type = body.get("type") if isinstance(body, dict) else None
    if not isinstance(type, str) or len(type) > _LONGEST_TYPE:
        connection.refuse("Invalid message: a JSON object with 'type' and 'data' is needed")
        return
    await connection.receive(type, (body.get("data"),))
    connection.follow_up()


def _send_farewell(client: Subscription) -> None:
    """Tell a client that the gateway stops, and when to come back: at random, so that not all clients come at once."""
    closing = StreamClosing(
        message="The gateway is stopping", retry_ms=500 + secrets.randbelow(4500), timestamp=rfc3339(utc_now())
    )
    client.send_message("stream_closing", orjson.dumps(closing.model_dump()))
