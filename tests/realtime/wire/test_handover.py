"""Connections that move between two workers, here two servers in one process, so that a test chooses who accepts."""

import asyncio
import socket
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.config import Settings
from app.main import create_app
from app.realtime.wire import connection as wire_connection
from app.realtime.wire import handover
from app.realtime.wire.handover import Doors, Handover, doors, may_name_worker, worker_named
from app.run.listeners import listen, urls_of
from app.run.server import GatewayServer
from tests.databases import put_sqlite
from tests.gateways import QUIET
from tests.realtime.socket_clients import RawPolling, raw_polling, raw_socket
from tests.realtime.stream_clients import RawStream, Reading, tcp
from tests.waiting import wait_until


@dataclass(frozen=True)
class Worker:
    """One of the workers, on a port of its own."""

    url: str
    server: GatewayServer
    doors: Doors

    @property
    def connections(self) -> int:
        """How many HTTP connections it has."""
        return len(self.server.server_state.connections)


@asynccontextmanager
async def _working(valkey_url: str, settings: Settings, ways: Doors) -> AsyncGenerator[Worker]:
    ready: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
    [listeners] = listen(["127.0.0.1"], 0)
    server = GatewayServer(
        create_app(settings, valkey_url, worker=str(ways.worker)),
        listeners,
        keepalive_timeout=settings.keepalive_timeout,
        shutdown_timeout=1,
        ready=ready.set_result,
        handover=Handover(ways),
    )
    serving = asyncio.create_task(server.run_until_stopped())
    try:
        await wait_until(lambda: serving.done() or bool(ready.done() and ways.adopts[ways.worker - 1]), "it is ready", 30)
        yield Worker(urls_of(listeners)[0], server, ways)
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


@asynccontextmanager
async def working(valkey_url: str, folder: Path, **options: Any) -> AsyncGenerator[tuple[Worker, Worker]]:
    """Worker 1 and worker 2, which have no connection left in the end."""
    await put_sqlite(folder / "gateway.db")
    settings = Settings(**{**QUIET, "data_dir": folder, **options})
    both = doors(2, array("b", [0, 0]))
    try:
        async with _working(valkey_url, settings, both[0]) as first, _working(valkey_url, settings, both[1]) as second:
            yield first, second
            await wait_until(lambda: first.connections + second.connections == 0, "every connection is closed")
    finally:
        for ways in both:
            ways.inbox.close()
        for outlet in both[0].outlets:
            outlet.close()


@pytest_asyncio.fixture
async def workers(valkey_url: str, tmp_path: Path) -> AsyncIterator[tuple[Worker, Worker]]:
    """The workers of a test that needs nothing special."""
    async with working(valkey_url, tmp_path) as both:
        yield both


def request(sid: str, *, method: str = "GET", body: bytes = b"") -> bytes:
    """A request of a polling session."""
    head = f"{method} /socket.io/?EIO=4&transport=polling&t=ab1&sid={sid} HTTP/1.1\r\nHost: x\r\n"
    return head.encode() + (b"Content-Length: %d\r\n" % len(body) if method == "POST" else b"") + b"\r\n" + body


async def answer(stream: RawStream) -> tuple[int, bytes]:
    """The next answer on a connection."""
    await asyncio.wait_for(stream.read_head(), 10)
    if stream.header("transfer-encoding") != "chunked":
        return stream.status, await stream.reader.readexactly(int(stream.header("content-length") or 0))
    body = b""
    while size := int(await stream.reader.readline(), 16):
        body += await stream.reader.readexactly(size)
        await stream.reader.readline()
    await stream.reader.readline()
    return stream.status, body


@asynccontextmanager
async def connection(url: str, reading: Reading | None = None) -> AsyncGenerator[RawStream]:
    """A connection that nothing was sent over yet."""
    reader, writer = await (tcp(url, reading) if reading else tcp(url))
    try:
        yield RawStream(reader, writer)
    finally:
        writer.close()


async def test_a_session_is_served_over_connections_that_any_worker_accepts(workers: tuple[Worker, Worker]) -> None:
    first, second = workers
    async with raw_polling(first.url) as session, httpx.AsyncClient(base_url=second.url, trust_env=False) as other:
        assert session.sid.startswith("w1.")
        elsewhere = RawPolling(other, session.sid)
        await elsewhere.join()
        assert second.connections == 0
        await session.send('42["ping"]')
        [pong] = await elsewhere.poll()
        assert pong.startswith('42["pong",')


async def test_a_kept_connection_moves_with_every_request_that_needs_it(workers: tuple[Worker, Worker]) -> None:
    first, second = workers
    async with (
        raw_polling(first.url, joined=True) as one,
        raw_polling(second.url, joined=True) as two,
        connection(first.url) as stream,
    ):
        for session in (two, one, two, two, one, one):
            stream.writer.write(request(session.sid, method="POST", body=b'42["ping"]'))
            assert await answer(stream) == (200, b"ok")
            stream.writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await answer(stream))[0] == 200
            stream.writer.write(request(session.sid))
            status, body = await answer(stream)
            assert status == 200
            assert body.startswith(b'42["pong",')


async def test_a_body_may_follow_on_the_connection_that_has_moved(workers: tuple[Worker, Worker]) -> None:
    first, second = workers
    packets = b"\x1e".join([b'42["ping"]'] * 5)
    async with raw_polling(second.url, joined=True) as session, connection(first.url) as stream:
        whole = request(session.sid, method="POST", body=packets)
        stream.writer.write(whole[:-20])
        await wait_until(lambda: first.connections == 0, "the connection has moved")
        stream.writer.write(whole[-20:])
        assert await answer(stream) == (200, b"ok")
        assert len(await session.poll()) == 5


async def test_a_large_body_moves_whole(workers: tuple[Worker, Worker]) -> None:
    first, second = workers
    async with raw_polling(second.url, joined=True) as session, connection(first.url) as stream:
        packets = b"\x1e".join([b'42["ping",{"filler":"%s"}]' % (b"x" * 20_000)] * 40)
        stream.writer.write(request(session.sid, method="POST", body=packets))
        assert await answer(stream) == (200, b"ok")


async def test_a_session_changes_over_to_a_websocket_that_another_worker_accepts(workers: tuple[Worker, Worker]) -> None:
    first, second = workers
    async with raw_polling(first.url, joined=True) as session, raw_socket(second.url, sid=session.sid) as websocket:
        await websocket.send("2probe")
        assert await websocket.read() == "3probe"
        assert await session.poll() == ["6"]
        await websocket.send("5")
        await websocket.answers()


async def test_a_request_line_may_come_in_pieces(workers: tuple[Worker, Worker]) -> None:
    first, second = workers
    async with raw_polling(second.url, joined=True) as session:
        data = b"\r\n" + request(session.sid, method="POST", body=b'42["ping"]')
        for pieces in (1, 7, 40):
            async with connection(first.url) as stream:
                for start in range(0, len(data), pieces):
                    stream.writer.write(data[start : start + pieces])
                    await asyncio.sleep(0.001)
                assert await answer(stream) == (200, b"ok")


@pytest.mark.parametrize("sent", [b"GET /socket.io/?EIO=4&transport=polling&sid=w", b"GE", b"\r\nPOST /sock"])
async def test_half_a_request_line_is_not_waited_for(
    sent: bytes, workers: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_connection, "REQUEST_WITHIN", 0.3)
    async with connection(workers[0].url) as stream:
        stream.writer.write(sent)
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(stream.reader.read(), 10) == b""


HOSTILE = [
    "w99.x",
    "w0.x",
    "w-1.x",
    "w2",
    "w2.junk",
    "w2.",
    "w1.junk",
    "w02.x",
    "w3.x",
    "w.",
    "w2%2Ex",
    "w" * 9000,
    "w2." + "x" * 9000,
]


@pytest.mark.parametrize("sid", HOSTILE, ids=lambda sid: sid[:8])
async def test_a_session_that_there_is_not_is_refused(sid: str, workers: tuple[Worker, Worker]) -> None:
    async with connection(workers[0].url) as stream:
        stream.writer.write(request(sid))
        assert (await answer(stream))[0] == 400


async def test_what_looks_like_a_request_inside_a_body_moves_nothing(workers: tuple[Worker, Worker]) -> None:
    first, second = workers
    async with raw_polling(second.url, joined=True) as session, connection(first.url) as stream:
        smuggled = request(session.sid)
        head = f"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: {len(smuggled)}\r\n\r\n"
        stream.writer.write(head.encode())
        assert (await answer(stream))[0] in (401, 403)  # as it has no token, before its body has come
        stream.writer.write(smuggled)
        stream.writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await answer(stream))[0] == 200
        assert (first.connections, second.connections) == (1, 1), "only the session's own connection is at the second"


async def test_the_session_of_a_worker_that_is_gone_is_refused(workers: tuple[Worker, Worker]) -> None:
    first, second = workers
    async with raw_polling(second.url, joined=True) as session, connection(first.url) as stream:
        second.doors.adopts[1] = 0
        stream.writer.write(request(session.sid))
        assert (await answer(stream))[0] == 400


async def test_a_worker_without_room_is_waited_for_but_not_for_ever(
    workers: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = workers
    inbox = second.doors.inbox
    asyncio.get_running_loop().remove_reader(inbox.fileno())
    outlet = second.doors.outlets[1]
    filled = 0
    with suppress(BlockingIOError):
        while True:
            outlet.send(b"x" * 10_000)
            filled += 1
    async with raw_polling(second.url, joined=True) as session, AsyncExitStack() as stack:
        waiting, late = [await stack.enter_async_context(connection(first.url)) for _ in range(2)]
        waiting.writer.write(request(session.sid, method="POST", body=b'42["ping"]'))
        await wait_until(lambda: first.connections == 1, "one waits to move")
        for _ in range(filled):
            inbox.recv(20_000)
        [(moved, data)] = await _next_move(inbox)
        assert data.endswith(b'42["ping"]')
        moved.close()

        with suppress(BlockingIOError):
            while True:
                outlet.send(b"x" * 10_000)
        monkeypatch.setattr(handover, "MOVES_WITHIN", 0.2)
        late.writer.write(request(session.sid))
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(late.reader.read(), 10) == b""
        assert "worker 2 accepts no connections; closing one" in caplog.text
        with suppress(BlockingIOError):
            while True:
                inbox.recv(20_000)


async def _next_move(inbox: socket.socket) -> list[tuple[socket.socket, bytes]]:
    moved: list[tuple[socket.socket, bytes]] = []

    def has_come() -> bool:
        with suppress(BlockingIOError):
            data, [descriptor], _, _ = socket.recv_fds(inbox, 100_000, 1)
            moved.append((socket.socket(fileno=descriptor), data))
        return bool(moved)

    await wait_until(has_come, "the connection has moved")
    return moved


async def test_a_session_without_the_trailing_slash_is_found_as_well(workers: tuple[Worker, Worker]) -> None:
    first, second = workers
    async with raw_polling(second.url, joined=True) as session, connection(first.url) as stream:
        stream.writer.write(request(session.sid, method="POST", body=b'42["ping"]').replace(b"/socket.io/?", b"/socket.io?"))
        assert await answer(stream) == (200, b"ok")
        assert (first.connections, second.connections > 0) == (0, True)


async def test_a_connection_moves_only_when_the_last_answer_is_out(workers: tuple[Worker, Worker]) -> None:
    first, second = workers
    async with raw_polling(second.url, joined=True) as session, connection(first.url, Reading(4096, 4096)) as stream:
        await wait_until(lambda: first.connections == 1, "it is accepted")
        [server_side] = first.server.server_state.connections
        transport = server_side.transport
        asked = 0
        while not transport.get_write_buffer_size():
            stream.writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
            asked += 1
            await wait_until(lambda: first.server.server_state.total_requests >= asked, "it is answered")  # noqa: B023
        stream.writer.write(request(session.sid, method="POST", body=b'42["ping"]'))
        await wait_until(lambda: not transport.is_reading(), "it waits")
        bodies = [await answer(stream) for _ in range(asked)]
        assert len(set(bodies)) == 1
        assert await answer(stream) == (200, b"ok")
        assert first.connections == 0


@pytest.mark.parametrize("turns", range(8))
async def test_a_connection_that_comes_with_the_end_is_adopted_or_closed(turns: int) -> None:
    adopted: list[socket.socket] = []

    async def adopt(connection: socket.socket, data: bytes) -> None:
        adopted.append(connection)
        await asyncio.sleep(0)

    both = doors(2, array("b", [0, 0]))
    ours, theirs = socket.socketpair()
    with ours, ExitStack() as stack:
        for end in (*both[0].outlets, *(ways.inbox for ways in both)):
            stack.enter_context(end)
        receiving = asyncio.create_task(Handover(both[1]).receive(adopt))
        await wait_until(lambda: bool(both[1].adopts[1]), "it adopts")
        with theirs:
            Handover(both[0]).move(2, theirs, b"")
        for _ in range(turns):
            await asyncio.sleep(0)
        receiving.cancel()
        with suppress(asyncio.CancelledError):
            await receiving
        for connection in adopted:
            connection.close()
        ours.setblocking(False)
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(ours, 1), 10) == b""


@pytest.mark.parametrize(
    ("data", "worker", "may_still"),
    [
        (b"GET /socket.io/?EIO=4&sid=w2.abc HTTP/1.1", 2, False),
        (b"POST /socket.io/?sid=w64.abc", 64, True),
        (b"\r\n\r\nGET /socket.io/?sid=w7.", 7, True),
        (b"GET /socket.io/?sid=abc&sid=w2.x HTTP/1.1", None, False),
        (b"GET /socket.io/?asid=w2.x HTTP/1.1", None, False),
        (b"GET /fx/socket.io/?EIO=4&sid=w2.abc HTTP/1.1", 2, False),
        (b"POST /a/b.c/socket.io/?EIO=4&si", None, True),
        (b"GET /fx//socket.io/?sid=w2.abc HTTP/1.1", None, False),
        (b"GET /socket.io/ HTTP/1.1\r\nX: ?sid=w2.x", None, False),
        (b"GET /socket.io/?EIO=4 HTTP/1.1\r\nX: &sid=w2.x", None, False),
        (b"PUT /socket.io/?sid=w2.x HTTP/1.1", None, False),
        (b"GET /health?sid=w2.x", None, False),
        (b"GET /socket.io/?EIO=4&si", None, True),
        (b"G", None, True),
        (b"GET /h", None, False),
        (b"\r\n", None, False),
        (b"", None, False),
        (b"GET /socket.io/?" + b"x" * handover.LONGEST_LINE, None, False),
    ],
    ids=lambda value: value[:30].decode() if isinstance(value, bytes) else None,
)
def test_the_request_line_names_the_worker(data: bytes, worker: int | None, may_still: bool) -> None:
    assert (worker_named(data), may_name_worker(data)) == (worker, may_still)


async def test_a_connection_that_has_moved_is_kept_as_long_as_any(valkey_url: str, tmp_path: Path) -> None:
    async with (
        working(valkey_url, tmp_path, keepalive_timeout=1) as (first, second),
        raw_polling(second.url, joined=True) as session,
        connection(first.url) as stream,
    ):
        stream.writer.write(request(session.sid, method="POST", body=b'42["ping"]'))
        assert await answer(stream) == (200, b"ok")
        assert first.connections == 0
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.reader.read(1), 0.6)
        assert await asyncio.wait_for(stream.reader.read(1), 10) == b""
