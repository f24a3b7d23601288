"""A response body that outlives its ASGI call."""

import asyncio
from typing import Any

from app.realtime.wire.wire import Wire

MOST_UNREAD = 32_768
"""Bytes that a client may send while it is sent a stream."""


class DetachedStream(asyncio.Protocol):
    """A response body after its ASGI call has returned: the wire's user writes it, and nothing more is read."""

    __slots__ = ("_connections", "_unread", "wire")

    def __init__(self, wire: Wire, connections: set[Any]) -> None:
        """``connections`` are those that the server asks to shut down."""
        self.wire = wire
        self._connections = connections
        self._unread = 0

    def data_received(self, data: bytes) -> None:
        # A further request would never have its turn, so it is not kept.
        self._unread += len(data)
        if self._unread > MOST_UNREAD:
            self.wire.abort()

    def shutdown(self) -> None:
        """Close the connection because the server stops."""
        self.wire.gone()
        self.wire.transport.close()

    def pause_writing(self) -> None:
        self.wire.full()

    def resume_writing(self) -> None:
        self.wire.room()

    def connection_lost(self, exc: Exception | None) -> None:
        self.wire.lost(exc)
        self._connections.discard(self)
