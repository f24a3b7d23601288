"""An HTTP/1.1 connection: its requests one after the other, its time limits, and its end.

A response body may be written past ASGI, through the wire, and outlive its ASGI call.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

from app.quiet_log import by_client
from app.realtime.wire.address import address_of
from app.realtime.wire.exchange import Exchange, plain_response
from app.realtime.wire.requests import Head, Refused, RequestParser
from app.realtime.wire.stream import DetachedStream
from app.realtime.wire.websocket import Application, WebSocketConnection
from app.realtime.wire.wire import SCOPE_KEY, Wire

REQUEST_WITHIN = 15.0
"""Seconds in which a request, its body included, must have arrived."""

LINGERS = 2.0
"""Seconds for which a connection that is at its end is read, so that the client gets the last answer and no reset."""

LARGEST_READ = 65_536
"""Bytes read of a connection before others have their turn; asyncio would read four times as many."""

_logger = logging.getLogger(__name__)


class ServerState(Protocol):
    """What the connections of a server share: which are open, the tasks that run, and the number of answered requests."""

    connections: set[Any]
    tasks: set[Any]
    total_requests: int


@dataclass(frozen=True, slots=True)
class Service:
    """What a connection serves."""

    app: Application
    keep_alive: float
    """Seconds for which a connection is kept open without a request."""
    largest_message: int
    """Bytes of the largest websocket message."""
    root_path: str = ""


class HttpConnection(asyncio.Protocol):
    """An HTTP connection."""

    wire: Wire

    def __init__(self, service: Service, *, server_state: ServerState, app_state: MutableMapping[str, Any], **_: object) -> None:
        """``app_state`` is copied into the scope of each request and websocket. Other options of the server are ignored."""
        self._service = service
        self._server = server_state
        self._state = {**app_state}
        self._loop = asyncio.get_running_loop()
        self._parser: RequestParser | None = RequestParser(self)
        self._exchange: Exchange | None = None  # the one that is answered
        self._arriving: Exchange | None = None  # the one whose body arrives
        self._ahead: deque[Exchange] | None = None  # pipelined requests that wait for their turn
        self._writable: asyncio.Event | None = None  # while the connection is full
        self._reading_paused = False
        self._is_idle = False
        self._is_at_end = False  # nothing that arrives matters any more
        self._refusal = b""
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.wire = self._state[SCOPE_KEY] = Wire(transport, self._let_go)
        self._server.connections.add(self)
        with suppress(AttributeError):  # another event loop's transport may not have it
            cast(Any, transport).max_size = LARGEST_READ
        with suppress(OSError):
            # asyncio sets it only on sockets that name TCP as their protocol; those of ``socket.create_server`` do not. Without
            # it an event waits up to 40 ms for the client to acknowledge the one before.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._set_deadline(REQUEST_WITHIN)

    @property
    def _has_begun(self) -> bool:
        return self._parser is not None and self._parser.has_begun

    @property
    def is_between_requests(self) -> bool:
        """True while no request is being answered."""
        return self._exchange is None

    @property
    def is_full(self) -> bool:
        """True while the client does not read what was written."""
        return self._writable is not None

    def data_received(self, data: bytes) -> None:
        if self._is_at_end:
            return
        if self._is_idle:  # also with the blank lines that may stand before a request
            self._is_idle = False
            self._set_deadline(REQUEST_WITHIN)
        assert self._parser is not None
        try:
            head = self._parser.feed(data)
        except Refused as reason:
            self._refuse(reason)
        else:
            if head is not None:
                self._go_on_as_websocket(head)

    def eof_received(self) -> bool:
        """Keep the connection for the answer to a request that has arrived, but not for what may last until the client leaves."""
        exchange = self._exchange
        if exchange is None or exchange.more_body or exchange.is_stream or self._ahead or self.wire.is_used:
            return False
        exchange.keep_alive = False
        self._is_at_end = True
        return True

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()
        self.wire.full()

    def resume_writing(self) -> None:
        self._has_room()
        self.wire.room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_deadline()
        self.wire.lost(exc)
        self.wire.release()
        self._lose()

    def shutdown(self) -> None:
        """Close the connection because the server stops, once the request that is being answered has its answer."""
        if self._exchange is None:
            self.wire.transport.close()
        else:
            self._exchange.keep_alive = False

    def _lose(self) -> None:
        """Forget the connection, and end the cycles of references that it makes."""
        self._server.connections.discard(self)
        for exchange in (self._exchange, self._arriving):
            if exchange is not None:
                exchange.lose()
        self._exchange = self._arriving = self._ahead = None
        if self._parser is not None:
            self._parser.close()
            self._parser = None
        self._is_at_end = True
        self._has_room()
        self._state.clear()  # it refers to this protocol, as this protocol to it

    def _has_room(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None:
            writable.set()

    def _let_go(self) -> None:
        """Go on with a smaller protocol: the request is most of what a connection takes, and it is not needed any more."""
        self._end_deadline()
        self._lose()
        transport = self.wire.transport
        if transport.is_closing():
            return  # asyncio calls connection_lost in a moment
        detached = DetachedStream(self.wire, self._server.connections)
        self._server.connections.add(detached)
        transport.set_protocol(detached)
        transport.resume_reading()  # a client that leaves is noticed by reading

    # ------------------------------------------------------------ for exchanges

    @property
    def transport(self) -> asyncio.Transport:
        """The connection's transport."""
        return self.wire.transport

    async def writable(self) -> None:
        """Wait while the client does not read."""
        while self._writable is not None:
            await self._writable.wait()

    def read_on(self) -> None:
        """Read what the client sends, unless requests wait."""
        if self._reading_paused and not self._ahead:
            self._reading_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
                if self._due is not None and not self._is_at_end:
                    self._set_deadline(REQUEST_WITHIN)  # the client could not send meanwhile

    def answered(self, exchange: Exchange) -> None:
        """Go on with the next request, or wait for one, or close."""
        self._server.total_requests += 1
        if exchange is not self._exchange or self.transport.is_closing():
            return
        self._exchange = None
        if not exchange.keep_alive:
            if exchange.more_body:
                self._end_with(b"")
            else:
                self.transport.close()
        elif self._ahead:
            self._begin(self._ahead.popleft())
            self.read_on()
        elif self._refusal:
            self._end_with(self._refusal)
        else:
            self.read_on()
            if not exchange.more_body:
                self._wait_for_request()

    def _begin(self, exchange: Exchange) -> None:
        self._exchange = exchange
        task = self._loop.create_task(exchange.run(self._service.app))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()

    # ------------------------------------------------------------ requests

    def request_begins(self) -> None:
        """Note that a request has begun."""
        if self._due is None:
            self._set_deadline(REQUEST_WITHIN)

    def head_arrived(self, head: Head) -> None:
        """Begin to answer, or let the request wait for its turn. Raises Refused."""
        scope = head.scope(self.transport, self._service.root_path, self._state)
        exchange = Exchange(self, scope, keep_alive=head.keeps_alive, expects_continue=head.expects_continue)
        self._arriving = exchange
        if self._exchange is None:
            self._begin(exchange)
        else:
            if self._ahead is None:
                self._ahead = deque()
            self._ahead.append(exchange)
            self._pause_reading()

    def body_arrived(self, piece: bytes) -> None:
        """Pass a piece of the body on. Nothing more is read while the application has much of it to take."""
        if self._arriving is not None and not self._arriving.add(piece):
            self._pause_reading()

    def request_arrived(self) -> None:
        """Note that the request has arrived, with its body."""
        exchange, self._arriving = self._arriving, None
        if exchange is None:
            return
        self._due = None
        exchange.end_body()
        if exchange.is_complete and self._exchange is None:  # answered before its body had arrived
            self._wait_for_request()

    def _go_on_as_websocket(self, head: Head) -> None:
        state = dict(self._state)
        self._end_deadline()
        self.wire.release()
        self._lose()
        service = self._service
        websocket = WebSocketConnection(
            service.app, self._server.connections, state, root_path=service.root_path, max_size=service.largest_message
        )
        websocket.connection_made(self.transport)
        websocket.data_received(head.encoded())
        self.transport.set_protocol(websocket)

    # ------------------------------------------------------------ the end

    def _refuse(self, reason: Refused) -> None:
        """Answer a request that cannot be read, after those before it, and close."""
        address = address_of(self.transport, "peername")
        # One kind for each text: the parser's are few.
        kind = f"{reason.status} {reason}"
        _logger.warning("a request is refused: %s", kind, extra=by_client(address[0] if address else None, kind))
        self._is_at_end = True
        response = plain_response(reason.status, f"{reason}.".encode("ascii", "replace"))
        exchange, broken = self._exchange, self._arriving
        self._arriving = None
        if broken is not None and broken.is_complete:
            self._end_with(b"")  # it has its answer
        elif exchange is None:
            self._end_with(response)
        elif exchange is not broken:
            if broken is not None and self._ahead:
                self._ahead.remove(broken)
            self._refusal = response
        elif exchange.started:
            self.wire.abort()
        else:
            exchange.lose()
            self._exchange = None
            self._end_with(response)

    def _end_with(self, response: bytes) -> None:
        """Write the last response, and close once the client has: RFC 9112, section 9.6."""
        self._is_at_end = True
        transport = self.transport
        if transport.is_closing():
            return
        transport.write(response)
        if transport.can_write_eof():
            try:
                transport.write_eof()
            except OSError:  # the client has reset the connection
                transport.abort()
                return
        self._ahead = None
        self.read_on()
        self._set_deadline(LINGERS)

    def _wait_for_request(self) -> None:
        self._is_idle = True
        self._set_deadline(self._service.keep_alive)

    def _set_deadline(self, within: float) -> None:
        due = self._due = self._loop.time() + within
        # A timer left by an answered request is reused: requests are many, and few are ever late.
        if self._timer is not None and self._timer.when() > due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._pass_deadline)

    def _pass_deadline(self) -> None:
        self._timer = None
        if self._due is None:
            return
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._pass_deadline)
        elif self._reading_paused and not self._is_at_end:
            self._set_deadline(REQUEST_WITHIN)
        elif (self._is_idle or not self._has_begun) and not self.transport.get_write_buffer_size():
            self.transport.close()
        elif self._is_at_end or self._is_idle or (self._arriving is not None and self._arriving.is_complete):
            self.wire.abort()
        else:
            self._refuse(Refused(408, "Request Timeout"))

    def _end_deadline(self) -> None:
        self._due = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class MakesConnection(Protocol):
    """uvicorn's ``Config.http_protocol_class``: makes the protocol of a connection from the options of the server."""

    def __call__(self, **options: Any) -> HttpConnection: ...
