"""The requests in the bytes of an HTTP connection, on the parser of ``httptools``: RFC 9112, with limits on what a head may have.

The only upgrade is that to a websocket. A request for another is read as if it had asked for none (RFC 9110, section 7.8).
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

import httptools

from app.realtime.wire.address import address_of

LARGEST_HEAD = 32_768
"""Bytes of a request's target and headers together."""

LARGEST_TARGET = 16_384
"""Bytes of a request's target."""

_logger = logging.getLogger(__name__)

_OF_UPGRADES = frozenset((b"upgrade", b"http2-settings"))


class Refused(Exception):
    """A request that the server answers itself, and then closes the connection."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request."""

    method: bytes
    target: bytes
    version: str
    """``1.0`` or ``1.1``."""
    headers: Sequence[tuple[bytes, bytes]]
    """Names in lower case, and values."""
    keeps_alive: bool
    """Whether the client wants the connection to stay open."""

    @property
    def expects_continue(self) -> bool:
        """True if the client waits for a ``100 Continue`` before it sends the body."""
        return self.version == "1.1" and b"100-continue" in self.tokens(b"expect")

    def tokens(self, name: bytes) -> set[bytes]:
        """Return the members of a header that is a list, in lower case."""
        values = b",".join(value for key, value in self.headers if key == name)
        return {token.strip().lower() for token in values.split(b",") if token.strip()}

    def encoded(self, *, without_upgrade: bool = False) -> bytes:
        """Return the head as it is sent."""
        headers = list(self.headers)
        if without_upgrade:
            headers = [(name, value) for name, value in headers if name != b"connection" and name not in _OF_UPGRADES]
            if options := self.tokens(b"connection") - _OF_UPGRADES:
                headers.append((b"connection", b", ".join(sorted(options))))
        lines = [b"%b %b HTTP/%b" % (self.method, self.target, self.version.encode())]
        return b"\r\n".join([*lines, *(b"%b: %b" % header for header in headers), b"", b""])

    def scope(self, transport: asyncio.BaseTransport, root_path: str, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ASGI scope of the request. Raises Refused if the target is none."""
        try:
            url = httptools.parse_url(self.target)
            raw_path = url.path or b"/"
            path = raw_path.decode("ascii")
        except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
            raise Refused(400, "Invalid request target") from None
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": self.version,
            "server": address_of(transport, "sockname"),
            "client": address_of(transport, "peername"),
            "scheme": "http" if transport.get_extra_info("sslcontext") is None else "https",
            "method": self.method.decode("ascii"),
            "root_path": root_path,
            "path": root_path + (unquote(path) if "%" in path else path),
            "raw_path": root_path.encode("ascii") + raw_path,
            "query_string": url.query or b"",
            "headers": list(self.headers),
            "state": {**state},
        }


class Taker(Protocol):
    """Takes in what a ``RequestParser`` finds."""

    def request_begins(self) -> None:
        """Note that a request has begun."""

    def head_arrived(self, head: Head) -> None:
        """Begin to answer. May raise Refused."""

    def body_arrived(self, piece: bytes) -> None:
        """Take in a piece of the request's body."""

    def request_arrived(self) -> None:
        """Note that the request has arrived, with its body."""


class RequestParser:
    """Finds the requests of a connection. The ``on_`` methods are the callbacks of httptools."""

    __slots__ = (
        "_bytes", "_head", "_headers", "_heads", "_in_head", "_parser", "_taker", "_target", "_unparsed", "_upgrade",
    )  # fmt: skip

    def __init__(self, taker: Taker) -> None:
        self._taker = taker
        self._parser = self._new_parser()
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._upgrade: Head | None = None
        self._in_head = False
        self._heads = 0
        self._bytes = 0
        self._unparsed = 0

    @property
    def has_begun(self) -> bool:
        """True once a request has begun."""
        return self._heads > 0

    def feed(self, data: bytes) -> Head | None:
        """Take in what was read. Return the head of a request for a websocket, which is the last. Raises Refused."""
        in_head, heads = self._in_head, self._heads
        head = self._parse(data)
        if in_head and self._in_head and self._heads == heads:
            # All of the data belongs to one head that has not ended, and the parser reports a header only once it has.
            self._unparsed += len(data)
            if self._unparsed > LARGEST_HEAD:
                raise _too_large()
        return head

    def close(self) -> None:
        """Let go of the parser, which refers to this object."""
        self._parser = None

    def _parse(self, data: bytes) -> Head | None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            head, self._upgrade = self._upgrade, None
            assert head is not None
            if head.version == "1.1" and b"websocket" in head.tokens(b"upgrade"):
                return head
            # The parser takes what follows for another protocol. Read it again, without the upgrade.
            self._parser = self._new_parser()
            return self._parse(head.encoded(without_upgrade=True) + data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, Refused):
                raise error.__context__ from None
            _logger.error("failed to take in a request", exc_info=error.__context__ or error)
            raise Refused(500, "Internal Server Error") from None
        except httptools.HttpParserError as error:
            raise Refused(400, f"Invalid HTTP request: {error}") from None
        return None

    def _new_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(
            lenient_data_after_close=True
        )  # or what follows would spoil the answer to the last request
        return parser

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers = []
        self._bytes = self._unparsed = 0
        self._heads += 1
        self._in_head = True
        self._taker.request_begins()

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > LARGEST_TARGET:
            raise Refused(414, "Request target too long")
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        parser = self._parser
        method, version = parser.get_method(), parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise Refused(505, "HTTP Version Not Supported")
        if method == b"CONNECT":
            raise Refused(501, "This server is no proxy")
        head = Head(method, self._target, version, self._headers, parser.should_keep_alive())
        if parser.should_upgrade():  # the parser stops behind the head
            self._upgrade = head
        else:
            self._taker.head_arrived(head)

    def on_body(self, body: bytes) -> None:
        self._taker.body_arrived(body)

    def on_message_complete(self) -> None:
        if self._upgrade is None:
            self._taker.request_arrived()

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > LARGEST_HEAD:
            raise _too_large()


def _too_large() -> Refused:
    return Refused(431, "Request head too large")
