"""How an event becomes bytes on a transport: framed once, shared by every client of that transport.

Engine.IO packets (protocol 4): ``4`` is a message; Socket.IO packets (protocol 5): ``2`` is an event. WebSocket frames:
RFC 6455, section 5.2. Event streams: WHATWG HTML, section 9.2. Chunked bodies: RFC 9112, section 7.1.
"""

from collections.abc import Sequence
from typing import Protocol

from app.realtime.contract.event import Event


class Framing(Protocol):
    """One way to put events on a transport."""

    def event(self, event: Event) -> bytes:
        """An event of the log."""
        ...

    def message(self, name: str, body: bytes) -> bytes:
        """An answer or notice that is no event of the log; ``body`` is JSON."""
        ...

    def join(self, frames: Sequence[bytes]) -> bytes:
        """The frames as one piece for one write."""
        ...


class EnginePackets:
    """Socket.IO events as Engine.IO text packets, for long polling and for servers without a wire."""

    def event(self, event: Event) -> bytes:
        return self.message(event.type, event.payload)

    def message(self, name: str, body: bytes) -> bytes:
        return b'42["%s",%s]' % (name.encode(), body)

    def join(self, frames: Sequence[bytes]) -> bytes:
        return b"\x1e".join(frames)


class WebSocketFrames(EnginePackets):
    """The same packets, each as a complete unmasked WebSocket text frame."""

    def message(self, name: str, body: bytes) -> bytes:
        return websocket_text(super().message(name, body))

    def join(self, frames: Sequence[bytes]) -> bytes:
        return b"".join(frames)


class EventStream:
    """Server-Sent Events as they stand in a response body."""

    def event(self, event: Event) -> bytes:
        if not event.is_cursor:
            return self.message(event.type, event.payload)
        return b"event: %s\nid: %s\ndata: %s\n\n" % (event.type.encode(), event.id.encode(), event.payload)

    def message(self, name: str, body: bytes) -> bytes:
        return b"event: %s\ndata: %s\n\n" % (name.encode(), body)

    def join(self, frames: Sequence[bytes]) -> bytes:
        return b"".join(frames)


class ChunkedEventStream(EventStream):
    """Server-Sent Events as chunks of an HTTP/1.1 body, ready for the socket."""

    def join(self, frames: Sequence[bytes]) -> bytes:
        return http_chunk(b"".join(frames))


ENGINE_PACKETS = EnginePackets()
WEBSOCKET_FRAMES = WebSocketFrames()
EVENT_STREAM = EventStream()
CHUNKED_EVENT_STREAM = ChunkedEventStream()


def websocket_text(payload: bytes) -> bytes:
    """A whole text frame from a server: final, unmasked, not compressed."""
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes() + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


def http_chunk(body: bytes) -> bytes:
    """One chunk of a chunked body; the empty body gives no chunk, because an empty chunk would end it."""
    return b"%x\r\n%s\r\n" % (len(body), body) if body else b""
