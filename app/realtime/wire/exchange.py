"""One HTTP request and its response, between a connection and the ASGI application.

ASGI messages: https://asgi.readthedocs.io/en/latest/specs/www.html#http. How a message ends: RFC 9112, section 6.
"""

import asyncio
import enum
import logging
import re
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol

from app.realtime.wire.websocket import Application, Message

LARGEST_UNREAD = 65_536
"""Bytes of a request's body that are kept for the application before the connection is no longer read."""

HEAD_KEY = "fx.head"
"""In the ASGI scope of a GET that is answered without its body, because the client sent HEAD."""

_logger = logging.getLogger(__name__)

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_NOT_IN_NAME = re.compile(rb'[\x00-\x1f\x7f()<>@,;:\[\]={} \t\\"]')
_NOT_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

FAILED = (500, b"Internal Server Error")


def plain_response(status: int, text: bytes) -> bytes:
    """Return a response of the server's own, after which it closes the connection."""
    return (
        b"%b%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\ncache-control: no-store\r\n"
        b"x-content-type-options: nosniff\r\nconnection: close\r\n\r\n%b" % (_STATUS_LINES[status], _date(), len(text), text)
    )


def _date() -> bytes:
    return f"date: {formatdate(usegmt=True)}\r\n".encode()


class Channel(Protocol):
    """What an exchange needs of its connection."""

    @property
    def transport(self) -> asyncio.Transport: ...

    async def writable(self) -> None:
        """Wait while the client does not read."""

    def read_on(self) -> None:
        """Read what the client sends, if reading was paused."""

    def answered(self, exchange: "Exchange") -> None:
        """Go on: the response of an exchange is complete."""


class _Framing(enum.Enum):
    """How the body of a response ends."""

    NONE = enum.auto()
    LENGTH = enum.auto()
    CHUNKED = enum.auto()
    UNTIL_CLOSE = enum.auto()


class Exchange:
    """A request and its response."""

    __slots__ = (
        "_arrived", "_awaits_continue", "_body", "_channel", "_framing", "_head", "_left", "is_complete", "is_lost",
        "keep_alive", "more_body", "scope", "started",
    )  # fmt: skip

    def __init__(self, channel: Channel, scope: dict[str, Any], *, keep_alive: bool, expects_continue: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        """Whether the connection stays open afterwards."""
        self.more_body = True
        """Whether the body has not wholly arrived."""
        self.started = False
        self.is_complete = False
        self.is_lost = False
        self._channel: Channel | None = channel  # until the application has returned
        self._awaits_continue = expects_continue
        self._arrived = asyncio.Event()
        self._body = bytearray()
        self._head = b""
        self._framing = _Framing.NONE
        self._left = 0

    async def run(self, app: Application) -> None:
        """Let the application answer."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._open.transport.abort()
            raise
        except Exception:
            _logger.exception("the application failed to answer a request")
        finally:
            self._end()

    def _end(self) -> None:
        """Answer for an application that did not, and let go of the connection, to which the application may still refer."""
        channel, self._channel = self._open, None
        if self.is_complete or self.is_lost or channel.transport.is_closing():
            return
        if self.started and not self._head:
            channel.transport.abort()  # the client must not take what it has for the whole
        else:
            self.started = self.is_complete = True
            self.keep_alive = False
            channel.transport.write(plain_response(*FAILED))
            channel.answered(self)

    @property
    def _open(self) -> Channel:
        """The connection. Raises RuntimeError once the application has returned."""
        if self._channel is None:
            raise RuntimeError("the application has returned")
        return self._channel

    @property
    def is_stream(self) -> bool:
        """True once a response has begun whose length is not known."""
        return self._framing in (_Framing.CHUNKED, _Framing.UNTIL_CLOSE)

    # ------------------------------------------------------------ for the connection

    def add(self, piece: bytes) -> bool:
        """Take in a piece of the body. Returns whether there is room for more."""
        if self.is_complete or self.is_lost:
            return True
        self._body += piece
        self._arrived.set()
        return len(self._body) <= LARGEST_UNREAD

    def end_body(self) -> None:
        """Note that the body has arrived."""
        self.more_body = False
        self._arrived.set()

    def lose(self) -> None:
        """Tell the application that the client is gone, and write nothing more."""
        self.is_lost = self.is_lost or not self.is_complete
        self._arrived.set()

    # ------------------------------------------------------------ for the application

    async def receive(self) -> Message:
        """Return the next ASGI message."""
        if self._awaits_continue and not self._open.transport.is_closing():
            self._awaits_continue = False
            self._open.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self.is_lost and not self.is_complete:
            self._open.read_on()
            await self._arrived.wait()
            self._arrived.clear()
        if self.is_lost or self.is_complete:
            return {"type": "http.disconnect"}
        body, self._body = bytes(self._body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """Send an ASGI message. After the client has left it is dropped."""
        await self._open.writable()
        if self.is_lost:
            return
        kind = message["type"]
        if self.is_complete or kind != ("http.response.body" if self.started else "http.response.start"):
            raise RuntimeError(f"unexpected ASGI message: {kind}")
        if self.started:
            self._write(message.get("body", b""), message.get("more_body", False))
        else:
            self._start(message["status"], message.get("headers", ()))

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.started = True
        if self._awaits_continue and self.more_body:
            self.keep_alive = False  # the client may send the body or not
        self._awaits_continue = False
        has_body = self.scope["method"] != "HEAD" and status >= 200 and status not in (204, 304)
        length: int | None = None
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, _date()]
        for name, value in headers:
            if _NOT_IN_NAME.search(name) or _NOT_IN_VALUE.search(value):
                raise RuntimeError(f"not a header: {name!r}: {value!r}")
            match name.lower():
                case b"connection":  # the one that is sent stands below
                    self.keep_alive = self.keep_alive and b"close" not in value.lower()
                    continue
                case b"transfer-encoding":
                    continue
                case b"content-length":
                    length = int(value)
                    if status < 200 or status == 204:
                        continue
            lines.append(b"%b: %b\r\n" % (name.lower(), value))
        if has_body:
            lines.append(self._frame(length))
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        elif self.scope["http_version"] == "1.0":
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")
        if length is None:
            self._open.transport.write(b"".join(lines))
        else:
            self._head = b"".join(lines)  # goes with the body, which follows at once

    def _frame(self, length: int | None) -> bytes:
        """Choose how the body ends, and return the header for it if the application did not send it."""
        if length is not None:
            self._framing, self._left = _Framing.LENGTH, length
        elif self.scope["http_version"] == "1.1":
            self._framing = _Framing.CHUNKED
            return b"transfer-encoding: chunked\r\n"
        else:
            self._framing = _Framing.UNTIL_CLOSE
            self.keep_alive = False
        return b""

    def _write(self, body: bytes, more_body: bool) -> None:
        match self._framing:
            case _Framing.NONE:
                body = b""
            case _Framing.LENGTH:
                self._left -= len(body)
                if self._left < 0 or (self._left and not more_body):
                    raise RuntimeError(f"the body of a response is not as long as its Content-Length says: {-self._left} bytes")
            case _Framing.CHUNKED:
                last = b"" if more_body else b"0\r\n\r\n"
                body = b"%x\r\n%b\r\n%b" % (len(body), body, last) if body else last
        head, self._head = self._head, b""
        if head or body:
            self._open.transport.write(head + body)
        if not more_body:
            self.is_complete = True
            self._arrived.set()
            self._open.answered(self)
