"""How frames reach a client: written to its connection at once, or kept until the client fetches them."""

import asyncio
from collections.abc import Callable

from app.realtime.wire.wire import Way, way_of


class Direct:
    """Write to the client's connection, except while it is full."""

    __slots__ = ("_transport", "paused")

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self.paused = False

    @property
    def is_full(self) -> bool:
        """True while more bytes are unsent than the transport's high-water mark."""
        return self._transport.get_write_buffer_size() > self._transport.get_write_buffer_limits()[1]

    @property
    def unsent(self) -> int:
        """Bytes that the transport has accepted and the kernel has not."""
        return self._transport.get_write_buffer_size()

    def way(self) -> Way:
        """Return the shortest way to the connection, for ``write_to_all``. Drop it when the connection closes.

        It holds a file descriptor, which the system gives to another connection after the close.
        """
        return way_of(self._transport)

    def write(self, piece: bytes) -> None:
        """Write to the connection. This never blocks; the transport buffers what the kernel does not take."""
        self._transport.write(piece)

    def pause(self) -> None:
        """Stop writing: the connection is full."""
        self.paused = True

    def resume(self) -> None:
        """Start writing again: the connection has room."""
        self.paused = False

    def wake(self) -> None:
        """Do nothing: the transport says when the connection has room."""


class Fetching:
    """Keep frames in the client's outbox and call ``wake`` for each addition, so that the client fetches them."""

    __slots__ = ("wake",)

    paused = False
    unsent = 0

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
