"""uvicorn's HTTP and WebSocket protocols with a wire in the scope, and with limits where uvicorn has none."""

import asyncio
import socket
from contextlib import suppress
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.server import ServerProtocol

from app.realtime.wire.wire import SCOPE_KEY, Wire

REQUEST_WITHIN = 15.0
"""Seconds in which a request, its body included, must have arrived whole."""

LARGEST_READ = 65_536
"""Bytes that are read of a connection before others have their turn; asyncio would read four times as many."""

LARGEST_HEAD = 32_768
"""Bytes of a request's target and headers together."""

_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


class WireWebSocketProtocol(WebSocketsSansIOProtocol):
    """A websocket connection whose frames may be written past ASGI."""

    wire: Wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.wire = Wire(self.transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.transport.is_closing():
            # The library has refused the request before it was one, and uvicorn would wait for it for ever.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    async def run_asgi(self) -> None:
        cast(dict[str, Any], self.scope["extensions"])[SCOPE_KEY] = self.wire
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except Exception:
            self.logger.exception("Exception in ASGI application")
        if self.wire.detached and self.handshake_complete:
            self._outlive_request()
            return
        self.send_500_response()  # where the application has not answered
        if self.close_timer is None:
            self.transport.close()

    def _outlive_request(self) -> None:
        """Let a smaller protocol go on: the request is most of what a connection takes, and nobody will ask for it again."""
        if self.transport.is_closing():
            return  # and this one is told when it is lost
        detached = DetachedWebSocket(self.conn, self.wire, self.connections)
        self.connections.remove(self)
        self.connections.add(detached)  # type: ignore[arg-type]
        self.transport.set_protocol(detached)
        while not self.queue.empty():
            event = self.queue.get_nowait()
            if event["type"] == "websocket.receive":
                self.wire.received(event.get("text") or event.get("bytes") or "")
        if self.read_paused:
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.wire.full()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.wire.room()

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # who does not read gets no pongs, which would pile up here

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_utf8(b"".join(self.frames)):
            self.conn.send_close(1007)  # here, because uvicorn would log a traceback
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()

    # A data frame behind a close frame breaks the protocol, so the wire ends before any close frame is written.

    def handle_close(self, event: Frame) -> None:
        self.wire.gone()
        super().handle_close(event)

    def handle_parser_exception(self) -> None:
        self.wire.gone()
        super().handle_parser_exception()

    def shutdown(self) -> None:
        self.wire.gone()
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self.wire.gone()
        super().connection_lost(exc)


class DetachedWebSocket(asyncio.Protocol):
    """A websocket after its ASGI call has returned: what the client sends goes to the wire's user."""

    __slots__ = ("_conn", "_connections", "_is_text", "_parts", "_wire", "_writable")

    def __init__(self, conn: ServerProtocol, wire: Wire, connections: set[Any]) -> None:
        """``connections`` are those that the server asks to shut down."""
        self._conn = conn
        self._wire = wire
        self._connections = connections
        self._parts: list[bytes | bytearray | memoryview] = []
        self._is_text = False
        self._writable = True

    def data_received(self, data: bytes) -> None:
        self._conn.receive_data(data)
        if self._conn.parser_exc is not None:
            self._close()
            return
        for frame in self._conn.events_received():
            if isinstance(frame, Frame):
                self._take(frame)

    def _take(self, frame: Frame) -> None:
        if frame.opcode in _DATA:
            if frame.opcode is not Opcode.CONT:
                self._is_text = frame.opcode is Opcode.TEXT
            if frame.data:  # of empty ones there may be any number
                self._parts.append(frame.data)
            if frame.fin:
                self._hand_on()
        elif frame.opcode is Opcode.PING:
            pong = b"".join(self._conn.data_to_send())
            if self._writable:  # who does not read gets no pongs, which would pile up here
                self._wire.transport.write(pong)
        elif frame.opcode is Opcode.CLOSE:
            self._close()

    def _hand_on(self) -> None:
        data = b"".join(self._parts)
        self._parts.clear()
        if self._wire.transport.is_closing():
            return
        try:
            message = data.decode() if self._is_text else data
        except UnicodeDecodeError:
            self._conn.send_close(CloseCode.INVALID_DATA)
            self._close()
        else:
            self._wire.received(message)

    def shutdown(self) -> None:
        """Let the client go, because the server stops; this makes clients come back."""
        if not self._wire.transport.is_closing():
            self._conn.send_close(CloseCode.SERVICE_RESTART)
            self._close()

    def _close(self) -> None:
        # A data frame behind a close frame breaks the protocol, so the wire ends before any close frame is written.
        self._wire.gone()
        if not self._wire.transport.is_closing():
            self._wire.transport.write(b"".join(self._conn.data_to_send()))
            self._wire.transport.close()

    def pause_writing(self) -> None:
        self._writable = False
        self._wire.full()

    def resume_writing(self) -> None:
        self._writable = True
        self._wire.room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire.gone()
        self._connections.discard(self)


class DetachedStream(asyncio.Protocol):
    """A response body after its ASGI call has returned: the wire's user writes it, and nothing more is read."""

    __slots__ = ("_connections", "_unread", "_wire")

    def __init__(self, wire: Wire, connections: set[Any]) -> None:
        """``connections`` are those that the server asks to shut down."""
        self._wire = wire
        self._connections = connections
        self._unread = 0

    def data_received(self, data: bytes) -> None:
        # No answer to a further request would ever have its turn.
        self._unread += len(data)
        if self._unread > LARGEST_HEAD:
            self._wire.abort()

    def shutdown(self) -> None:
        """Let the client go, because the server stops."""
        self._wire.gone()
        self._wire.transport.close()

    def pause_writing(self) -> None:
        self._wire.full()

    def resume_writing(self) -> None:
        self._wire.room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire.gone()
        self._connections.discard(self)


class WireHttpProtocol(HttpToolsProtocol):
    """An HTTP connection whose response body may be written past ASGI, and which does not wait for ever."""

    wire: Wire
    _answered: RequestResponseCycle | None = None
    _due: float | None = None
    _timer: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0
    _unparsed_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.wire = Wire(transport)
        with suppress(AttributeError):  # another loop's transport may not have it
            cast(Any, transport).max_size = LARGEST_READ
        with suppress(OSError):
            # asyncio does it only for sockets that say that they are TCP; those of ``socket.create_server`` do not. Without
            # it an event waits for the client to acknowledge the last one, up to 40 ms.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self._set_deadline()  # also for the blank lines that may stand before a request
        head = self.scope if self._in_head else None
        super().data_received(data)
        if self._in_head and self.scope is head and not self.transport.is_closing():
            # All of the data belongs to one head that has not ended, and the parser keeps a header until it has.
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > LARGEST_HEAD:
                self.send_400_response("Request head too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {SCOPE_KEY: self.wire}  # type: ignore[dict-item]
        self._head_bytes = self._unparsed_bytes = 0
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
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._due = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self.wire.full()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.wire.room()

    def handle_websocket_upgrade(self) -> None:
        self._end_deadline()
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_deadline()
        self.wire.gone()
        if self._answered is not None and self._answered is not self.cycle:
            # uvicorn tells it to the newest request; the one that is being answered would wait for ever.
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle

        async def answer(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)
            if self.wire.detached:
                cycle.disconnected = True  # so that uvicorn does not miss the end of the response
                self._outlive_request()

        super()._start_asgi_task(cycle, answer)

    def _outlive_request(self) -> None:
        """Let a smaller protocol go on: the request is most of what a connection takes, and nobody will ask for it again."""
        if self.transport.is_closing():
            return  # and this one is told when it is lost
        detached = DetachedStream(self.wire, self.connections)
        self.connections.remove(self)
        self.connections.add(detached)  # type: ignore[arg-type]
        self.transport.set_protocol(detached)
        self.flow.resume_reading()  # a client that has left is noticed by reading
        self._unset_keepalive_if_required()
        self._end_deadline()
        self.parser = cast(Any, None)  # it refers to this protocol, as this protocol to it

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > LARGEST_HEAD:
            raise ValueError("request head too large")  # the parser turns it into 400 and closes

    def _set_deadline(self) -> None:
        if self._due is None:
            self._due = self.loop.time() + REQUEST_WITHIN
            # A timer that an answered request left behind is taken on: requests are many, and few are ever late.
            if self._timer is None:
                self._timer = self.loop.call_at(self._due, self._pass_deadline)

    def _pass_deadline(self) -> None:
        self._timer = None
        if self._due is not None:
            if self.loop.time() >= self._due:
                self.transport.abort()
            else:
                self._timer = self.loop.call_at(self._due, self._pass_deadline)

    def _end_deadline(self) -> None:
        self._due = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
