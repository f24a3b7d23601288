"""A websocket connection as an ASGI server serves it, on the Sans-I/O layer of ``websockets``.

Frames may be written past ASGI, through the wire. Once the application has detached the wire and returned, only the frame
parser, the wire and this object are left of the request: an idle websocket costs no task and no scope.

ASGI messages: https://asgi.readthedocs.io/en/latest/specs/www.html#websocket. Close codes: RFC 6455, section 7.4.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from app.realtime.wire.address import address_of
from app.realtime.wire.wire import SCOPE_KEY, Wire

Message = MutableMapping[str, Any]

Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
"""An ASGI 3 application."""

CLOSE_WITHIN = 10.0
"""Seconds a client has to answer a close frame."""

_logger = logging.getLogger(__name__)
_protocol_logger = logging.getLogger("app.realtime.protocol")

_OF_REFUSALS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


class _Call:
    """The ASGI call that a websocket begins with, and what only this call needs."""

    __slots__ = ("accepted", "answer", "messages", "request", "response", "task", "wake")

    def __init__(self, request: Request, response: Response) -> None:
        self.request = request
        self.response = response
        self.accepted = False
        self.answer: tuple[int, Headers, bytes] | None = None
        self.messages: list[Message] = [{"type": "websocket.connect"}]
        self.wake: asyncio.Event = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class WebSocketConnection(asyncio.Protocol):
    """One websocket connection, from its handshake to its end."""

    __slots__ = (
        "_app", "_call", "_close_code", "_closing", "_conn", "_connections", "_is_lost", "_is_text", "_parts",
        "_reading_paused", "_root_path", "_state", "_writable", "wire",
    )  # fmt: skip

    def __init__(
        self, app: Application, connections: set[Any], state: MutableMapping[str, Any], *, root_path: str, max_size: int
    ) -> None:
        """``connections`` are those that the server asks to shut down; ``max_size`` is the largest message in bytes."""
        self._app: Application | None = app
        self._connections = connections
        self._state: MutableMapping[str, Any] | None = state
        self._root_path = root_path
        # Without extensions: compressing a frame for one client costs more than delivering it to twenty.
        self._conn = ServerProtocol(max_size=max_size, logger=_protocol_logger)
        self._call: _Call | None = None
        self._closing: asyncio.TimerHandle | None = None  # while the client's reply to a close frame is awaited
        self._close_code: int = CloseCode.NO_STATUS_RCVD
        self._parts: list[bytes | bytearray | memoryview] = []
        self._is_text = False
        self._is_lost = False
        self._reading_paused = False
        self._writable: asyncio.Event | None = None  # while the connection is full

    # ------------------------------------------------------------ the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.wire = Wire(transport, self._let_go)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._conn.receive_data(data)
        if self._conn.handshake_exc is not None:
            self._send_rest()
            self.wire.transport.close()
            return
        for event in self._conn.events_received():
            if isinstance(event, Request):
                self._begin(event)
            elif isinstance(event, Frame):
                self._take(event)
        if self._closing is None and self._conn.state in (State.CLOSING, State.CLOSED):
            self._end_of_messages()

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()
        self.wire.full()

    def resume_writing(self) -> None:
        self._has_room()
        self.wire.room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self.wire.lost(exc)
        self._has_room()
        if self._closing is not None:
            self._closing.cancel()
        if self._call is None:
            self._connections.discard(self)
        else:  # the server waits for the call, which removes the connection when it ends
            self._queue({"type": "websocket.disconnect", "code": CloseCode.ABNORMAL_CLOSURE})

    def shutdown(self) -> None:
        """Close the connection because the server stops, with the code that makes clients reconnect."""
        call = self._call
        if call is not None and not call.accepted and call.answer is None:
            self._reject(HTTPStatus.SERVICE_UNAVAILABLE)
        elif not self.wire.transport.is_closing():
            self._send_close(CloseCode.SERVICE_RESTART)
            self.wire.transport.close()

    def _has_room(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None:
            writable.set()

    def _send_rest(self) -> None:
        """Write what the protocol has put together."""
        data = b"".join(self._conn.data_to_send())
        if data and not self.wire.transport.is_closing():
            self.wire.transport.write(data)

    # ------------------------------------------------------------ frames

    def _take(self, frame: Frame) -> None:
        if frame.opcode in _DATA:
            if frame.opcode is not Opcode.CONT:
                self._is_text = frame.opcode is Opcode.TEXT
            if frame.data:  # a message may have any number of empty fragments
                self._parts.append(frame.data)
            if frame.fin:
                self._hand_on()
        elif frame.opcode is Opcode.PING:
            pong = b"".join(self._conn.data_to_send())
            # A client that does not read gets no pongs: they would pile up here.
            if self._writable is None and not self.wire.transport.is_closing():
                self.wire.transport.write(pong)
        elif frame.opcode is Opcode.PONG:
            self.wire.answered()
        elif frame.opcode is Opcode.CLOSE:
            if len(frame.data) >= 2:
                self._close_code = int.from_bytes(frame.data[:2])
            if self._closing is not None:
                self.wire.transport.close()

    def _hand_on(self) -> None:
        """Pass a complete message on, to the wire's user or to the application."""
        data = b"".join(self._parts)
        self._parts.clear()
        if self.wire.transport.is_closing() or self._conn.state is not State.OPEN:
            return
        message: str | bytes = data
        if self._is_text:
            try:
                message = data.decode()
            except UnicodeDecodeError:
                self._conn.send_close(CloseCode.INVALID_DATA)
                return
        if self._call is None:
            self.wire.received(message)
        else:
            self._queue({"type": "websocket.receive", "text" if self._is_text else "bytes": message})

    def _send_close(self, code: int, reason: str = "") -> None:
        # A data frame behind a close frame breaks the protocol, so writing past ASGI ends before a close frame is written.
        self.wire.gone()
        if self._conn.state is State.OPEN:
            self._conn.send_close(code, reason)
        self._send_rest()

    def _end_of_messages(self) -> None:
        """Close: the client has sent a close frame or broken the protocol, and the answer to that is put together."""
        self.wire.gone()
        self._send_rest()
        if self._call is not None:
            self._queue({"type": "websocket.disconnect", "code": self._close_code})
        self.wire.transport.close()

    # ------------------------------------------------------------ the ASGI call

    def _begin(self, request: Request) -> None:
        response = self._conn.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            response.headers.update(_OF_REFUSALS)
            self._conn.send_response(response)
            self._send_rest()
            self.wire.transport.close()
            return
        self._call = _Call(request, response)
        self._call.task = asyncio.get_running_loop().create_task(self._run(self._scope(request)))

    def _scope(self, request: Request) -> dict[str, Any]:
        transport = self.wire.transport
        target, _, query = request.path.partition("?")
        protocols = request.headers.get_all("Sec-WebSocket-Protocol")
        encrypted = transport.get_extra_info("sslcontext") is not None
        return {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if encrypted else "ws",
            "server": address_of(transport, "sockname"),
            "client": address_of(transport, "peername"),
            "root_path": self._root_path,
            "path": self._root_path + unquote(target),
            "raw_path": f"{self._root_path}{target}".encode("ascii"),
            "query_string": query.encode("ascii"),
            "headers": [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in request.headers.raw_items()],
            "subprotocols": [name.strip() for header in protocols for name in header.split(",")],
            "state": {**(self._state or {}), SCOPE_KEY: self.wire},
            "extensions": {"websocket.http.response": {}},
        }

    async def _run(self, scope: dict[str, Any]) -> None:
        assert self._app is not None
        try:
            await self._app(scope, self._receive, self._send)
        except OSError:
            pass  # the client left while it was written to
        except Exception:
            _logger.exception("the application failed to serve a websocket")
        finally:
            self._finish_call()

    def _finish_call(self) -> None:
        call, self._call = self._call, None
        if call is None:
            return  # let go: the connection goes on without its request
        if self._is_lost:
            self._connections.discard(self)
        elif not call.accepted and call.answer is None:
            self._reject(HTTPStatus.INTERNAL_SERVER_ERROR)
        elif self._closing is None:
            self.wire.transport.close()
        self._forget_request()

    def _let_go(self) -> None:
        """Go on without the request, which is most of what a connection takes. What has arrived goes to the wire's user."""
        call, self._call = self._call, None
        self._forget_request()
        if self._is_lost:
            self._connections.discard(self)
        elif call is not None and not self.wire.transport.is_closing():
            for message in call.messages:
                if message["type"] == "websocket.receive":
                    self.wire.received(message["text"] if "text" in message else message["bytes"])
            self._resume_reading()

    def _forget_request(self) -> None:
        self._app = self._state = None

    def _queue(self, message: Message) -> None:
        """Keep a message for the application. Nothing more is read from the connection until it is taken."""
        assert self._call is not None
        self._call.messages.append(message)
        self._call.wake.set()
        if not self._reading_paused and not self.wire.transport.is_closing():
            self._reading_paused = True
            self.wire.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if not self.wire.transport.is_closing():
                self.wire.transport.resume_reading()

    async def _receive(self) -> Message:
        call = self._call
        if call is None:
            return {"type": "websocket.disconnect", "code": CloseCode.ABNORMAL_CLOSURE}
        while not call.messages:
            self._resume_reading()
            call.wake.clear()
            await call.wake.wait()
        return call.messages.pop(0)

    async def _send(self, message: Message) -> None:
        """Send an ASGI message. Raises OSError once the connection is gone."""
        if self._writable is not None:
            await self._writable.wait()
        call = self._call
        if self._is_lost or self._closing is not None or call is None or self.wire.transport.is_closing():
            raise OSError("the websocket is closed")
        kind = message["type"]
        if call.answer is not None:
            self._answer_more(call.answer, message)
        elif kind == "websocket.accept":
            self._accept(call, message)
        elif kind == "websocket.send":
            if message.get("bytes") is not None:
                self._conn.send_binary(message["bytes"])
            else:
                self._conn.send_text(message["text"].encode())
            self._send_rest()
        elif kind == "websocket.close" and call.accepted:
            self._send_close(message.get("code", CloseCode.NORMAL_CLOSURE), message.get("reason") or "")
            # The client's reply ends the connection. Closing it at once might reset it before the close frame is read.
            self._closing = asyncio.get_running_loop().call_later(CLOSE_WITHIN, self.wire.transport.abort)
            self._resume_reading()
        elif kind == "websocket.close":
            self._reject(HTTPStatus.FORBIDDEN, "")
        elif kind == "websocket.http.response.start":
            call.answer = (message["status"], Headers(_text_headers(message)), b"")
        else:
            raise RuntimeError(f"unexpected ASGI message: {kind}")

    def _accept(self, call: _Call, message: Message) -> None:
        headers = call.response.headers
        for name, value in _text_headers(message):
            headers[name] = value
        if message.get("subprotocol"):
            headers["Sec-WebSocket-Protocol"] = message["subprotocol"]
        call.accepted = True
        self._conn.send_response(call.response)
        self._send_rest()

    def _reject(self, status: HTTPStatus, text: str | None = None) -> None:
        """Answer the handshake with an HTTP status instead of a websocket."""
        if self._call is not None:
            self._call.answer = (status, Headers(), b"")
        response = self._conn.reject(status, status.phrase if text is None else text)
        response.headers.update(_OF_REFUSALS)
        self._conn.send_response(response)
        self._send_rest()
        self.wire.transport.close()

    def _answer_more(self, answer: tuple[int, Headers, bytes], message: Message) -> None:
        """Take the body of the HTTP response that the application sends instead of a websocket."""
        assert self._call is not None
        status, headers, body = answer
        body += message["body"]
        self._call.answer = (status, headers, body)
        if message.get("more_body"):
            return
        response = self._conn.reject(status, body.decode("utf-8", "replace"))
        for name, value in headers.raw_items():
            response.headers.pop(name, None)
            response.headers[name] = value
        self._conn.send_response(response)
        self._send_rest()
        self.wire.transport.close()


def _text_headers(message: Message) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ())]
