import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from app.realtime.wire.wire import SCOPE_KEY, Wire, WireUser, way_of, wire_of, write_to_all
from tests.realtime.listening import ListTransport
from tests.waiting import wait_until

_MARK = 65_536


class _Opened(asyncio.Protocol, WireUser):
    """A server's side of a connection, with a wire that tells what happens to it."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.made, self.lost = (asyncio.get_running_loop().create_future() for _ in range(2))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.wire = Wire(transport)
        self.made.set_result(None)

    def open(self, mark: int = _MARK) -> None:
        self.wire.open(mark, self)

    def wire_full(self) -> None:
        self.told.append("full")

    def wire_has_room(self) -> None:
        self.told.append("room")

    def wire_gone(self) -> None:
        self.told.append("gone")

    def pause_writing(self) -> None:
        self.wire.full()

    def resume_writing(self) -> None:
        self.wire.room()

    def connection_lost(self, exc: Exception | None) -> None:
        self.wire.gone()
        self.lost.set_result(None)


@asynccontextmanager
async def connection() -> AsyncGenerator[tuple[_Opened, socket.socket]]:
    """A server's side of a TCP connection, and the client's socket."""
    loop = asyncio.get_running_loop()
    made: asyncio.Queue[_Opened] = asyncio.Queue()

    def protocol() -> _Opened:
        made.put_nowait(opened := _Opened())
        return opened

    async with await loop.create_server(protocol, "127.0.0.1", 0) as server:
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, server.sockets[0].getsockname())
            opened = await made.get()
            await opened.made
            try:
                yield opened, client
            finally:
                if not opened.lost.done():
                    opened.transport.abort()
                await opened.lost


async def read_all(client: socket.socket) -> bytes:
    """Everything up to the end of the connection."""
    read = b""
    while data := await asyncio.get_running_loop().sock_recv(client, 1 << 20):
        read += data
    return read


async def test_it_tells_when_the_connection_is_full_and_when_there_is_room_again() -> None:
    async with connection() as (opened, client):
        opened.open()
        while not opened.told:
            opened.transport.write(b"x" * 10_000)
        assert opened.told == ["full"]
        reading = asyncio.create_task(read_all(client))
        await wait_until(lambda: opened.told == ["full", "room"], "the connection has room again")
        assert opened.transport.get_write_buffer_size() <= _MARK / 4
        opened.transport.close()
        assert len(await reading) > _MARK


async def test_what_the_kernel_takes_of_a_slow_client_is_little() -> None:
    async with connection() as (opened, _):
        opened.open()
        assert opened.transport.get_write_buffer_limits() == (_MARK // 4, _MARK)
        tcp = opened.transport.get_extra_info("socket")
        assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 16_384


async def test_it_works_on_a_connection_that_is_not_tcp() -> None:
    here, there = socket.socketpair()
    with there:
        transport, opened = await asyncio.get_running_loop().create_unix_connection(_Opened, sock=here)
        opened.open()
        opened.wire.finish(b"bye")
        await opened.lost
        assert there.recv(10) == b"bye"
    assert transport.is_closing()


async def test_it_works_on_a_transport_without_a_socket() -> None:
    class Memory(asyncio.Transport):
        limits: tuple[int | None, int | None] = (None, None)

        def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
            self.limits = (high, low)

    transport = Memory()
    Wire(transport).open(_MARK, WireUser())
    assert transport.limits == (_MARK, None)


async def test_before_it_is_open_it_calls_no_user() -> None:
    async with connection() as (opened, _):
        opened.wire.full()
        opened.wire.room()
        opened.open()
        assert opened.told == []


async def test_a_wire_that_is_opened_too_late_says_so() -> None:
    async with connection() as (opened, client):
        client.close()
        await opened.lost
        opened.open()
        assert opened.told == ["gone"]


async def test_a_user_that_only_watches_leaves_the_limits_as_they_are() -> None:
    async with connection() as (opened, client):
        limits = opened.transport.get_write_buffer_limits()
        opened.wire.watch(opened)
        assert opened.transport.get_write_buffer_limits() == limits
        opened.wire.unwatch()
        opened.wire.full()
        assert opened.told == []
        opened.wire.watch(opened)
        client.close()
        await opened.lost
        opened.wire.watch(opened)
        assert opened.told == ["gone", "gone"], "a user that comes too late is told at once"


def test_what_is_kept_for_a_request_is_let_go_once() -> None:
    told: list[str] = []
    wire = Wire(asyncio.Transport(), lambda: told.append("let go"))
    wire.let_go()
    wire.let_go()
    assert told == ["let go"]


async def test_the_end_is_told_once_and_nothing_after_it() -> None:
    async with connection() as (opened, client):
        opened.open()
        client.close()
        await opened.lost
        opened.wire.full()
        opened.wire.room()
        opened.wire.gone()
        assert opened.told == ["gone"]


async def test_an_aborted_connection_drops_what_is_unsent() -> None:
    async with connection() as (opened, _):
        opened.open()
        while "full" not in opened.told:
            opened.transport.write(b"x" * 100_000)
        unsent = opened.transport.get_write_buffer_size()
        opened.wire.abort()
        assert opened.told == ["full", "gone"]
        assert unsent > 0
        assert opened.transport.get_write_buffer_size() == 0
        await opened.lost
        assert opened.told == ["full", "gone"]


async def test_a_finished_connection_gets_its_last_bytes() -> None:
    async with connection() as (opened, client):
        opened.open()
        opened.transport.write(b"news and ")
        opened.wire.finish(b"goodbye")
        assert opened.told == ["gone"]
        assert await read_all(client) == b"news and goodbye"


async def test_a_connection_that_is_closing_is_not_written_to_again() -> None:
    async with connection() as (opened, client):
        opened.open()
        opened.transport.close()
        opened.wire.finish(b"goodbye")
        assert opened.told == ["gone"]
        assert await read_all(client) == b""


async def test_a_wire_is_found_in_the_scope_of_a_server_that_offers_one() -> None:
    wire = Wire(asyncio.Transport())
    assert wire_of({"state": {SCOPE_KEY: wire}}) is wire


@pytest.mark.parametrize("scope", [{}, {"state": None}, {"state": {}}, {"state": {SCOPE_KEY: {}}}])
def test_other_servers_offer_no_wire(scope: dict[str, object]) -> None:
    assert wire_of(scope) is None


async def test_many_are_written_to_at_once_and_what_one_does_not_take_comes_in_order() -> None:
    async with connection() as (ready, reading), connection() as (full, stalled):
        for opened in (ready, full):
            opened.open(mark=1 << 24)
        ways = [way_of(opened.transport) for opened in (ready, full)]
        assert all(way.descriptor > 0 for way in ways)
        while not full.transport.get_write_buffer_size():
            write_to_all(ways[1:], b"a" * 100_000)
        write_to_all(ways, b"b" * 1000)
        write_to_all(ways, b"c" * 1000)
        for opened in (ready, full):
            opened.transport.close()
        assert await read_all(reading) == b"b" * 1000 + b"c" * 1000
        assert (await read_all(stalled)).lstrip(b"a") == b"b" * 1000 + b"c" * 1000


async def test_who_is_gone_does_not_keep_the_others_from_being_written_to() -> None:
    async with connection() as (gone, _), connection() as (here, client):
        gone.open()
        here.open()
        ways = [way_of(opened.transport) for opened in (gone, here)]
        gone.transport.abort()
        await gone.lost
        write_to_all(ways, b"news")
        here.transport.close()
        assert await read_all(client) == b"news"


def test_a_transport_without_a_socket_is_written_to_itself() -> None:
    written: list[bytes] = []
    write_to_all([way_of(ListTransport(written))], b"news")
    assert written == [b"news"]
