"""The seam to uvicorn: every name of uvicorn that is not part of its documented interface is used here and nowhere else.

uvicorn keeps the configuration, the life cycle and HTTP/1.1. What it lacks is added here: a wire in the scope, responses that
outlive their ASGI call, limits on the head of a request and on the time it takes, and a stop by cancellation. They are listed in
docs/architecture.md, and tests/test_private_names.py fails when one of them changes.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, cast

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.realtime.wire.stream import DetachedStream
from app.realtime.wire.websocket import Application, WebSocketConnection
from app.realtime.wire.wire import SCOPE_KEY, Wire, wire_of

REQUEST_WITHIN = 15.0
"""Seconds in which a request, its body included, must have arrived."""

LARGEST_READ = 65_536
"""Bytes read of a connection before others have their turn; asyncio would read four times as many."""

LARGEST_HEAD = 32_768
"""Bytes of a request's target and headers together."""

_HEAD_TOO_LARGE = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 23\r\nconnection: close\r\n\r\nRequest head too large."
)


class LettingGo:
    """Middleware that frees what the server keeps for a request once the call for it has returned with the wire detached."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)
        wire = wire_of(scope)
        if wire is not None and wire.detached:
            wire.let_go()


class _Cycle(Protocol):
    """One request and its response, as uvicorn keeps it."""

    response_complete: bool


class WireHttpProtocol(HttpToolsProtocol):
    """An HTTP connection whose response body may be written past ASGI, and whose requests have limits.

    The ``on_`` methods are the callbacks of httptools' parser.
    """

    wire: Wire
    _connections: set[Any]
    _due: float | None = None
    _timer: asyncio.TimerHandle | None = None
    _in_head = False
    _heads = 0
    _head_bytes = 0
    _unparsed_bytes = 0
    _ahead: deque[_Cycle] | None = None

    def __init__(
        self, config: uvicorn.Config, server_state: Any, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        # uvicorn copies this state into the scope of each request of the connection, and hands it to a websocket protocol.
        self._scope_state = {**app_state}
        self._connections = server_state.connections
        self._clock = _loop or asyncio.get_running_loop()
        super().__init__(config, server_state, self._scope_state, _loop)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.wire = self._scope_state[SCOPE_KEY] = Wire(transport, self._let_go)
        super().connection_made(transport)
        with suppress(AttributeError):  # another event loop's transport may not have it
            cast(Any, transport).max_size = LARGEST_READ
        with suppress(OSError):
            # asyncio sets it only on sockets that name TCP as their protocol; those of ``socket.create_server`` do not. Without
            # it an event waits up to 40 ms for the client to acknowledge the one before.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._set_deadline()

    @property
    def is_between_requests(self) -> bool:
        """True while no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        if self.is_between_requests:
            self._set_deadline()  # also for the blank lines that may stand before a request
        in_head, heads = self._in_head, self._heads
        super().data_received(data)
        transport = self.wire.transport
        if transport.get_protocol() is not self:  # a websocket has taken over
            self._end_deadline()
            self._lose(ConnectionAbortedError("upgraded"))  # ends the cycle of references between uvicorn and its parser
            self._scope_state.clear()
        elif in_head and self._in_head and self._heads == heads and not transport.is_closing():
            # All of the data belongs to one head that has not ended, and the parser reports a header only once it has.
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > LARGEST_HEAD:
                transport.write(_HEAD_TOO_LARGE)
                transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = self._unparsed_bytes = 0
        self._heads += 1
        self._in_head = True
        self._set_deadline()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count_head(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        before = self.cycle
        super().on_headers_complete()
        if before is not None and before is not self.cycle and not before.response_complete:
            if self._ahead is None:
                self._ahead = deque()
            self._ahead.append(before)  # a pipelined request: uvicorn knows only the newest one

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._due = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self.wire.full()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.wire.room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_deadline()
        self.wire.gone()
        self._lose(exc)
        self._scope_state.clear()  # it refers to this protocol, as this protocol to it

    def _lose(self, exc: Exception | None) -> None:
        """Let uvicorn forget the connection, and tell the request that is being answered that its client is gone.

        uvicorn tells the newest request. With pipelining that may be one that still waits, and the other would wait for ever.
        """
        ahead = self._ahead
        while ahead:
            cycle = ahead.popleft()
            if not cycle.response_complete:
                self.cycle = cast(Any, cycle)
                break
        super().connection_lost(exc)

    def _let_go(self) -> None:
        """Go on with a smaller protocol: the request is most of what a connection takes, and it is not needed any more.

        For uvicorn the connection is lost: it drops the request and does not miss the end of the response. The exception says
        that the transport is not to be closed.
        """
        self._end_deadline()
        self._lose(ConnectionAbortedError("detached"))
        transport = self.wire.transport
        if transport.is_closing():
            return  # asyncio calls connection_lost in a moment
        detached = DetachedStream(self.wire, self._connections)
        self._connections.add(detached)
        transport.set_protocol(detached)
        transport.resume_reading()  # a client that leaves is noticed by reading
        self._scope_state.clear()

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > LARGEST_HEAD:
            raise ValueError("request head too large")  # the parser stops, and uvicorn answers 400 and closes

    def _set_deadline(self) -> None:
        if self._due is None:
            self._due = self._clock.time() + REQUEST_WITHIN
            # A timer left by an answered request is reused: requests are many, and few are ever late.
            if self._timer is None:
                self._timer = self._clock.call_at(self._due, self._pass_deadline)

    def _pass_deadline(self) -> None:
        self._timer = None
        if self._due is not None:
            if self._clock.time() >= self._due:
                self.wire.transport.abort()
            else:
                self._timer = self._clock.call_at(self._due, self._pass_deadline)

    def _end_deadline(self) -> None:
        self._due = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


HttpFactory = Callable[..., WireHttpProtocol]
"""Makes the protocol of an HTTP connection from the keyword arguments that uvicorn passes."""


def served(app: Application, trusted_proxies: Sequence[str]) -> Application:
    """Return the application as both protocols call it; client addresses are taken from the headers of trusted proxies."""
    letting_go = LettingGo(app)
    return (
        cast(Application, ProxyHeadersMiddleware(cast(Any, letting_go), list(trusted_proxies))) if trusted_proxies else letting_go
    )


def websocket_factory(app: Application, *, max_size: int) -> Callable[..., WebSocketConnection]:
    """Return what uvicorn calls for the protocol of a websocket; messages may have up to ``max_size`` bytes."""

    def connection(config: uvicorn.Config, server_state: Any, app_state: dict[str, Any]) -> WebSocketConnection:
        return WebSocketConnection(app, server_state.connections, dict(app_state), root_path=config.root_path, max_size=max_size)

    return connection


class LifeCycle(uvicorn.Server):
    """uvicorn's life cycle for a server that does not own its process: it leaves signals alone and stops when cancelled."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stop = asyncio.Event()

    async def serving(self) -> None:
        """Do what belongs beside answering requests, until cancelled. A failure ends the server."""

    def stopping(self) -> None:
        """Prepare for the stop. Called once, before connections are asked to shut down."""

    async def run_on(self, listener: socket.socket) -> None:
        """Serve until cancelled. Connections are shut down before the cancellation is passed on."""
        # Not ``serve``: it would take over the signals of the process.
        running = asyncio.create_task(self._serve([listener]), name="uvicorn")
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            self._stop.set()
            await running
            raise

    async def main_loop(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(super().main_loop()), tasks.create_task(self.serving())]
            await self._stop.wait()
            for task in beside:
                task.cancel()
        self.stopping()

    async def adopt(self, http: HttpFactory, connection: socket.socket, read: bytes) -> None:
        """Serve a connection that another process has accepted and read ``read`` from. Raises OSError if it is broken."""
        protocol = partial(http, config=self.config, server_state=self.server_state, app_state={}, read=read)
        await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)
