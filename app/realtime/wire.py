"""The wire: a way past the ASGI messages to the connection itself, offered in the scope by our server's protocols.

Under another server there is no wire, and the ordinary ASGI send is used.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

SCOPE_KEY = "fx.wire"

_UNSENT_IN_KERNEL = 16_384
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def _nothing() -> None:
    """What an unopened wire calls."""


class Wire:
    """The transport under a request or a websocket, for complete bytes that need no waiting."""

    __slots__ = ("_full", "_gone", "_room", "transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._full: Callable[[], None] = _nothing
        self._room: Callable[[], None] = _nothing
        self._gone: Callable[[], None] = _nothing

    def open(self, mark: int, *, full: Callable[[], None], room: Callable[[], None], gone: Callable[[], None]) -> None:
        """Take the wire into use.

        ``full`` is called when more than ``mark`` bytes are unsent, ``room`` when a quarter of that is left, ``gone`` once
        when nothing may be written any more, before the connection closes.
        """
        self._full, self._room, self._gone = full, room, gone
        self.transport.set_write_buffer_limits(high=mark)
        connection = self.transport.get_extra_info("socket")
        if connection is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # What the kernel has taken cannot be conflated any more. A slow reader would get megabytes of old prices.
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_IN_KERNEL)

    def full(self) -> None:
        """The transport asks for a pause."""
        self._full()

    def room(self) -> None:
        """The transport has drained."""
        self._room()

    def gone(self) -> None:
        """The connection is ending: nothing may be written any more."""
        gone, self._full, self._room, self._gone = self._gone, _nothing, _nothing, _nothing
        gone()

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


def wire_of(scope: Mapping[str, Any]) -> Wire | None:
    """The wire of an ASGI scope; None where the server offers none."""
    wire = (scope.get("extensions") or {}).get(SCOPE_KEY)
    return wire if isinstance(wire, Wire) else None
