"""The wire: a way past the ASGI messages to the connection itself, offered in the scope by our server's protocols.

Under another server there is no wire, and the ordinary ASGI send is used.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

SCOPE_KEY = "fx.wire"

_UNSENT_IN_KERNEL = 16_384
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class WireUser:
    """Who uses a wire, and what it is told. Each of these is called by the connection and must not wait."""

    __slots__ = ()

    def wire_full(self) -> None:
        """More than the mark is unsent."""

    def wire_has_room(self) -> None:
        """No more than a quarter of the mark is unsent any more."""

    def wire_gone(self) -> None:
        """Nothing may be written any more; called once, before the connection closes."""

    def wire_received(self, message: str | bytes) -> None:
        """The client has sent a message over a detached websocket."""


_NOBODY = WireUser()


class Wire:
    """The transport under a request or a websocket, for complete bytes that need no waiting."""

    __slots__ = ("_ended", "_user", "detached", "transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.detached = False
        self._ended = False
        self._user = _NOBODY

    def open(self, mark: int, user: WireUser) -> None:
        """Take the wire into use; above ``mark`` unsent bytes it is full. Where it is gone already, the user is told so."""
        if self._ended:
            user.wire_gone()
            return
        self._user = user
        self.transport.set_write_buffer_limits(high=mark)
        connection = self.transport.get_extra_info("socket")
        if connection is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # What the kernel has taken cannot be conflated any more. A slow reader would get megabytes of old prices.
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_IN_KERNEL)

    def detach(self) -> None:
        """Let the connection live on when the ASGI call returns, so that neither a task nor a request is kept for it."""
        self.detached = True

    def full(self) -> None:
        """The transport asks for a pause."""
        self._user.wire_full()

    def room(self) -> None:
        """The transport has drained."""
        self._user.wire_has_room()

    def received(self, message: str | bytes) -> None:
        """The client has sent a message."""
        self._user.wire_received(message)

    def gone(self) -> None:
        """The connection is ending: nothing may be written any more."""
        self._ended = True
        user, self._user = self._user, _NOBODY
        user.wire_gone()

    def abort(self) -> None:
        """End the connection at once and drop what is unsent."""
        self.gone()
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):
                # A reset. Without it the kernel keeps what is unsent until the client has read it, which may be never.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def finish(self, last: bytes) -> None:
        """Send the last bytes and close."""
        self.gone()
        if not self.transport.is_closing():
            self.transport.write(last)
            self.transport.close()


class Way(NamedTuple):
    """How the same bytes get to one of many connections with the least work; see ``write_to_all``."""

    descriptor: int
    unsent: Callable[[], int]
    write: Callable[[bytes], None]


def way_of(transport: asyncio.WriteTransport) -> Way:
    """Return the way to a transport's connection: past the transport where nothing encrypts, else through it."""
    connection = transport.get_extra_info("socket")
    if connection is None or transport.get_extra_info("sslcontext") is not None:
        return Way(-1, lambda: 1, transport.write)
    return Way(connection.fileno(), transport.get_write_buffer_size, transport.write)


def write_to_all(ways: Iterable[Way], piece: bytes) -> None:
    """Write to many connections. What one of them does not take at once its transport keeps, in order.

    This loop is what a delivery costs. A call of the transport for each connection would add a tenth to it, most of which is
    the system call.
    """
    size, write_now = len(piece), os.write
    for descriptor, unsent, write in ways:
        if unsent():
            write(piece)
            continue
        try:
            sent = write_now(descriptor, piece)
        except OSError:
            write(piece)  # full, or gone: the transport finds out and knows what to do
        else:
            if sent < size:
                write(piece[sent:])


def wire_of(scope: Mapping[str, Any]) -> Wire | None:
    """The wire of an ASGI scope; None where the server offers none."""
    wire = (scope.get("extensions") or {}).get(SCOPE_KEY)
    return wire if isinstance(wire, Wire) else None
