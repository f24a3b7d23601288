"""The watch over a server's connections: which of them do not take what they are sent, and whose clients have vanished."""

import asyncio
import socket
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Protocol

from app.realtime.wire.line import GONE_AFTER, OutQueue, descriptor_of
from app.realtime.wire.wire import ROUND, Wire

_SLICES = 10

_PROBES = 5


class Wired(Protocol):
    """A connection of the server."""

    @property
    def wire(self) -> Wire:
        """The wire of the connection."""


class Watch:
    """Looks at every connection about once a second, in slices: one call of the kernel for each on which nothing is unsent."""

    def __init__(self, connections: Collection[Wired]) -> None:
        """``connections`` are those that are open, now and later."""
        self._connections = connections
        self._queue = OutQueue()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            connections = list(self._connections)
            size = len(connections) // _SLICES + 1
            for start in range(0, size * _SLICES, size):
                self.look(connections[start : start + size])
                await asyncio.sleep(ROUND / _SLICES)

    def look(self, connections: Iterable[Wired]) -> None:
        """Look at some connections once."""
        now, bytes_of = time.monotonic(), self._queue.bytes_of
        for connection in connections:
            wire = connection.wire
            if wire.is_gone:
                continue
            transport = wire.transport
            if bytes_of(descriptor_of(transport)) or transport.get_write_buffer_size():
                wire.glance(now)
            else:
                wire.all_sent()


def notice_vanished(listener: socket.socket) -> None:
    """Let the kernel end the connections of clients that vanish, after about ``GONE_AFTER`` seconds.

    On Linux the connections that a listening socket accepts inherit its options (see socket(7) and tcp(7)): idle connections
    are probed, and what is sent has to be acknowledged in time.
    """
    every = max(1, round(GONE_AFTER / 9))
    options = {
        "TCP_KEEPIDLE": max(1, round(GONE_AFTER) - _PROBES * every),
        "TCP_KEEPINTVL": every,
        "TCP_KEEPCNT": _PROBES,
        "TCP_USER_TIMEOUT": round((GONE_AFTER - 1) * 1000),
    }
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in options.items():
        if hasattr(socket, name):
            with suppress(OSError):
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
