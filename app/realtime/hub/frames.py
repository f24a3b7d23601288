"""Framings: turn an event into the bytes of a transport, once for all clients of that transport.

Engine.IO packets (protocol 4): ``4`` is a message; Socket.IO packets (protocol 5): ``2`` is an event. WebSocket frames:
RFC 6455, section 5.2. Event streams: WHATWG HTML, section 9.2. Chunked bodies: RFC 9112, section 7.1.
"""

from collections.abc import Sequence
from typing import Protocol

from app.realtime.contract.event import Event


class Framing(Protocol):
    """The encoding of one transport. Frames are whole, and in the order in which they are joined."""

    def event(self, event: Event) -> bytes:
        """Return the frame of an event of the log."""
        ...

    def message(self, name: str, body: bytes) -> bytes:
        """Return the frame of an answer or a notice that is no event of the log; ``body`` is JSON."""
        ...

    def join(self, frames: Sequence[bytes]) -> bytes:
        """Join frames into one piece for one write."""
        ...


class EnginePackets:
    """Socket.IO events as Engine.IO text packets, for polling and for websockets of servers without a wire."""

    def event(self, event: Event) -> bytes:
        return self.message(event.type, event.payload)

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


class PlainMessages:
    """Messages of plain websockets: a JSON object with ``type``, ``data`` and, of an event to resume from, ``id``."""

    def event(self, event: Event) -> bytes:
        if not event.is_cursor:
            return self.message(event.type, event.payload)
        return b'{"type":"%s","id":"%s","data":%s}' % (event.type.encode(), event.id.encode(), event.payload)

    def message(self, name: str, body: bytes) -> bytes:
        return b'{"type":"%s","data":%s}' % (name.encode(), body)

    def join(self, frames: Sequence[bytes]) -> bytes:
        return b"\n".join(frames)


class PlainFrames:
    """Messages of plain websockets, each in a complete WebSocket text frame."""

    def event(self, event: Event) -> bytes:
        return websocket_text(PLAIN_MESSAGES.event(event))

    def message(self, name: str, body: bytes) -> bytes:
        return websocket_text(PLAIN_MESSAGES.message(name, body))

    def join(self, frames: Sequence[bytes]) -> bytes:
        return b"".join(frames)


class EventStream:
    """Server-Sent Events as blocks of a response body."""

    def event(self, event: Event) -> bytes:
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


ENGINE_PACKETS = EnginePackets()
WEBSOCKET_FRAMES = WebSocketFrames()
PLAIN_MESSAGES = PlainMessages()
PLAIN_FRAMES = PlainFrames()
EVENT_STREAM = EventStream()
CHUNKED_EVENT_STREAM = ChunkedEventStream()


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
