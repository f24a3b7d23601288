"""A line for machines without namespaces: a TCP proxy that reads from the gateway no faster than the line carries.

Its buffers are the smallest that the kernel allows, and set before it connects, so that what the line does not carry stays in the
gateway's. Of a loss it has what a client notices: the stream halts for the time of a retransmission. A line that vanishes drops
all packets of its connection to the gateway: they are not even acknowledged.
"""

import asyncio
import random
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from tests.lines.shape import Shape
from tests.tcp_server import tcp_server
from tests.vanishing import drop_everything

_PIECE = 512
_RECEIVE_BUFFER = 4096
_ACROSS = 65_536
_SEGMENT = 1460
_SHORTEST_RETRANSMISSION = 0.2


class Proxy:
    """Such a proxy in front of one gateway. Its ``shape`` may change at any time."""

    def __init__(self, shape: Shape, gateway: int) -> None:
        self.port = 0
        self.shape = shape
        self._gateway = gateway
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._busy_until = {True: self._began, False: self._began}
        self._vanished = False
        self._ended = asyncio.Event()
        self._connections: set[socket.socket] = set()
        self._chance = random.Random(1)

    def vanish(self) -> None:
        """Let nothing pass from now on."""
        self._vanished = True
        for connection in self._connections:
            drop_everything(connection)

    def end(self) -> None:
        """Let go of the connections of a line that has vanished."""
        self._ended.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry a connection until either end closes it."""
        with socket.socket() as gateway:
            gateway.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            gateway.setblocking(False)
            await self._loop.sock_connect(gateway, ("127.0.0.1", self._gateway))
            self._connections.add(gateway)
            ways = [asyncio.create_task(self._down(gateway, writer)), asyncio.create_task(self._up(reader, gateway))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                self._connections.discard(gateway)

    async def _down(self, gateway: socket.socket, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=0)
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_ACROSS // _PIECE)
        arriving = asyncio.create_task(self._arrive(on_the_way, writer))
        try:
            while piece := await self._loop.sock_recv(gateway, _PIECE):
                await on_the_way.put((await self._carry(len(piece), down=True), piece))
            await on_the_way.put((0, b""))
            await arriving
        finally:
            arriving.cancel()

    async def _arrive(self, on_the_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, piece = await on_the_way.get()
            if not piece:
                return
            await asyncio.sleep(due - self._loop.time())
            await self._unless_vanished()
            writer.write(piece)
            await writer.drain()

    async def _up(self, reader: asyncio.StreamReader, gateway: socket.socket) -> None:
        while piece := await reader.read(_PIECE):
            await self._carry(len(piece), down=False)
            await self._loop.sock_sendall(gateway, piece)

    async def _carry(self, size: int, *, down: bool) -> float:
        """Wait until the line has taken so many bytes, and return when they arrive."""
        shape = self.shape
        begins = max(self._loop.time(), self._busy_until[down]) - self._began
        ends = shape.after_stall(begins) + (size / shape.rate if shape.rate else 0)
        if down and self._chance.random() < shape.loss * size / _SEGMENT:
            ends += max(_SHORTEST_RETRANSMISSION, 2 * shape.delay)
        self._busy_until[down] = self._began + ends
        await asyncio.sleep(self._busy_until[down] - self._loop.time())
        await self._unless_vanished()
        return self._busy_until[down] + (shape.delay if down else 0)

    async def _unless_vanished(self) -> None:
        if self._vanished:
            await self._ended.wait()
            raise ConnectionAbortedError


@asynccontextmanager
async def throttled(shape: Shape, gateway: int) -> AsyncGenerator[Proxy]:
    """A proxy of this shape in front of the gateway on this port."""
    proxy = Proxy(shape, gateway)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await proxy.serve(reader, writer)

    async with tcp_server(serve, limit=_PIECE) as proxy.port:
        try:
            yield proxy
        finally:
            proxy.end()
