"""The wire: direct access to the connection under an ASGI request, offered by our own server.

Our server puts a ``Wire`` into ``scope["state"]``. Other ASGI servers offer none, and the ordinary ASGI ``send`` is used.
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
    """Callbacks of a connection for the object that uses its wire. They run in the event loop and must not block."""

    __slots__ = ()

    def wire_full(self) -> None:
        """Stop writing: more bytes than the mark are unsent."""

    def wire_has_room(self) -> None:
        """Write again: at most a quarter of the mark is unsent."""

    def wire_gone(self) -> None:
        """Forget the connection: writing is over. Called once, before the connection closes."""

    def wire_received(self, message: str | bytes) -> None:
        """Take a message that the client sent over a detached websocket."""

    def wire_answered(self) -> None:
        """Note that the client has answered a ping frame."""


_UNUSED = WireUser()


class Wire:
    """The transport under a request or a websocket, for complete bytes that are written without waiting."""

    __slots__ = ("_let_go", "_user", "detached", "is_gone", "transport")

    def __init__(self, transport: asyncio.Transport, let_go: Callable[[], None] | None = None) -> None:
        """``let_go`` frees what the server keeps for the request, once the ASGI call of a detached request has returned."""
        self.transport = transport
        self.detached = False
        self.is_gone = False
        self._let_go = let_go
        self._user = _UNUSED

    def open(self, mark: int, user: WireUser) -> None:
        """Start using the wire; it reports itself full above ``mark`` unsent bytes.

        Calls ``user.wire_gone`` at once if the connection is gone already.
        """
        self.watch(user)
        if self.is_gone:
            return
        self.transport.set_write_buffer_limits(high=mark)
        connection = self.transport.get_extra_info("socket")
        if connection is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # What the kernel has taken can no longer be conflated: a slow reader would get megabytes of old prices.
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_IN_KERNEL)

    def watch(self, user: WireUser) -> None:
        """Report to ``user`` from now on, with the connection's limits unchanged."""
        if self.is_gone:
            user.wire_gone()
        else:
            self._user = user

    def unwatch(self) -> None:
        """Report to no user any more."""
        self._user = _UNUSED

    @property
    def is_used(self) -> bool:
        """True while the connection's end is reported to a user."""
        return self._user is not _UNUSED

    def detach(self) -> None:
        """Keep the connection when the ASGI call returns, so that neither a task nor a request is kept for it."""
        self.detached = True

    def let_go(self) -> None:
        """Free what the server keeps for a detached request. Called by the server when the ASGI call has returned."""
        let_go, self._let_go = self._let_go, None
        if let_go is not None:
            let_go()

    def release(self) -> None:
        """Forget the server's connection, which has ended or has another wire, and refers to this one."""
        self._let_go = None

    def full(self) -> None:
        """Pass on that the transport asks for a pause."""
        self._user.wire_full()

    def room(self) -> None:
        """Pass on that the transport has drained."""
        self._user.wire_has_room()

    def received(self, message: str | bytes) -> None:
        """Pass on a message from the client."""
        self._user.wire_received(message)

    def answered(self) -> None:
        """Pass on that the client has answered a ping frame."""
        self._user.wire_answered()

    def gone(self) -> None:
        """Report that the connection is ending. Later calls do nothing."""
        self.is_gone = True
        user, self._user = self._user, _UNUSED
        user.wire_gone()

    def abort(self) -> None:
        """End the connection at once and drop what is unsent."""
        self.gone()
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):
                # Reset the connection. Otherwise the kernel keeps unsent data until the client reads it, which may be never.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def finish(self, last: bytes) -> None:
        """Send the last bytes and close."""
        self.gone()
        if not self.transport.is_closing():
            self.transport.write(last)
            self.transport.close()


class Way(NamedTuple):
    """The cheapest way to write shared bytes to one of many connections; see ``write_to_all``."""

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
    """Write the same bytes to many connections. The transport of each keeps what the kernel does not take, in order.

    This loop is the cost of a delivery, most of it the system call. Going through the transports would add a tenth.
    """
    size, write_now = len(piece), os.write
    for descriptor, unsent, write in ways:
        if unsent():
            write(piece)
            continue
        try:
            sent = write_now(descriptor, piece)
        except OSError:
            write(piece)  # full or gone: the transport finds out which and handles it
        else:
            if sent < size:
                write(piece[sent:])


def wire_of(scope: Mapping[str, Any]) -> Wire | None:
    """Return the wire of an ASGI scope, None if the server offers none."""
    wire = (scope.get("state") or {}).get(SCOPE_KEY)
    return wire if isinstance(wire, Wire) else None
