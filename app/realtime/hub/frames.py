"""Framings: turn an event into the bytes of a transport, once for all clients of that transport.

Engine.IO packets (protocol 4): ``4`` is a message; Socket.IO packets (protocol 5): ``2`` is an event. WebSocket frames:
RFC 6455, section 5.2. Event streams: WHATWG HTML, section 9.2. Chunked bodies: RFC 9112, section 7.1. Compressed bodies:
RFC 1951 and 1952.
"""

import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import ClassVar, Protocol

from app.realtime.contract.compact import PriceFormat, compact_price, resumable_price
from app.realtime.contract.event import Event

_LEVEL, _WINDOW_BITS, _MEMORY_LEVEL = 3, 13, 5
_SHARED_PIECES = 32


class Framing(Protocol):
    """The encoding of one transport in one format. Frames are whole, and in the order in which they are joined."""

    @property
    def opening(self) -> bytes:
        """What a connection is sent before anything that is joined."""
        ...

    def in_format(self, format: PriceFormat) -> "Framing":
        """Return the framing of the same transport in a format."""
        ...

    def event(self, event: Event) -> bytes:
        """Return the frame of an event of the log."""
        ...

    def message(self, name: str, body: bytes) -> bytes:
        """Return the frame of an answer or a notice that is no event of the log; ``body`` is JSON."""
        ...

    def join(self, frames: Sequence[bytes]) -> bytes:
        """Join frames into one piece for one write."""
        ...


class _Framing:
    """What the framings share."""

    opening: ClassVar[bytes] = b""

    def __init__(self, format: PriceFormat = PriceFormat.FULL) -> None:
        self._is_compact = format is PriceFormat.COMPACT

    def in_format(self, format: PriceFormat) -> Framing:
        return FRAMINGS[type(self), format]


class EnginePackets(_Framing):
    """Socket.IO events as Engine.IO text packets, for polling and for websockets of servers without a wire."""

    def event(self, event: Event) -> bytes:
        compact = self._is_compact and event.is_price
        return self.message(event.type, resumable_price(event) if compact else event.payload)

    def message(self, name: str, body: bytes) -> bytes:
        return b'42["%s",%s]' % (name.encode(), body)

    def join(self, frames: Sequence[bytes]) -> bytes:
        return b"\x1e".join(frames)


class WebSocketFrames(EnginePackets):
    """Engine.IO packets, each in a complete WebSocket text frame."""

    def message(self, name: str, body: bytes) -> bytes:
        return websocket_text(super().message(name, body))

    def join(self, frames: Sequence[bytes]) -> bytes:
        return b"".join(frames)


class PlainMessages(_Framing):
    """Messages of plain websockets: a JSON object with ``type``, ``data`` and, of an event to resume from, ``id``.

    A compact price is the array alone.
    """

    def event(self, event: Event) -> bytes:
        if self._is_compact and event.is_price:
            return self._framed(resumable_price(event))
        if not event.is_cursor:
            return self.message(event.type, event.payload)
        return self._framed(b'{"type":"%s","id":"%s","data":%s}' % (event.type.encode(), event.id.encode(), event.payload))

    def message(self, name: str, body: bytes) -> bytes:
        return self._framed(b'{"type":"%s","data":%s}' % (name.encode(), body))

    def join(self, frames: Sequence[bytes]) -> bytes:
        return b"\n".join(frames)

    def _framed(self, message: bytes) -> bytes:
        return message


class PlainFrames(PlainMessages):
    """Messages of plain websockets, each in a complete WebSocket text frame."""

    def join(self, frames: Sequence[bytes]) -> bytes:
        return b"".join(frames)

    def _framed(self, message: bytes) -> bytes:
        return websocket_text(message)


class EventStream(_Framing):
    """Server-Sent Events as blocks of a response body.

    A compact price has no ``event:`` field, which would be a quarter of it: an EventSource calls it a ``message``.
    """

    def event(self, event: Event) -> bytes:
        if self._is_compact and event.is_price:
            block = b"data:%s\n\n" % compact_price(event)
            return b"id:%s\n%s" % (event.id.encode(), block) if event.is_cursor else block
        if not event.is_cursor:
            return self.message(event.type, event.payload)
        return b"event: %s\nid: %s\ndata: %s\n\n" % (event.type.encode(), event.id.encode(), event.payload)

    def message(self, name: str, body: bytes) -> bytes:
        return b"event: %s\ndata: %s\n\n" % (name.encode(), body)

    def join(self, frames: Sequence[bytes]) -> bytes:
        return b"".join(frames)


class ChunkedEventStream(EventStream):
    """Server-Sent Events as chunks of an HTTP/1.1 body, ready to be written to the connection."""

    def join(self, frames: Sequence[bytes]) -> bytes:
        return http_chunk(b"".join(frames))


class GzipEventStream(EventStream):
    """Server-Sent Events as blocks of a body that is compressed with gzip.

    What is joined becomes blocks that refer to nothing before them and end with a full flush. So a client can read each as it
    arrives, and every client can be sent the same ones, whatever it was sent before. The checksum at the end of a gzip file is
    never sent, as there is one for each client; decoders do without it where a stream breaks off.
    """

    opening: ClassVar[bytes] = b"\x1f\x8b\x08" + bytes(6) + b"\xff"  # deflate, no options, no time, any system

    def join(self, frames: Sequence[bytes]) -> bytes:
        return _deflated(b"".join(frames))


class ChunkedGzipEventStream(GzipEventStream):
    """The same as chunks of an HTTP/1.1 body."""

    opening: ClassVar[bytes] = b"%x\r\n%s\r\n" % (len(GzipEventStream.opening), GzipEventStream.opening)

    def join(self, frames: Sequence[bytes]) -> bytes:
        return http_chunk(super().join(frames))


_TRANSPORTS = (
    EnginePackets, WebSocketFrames, PlainMessages, PlainFrames,
    EventStream, ChunkedEventStream, GzipEventStream, ChunkedGzipEventStream,
)  # fmt: skip

FRAMINGS: Mapping[tuple[type[_Framing], PriceFormat], Framing] = MappingProxyType(
    {(transport, format): transport(format) for transport in _TRANSPORTS for format in PriceFormat}
)
"""Every framing, by transport and format. Clients of one transport and format share one, and so its frames."""

ENGINE_PACKETS = FRAMINGS[EnginePackets, PriceFormat.FULL]
WEBSOCKET_FRAMES = FRAMINGS[WebSocketFrames, PriceFormat.FULL]
PLAIN_MESSAGES = FRAMINGS[PlainMessages, PriceFormat.FULL]
PLAIN_FRAMES = FRAMINGS[PlainFrames, PriceFormat.FULL]
EVENT_STREAM = FRAMINGS[EventStream, PriceFormat.FULL]
CHUNKED_EVENT_STREAM = FRAMINGS[ChunkedEventStream, PriceFormat.FULL]
GZIP_EVENT_STREAM = FRAMINGS[GzipEventStream, PriceFormat.FULL]
CHUNKED_GZIP_EVENT_STREAM = FRAMINGS[ChunkedGzipEventStream, PriceFormat.FULL]


def websocket_text(payload: bytes) -> bytes:
    """Return a text frame as a server sends it: final, unmasked, not compressed."""
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes() + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


def http_chunk(body: bytes) -> bytes:
    """Return a chunk of a chunked body, nothing for an empty body: an empty chunk would end the response."""
    return b"%x\r\n%s\r\n" % (len(body), body) if body else b""


@lru_cache(_SHARED_PIECES)
def _deflated(text: bytes) -> bytes:
    """Return a text as deflate blocks that end with a full flush, nothing for an empty text.

    Audiences with different interests often get the same single event, hence the cache. The small window and hash table make
    a compressor cheap to begin, and cost a burst of prices nothing.
    """
    if not text:
        return b""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -_WINDOW_BITS, _MEMORY_LEVEL)
    return compressor.compress(text) + compressor.flush(zlib.Z_FULL_FLUSH)
