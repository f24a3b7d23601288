import asyncio
import socket
import struct
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from app.realtime.wire.line import BACKLOG, FIRST_ROOM, LEAST_ROOM, SUSPECT_RTT, Line, tcp_info
from app.realtime.wire.watch import Watch
from app.realtime.wire.wire import Wire, WireUser
from tests.lines.proxy import Proxy, throttled
from tests.lines.shape import FREE, Shape
from tests.realtime.listening import ListTransport
from tests.realtime.wire.test_wire import connection
from tests.waiting import wait_until

MARK = 65_536
SIZE = 280
"""Bytes of a message, about those of a price."""
THIN = 8000
"""Bytes a second of a thin line, a third of what is published."""


# ---------------------------------------------------------------- what is measured


async def test_a_line_that_is_read_at_once_is_not_slow() -> None:
    async with connection() as (opened, client):
        line = Line(opened.transport, MARK)
        for now in range(1, 20):
            opened.transport.write(b"x" * 5000)
            read = 0
            while read < 5000:
                read += len(await asyncio.get_running_loop().sock_recv(client, 65_536))
            line.look(line.began_at + now)
            assert (line.rate, line.is_late, line.has_vanished) == (None, False, False)
            assert line.room() == MARK


async def test_a_line_that_is_not_read_is_late_after_a_second_and_has_no_room() -> None:
    async with connection() as (opened, client):
        client.setsockopt(6, 10, 4096)  # TCP_WINDOW_CLAMP: the client's kernel takes little
        opened.open()
        opened.transport.write(b"x" * 3_000_000)
        await wait_until(lambda: opened.told == ["full"], "the connection is full")
        line = Line(opened.transport, MARK)
        line.look(line.began_at + 0.2)
        assert not line.is_late
        line.look(line.began_at + 1.1)
        assert line.is_late
        assert line.rate is not None
        assert line.room() == 0
        assert line.unsent() > 1_000_000
        assert not line.has_vanished, "its kernel answers"


def test_without_a_kernel_to_ask_the_transport_and_the_clock_tell() -> None:
    transport = ListTransport([])
    line = Line(transport, MARK)
    assert line.room() == MARK
    now = line.began_at
    for unsent in (40_000, 38_000, 36_000, 34_000, 32_000):
        transport.unsent = unsent
        line.look(now := now + 1)
    assert line.is_late
    assert line.rate is not None
    assert 1000 < line.rate < 2500
    assert line.room() == 0
    assert line.progressed_at == now
    transport.unsent = 0
    line.look(now + 1)
    assert line.room() > LEAST_ROOM


async def test_the_kernel_tells_when_it_last_heard_of_a_client() -> None:
    async with connection() as (opened, client):
        await asyncio.get_running_loop().sock_sendall(client, b"x" * 123)
        info = None
        for _ in range(100):
            info = tcp_info(opened.transport.get_extra_info("socket"))
            assert info is not None
            if info.bytes_received == 123:
                break
            await asyncio.sleep(0.01)
        assert info is not None
        assert (info.bytes_received, info.unacked, info.probes) == (123, 0, 0)
        assert info.last_data_recv < 10_000
        line = Line(opened.transport, MARK)
        assert time.monotonic() - line.progressed_at < 10


# ---------------------------------------------------------------- a thin line


class Publisher(asyncio.Protocol, WireUser):
    """Sends messages with their times: at a steady pace while it may, and as there is room while it is told to wait."""

    def __init__(self, made: asyncio.Queue["Publisher"]) -> None:
        self.told: list[float | None] = []
        """The rate of the line whenever it was full."""
        self.is_full = False
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.wire = Wire(transport)
        self._made.put_nowait(self)

    def send(self, number: int) -> None:
        """Send messages at once."""
        self.wire.transport.write((struct.pack("d", time.monotonic()) + b"x" * (SIZE - 8)) * number)

    async def publish(self, pace: float) -> None:
        """Send a snapshot, and then so many messages a second while the wire is not full."""
        self.wire.open(MARK, self)
        self.send(20)
        while True:
            await asyncio.sleep(1 / pace)
            if not self.is_full:
                self.send(1)

    def wire_full(self) -> None:
        self.told.append(self.wire.line.rate)
        self.is_full = True

    def wire_has_room(self) -> None:
        if self.is_full:
            self.send(self.wire.line.room() // SIZE)
            self.is_full = self.wire.line.rate is not None

    def pause_writing(self) -> None:
        self.wire.full()

    def resume_writing(self) -> None:
        self.wire.room()

    def connection_lost(self, exc: Exception | None) -> None:
        self.wire.lost(exc)


class Client:
    """Reads messages from a port, and keeps the time at which each has arrived with its age, in seconds."""

    def __init__(self) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.arrived: asyncio.Queue[tuple[float, float]] = asyncio.Queue()

    async def read(self) -> None:
        """Read until cancelled."""
        unread = b""
        while True:
            unread += await asyncio.get_running_loop().sock_recv(self.socket, 65_536)
            while len(unread) >= SIZE:
                [sent] = struct.unpack("d", unread[:8])
                self.arrived.put_nowait((time.monotonic(), time.monotonic() - sent))
                unread = unread[SIZE:]


@asynccontextmanager
async def published(client: Client, pace: float, line: Shape = FREE) -> AsyncGenerator[tuple[Publisher, Proxy]]:
    """A publisher whose client is behind a proxy; without a shape, the client connects to it directly."""
    made: asyncio.Queue[Publisher] = asyncio.Queue()
    async with await asyncio.get_running_loop().create_server(lambda: Publisher(made), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with throttled(line, port) as proxy:
            with client.socket:
                address = ("127.0.0.1", port if line is FREE else proxy.port)
                await asyncio.get_running_loop().sock_connect(client.socket, address)
                publisher = await made.get()
                works = [publisher.publish(pace), Watch([publisher]).run(), client.read()]
                tasks = [asyncio.create_task(work) for work in works]
                try:
                    yield publisher, proxy
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
                    publisher.wire.abort()


async def test_no_more_is_on_a_thin_line_than_it_carries_in_a_second() -> None:
    client = Client()
    async with published(client, 80, Shape("", rate=THIN)) as (publisher, proxy):
        began = time.monotonic()
        ages: list[float] = []
        while (moment := await client.arrived.get())[0] < began + 10:
            if moment[0] > began + 5:  # what was sent before the line was known to be thin has arrived
                ages.append(moment[1])
        assert publisher.told
        assert max(ages) < 2.5  # the second, and what the proxy holds
        assert len(ages) * SIZE > 0.6 * THIN * 5
        rate = publisher.wire.line.rate
        assert rate is not None
        assert 0.5 * THIN < rate < 1.4 * THIN
        proxy.shape = Shape("", rate=1_000_000)
        await wait_until(lambda: not publisher.is_full, "the line is not thin any more")


async def test_a_new_line_whose_round_trips_are_long_gets_little_at_first() -> None:
    near, far = Client(), Client()
    far.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)  # its kernel takes 0.2 s to acknowledge the handshake
    async with published(near, 1) as (first, _), published(far, 1) as (second, _):
        info = tcp_info(second.wire.transport.get_extra_info("socket"))
        assert info is not None
        assert info.min_rtt > SUSPECT_RTT * 1e6
        await wait_until(lambda: bool(second.told), "the second is measured before it gets more", 1)
        assert second.told[0] == FIRST_ROOM / BACKLOG
        assert not first.told
