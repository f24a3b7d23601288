"""Several workers on one port, as processes of the command that users run."""

import asyncio
import re
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from app.realtime.log.log import EventLog, open_redis
from tests.databases import on_postgres, put_sqlite
from tests.gateways import GatewayProcess, new_command
from tests.realtime.listening import tick
from tests.realtime.plain_clients import plain_refusal, plain_socket
from tests.realtime.socket_clients import (
    POLLING,
    UPGRADE,
    WEBSOCKET,
    RawPolling,
    StockClient,
    raw_socket,
    refusal,
    stock_client,
)
from tests.realtime.stream_clients import RawStream, open_stream, raw_stream
from tests.waiting import wait_until

WORKERS = 3


@asynccontextmanager
async def gateway(
    redis_url: str, folder: Path, *, workers: int = WORKERS, **environment: str
) -> AsyncGenerator[tuple[GatewayProcess, str]]:
    """A gateway of several workers that serves, and where."""
    if not on_postgres():
        await put_sqlite(folder / "data" / "gateway.db")
    environment = {"REDIS_URL": redis_url, "SHUTDOWN_TIMEOUT": "2", "WORKERS": str(workers), **environment}
    async with new_command("gateway", "--port", "0", cwd=folder, **environment) as process:
        yield process, await process.ready_url()


def workers_of(pid: int) -> list[psutil.Process]:
    """The processes of the workers, in the order in which they were started."""
    with suppress(psutil.NoSuchProcess):
        return sorted((one for one in psutil.Process(pid).children() if "spawn_main" in " ".join(one.cmdline())), key=_age)
    return []


def _age(process: psutil.Process) -> float:
    return float(process.create_time())


def family_of(pid: int) -> list[psutil.Process]:
    """A gateway's processes, all of them."""
    one = psutil.Process(pid)
    return [one, *one.children(recursive=True)]


async def all_gone(family: Iterable[psutil.Process]) -> None:
    """Return when none of these is left, not even as a zombie."""
    await wait_until(
        lambda: not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE], "all end", 30
    )


async def total(url: str) -> int:
    """How many streaming clients a worker says there are."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        return int((await http.get("/health")).json()["active_clients"])


async def test_every_client_gets_every_event_once_and_in_order(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as (_, url), open_redis(valkey_url) as redis, AsyncExitStack() as stack:
        stock: list[StockClient] = []
        for transports in (WEBSOCKET, POLLING, UPGRADE) * 3:
            stock.append(await stack.enter_async_context(stock_client(url, transports)))
            await stock[-1].call("subscribe", {"pairs": "*"})
        streams = [await stack.enter_async_context(open_stream(url, "/stream?pairs=*")) for _ in range(6)]
        plain = [await stack.enter_async_context(plain_socket(url, "?pairs=*")) for _ in range(6)]
        publisher = EventLog(redis).publisher()
        ids: list[str] = []
        for n in range(60):
            ids += await publisher.publish([tick("EUR_USD", f"1.{n:02}{k}") for k in range(5)])
        for stream in streams:
            await stream.read_until(ids[-1])
            assert stream.ids == ids
        for socket in plain:
            assert await socket.read_until(ids[-1]) == ids
        for client in stock:
            await wait_until(lambda: client.ids[-1:] == ids[-1:], "the last event is there", 30)  # noqa: B023
            assert client.ids == ids
        assert await total(url) == len(stock) + len(streams) + len(plain)


async def test_a_session_lives_in_one_worker_though_its_every_request_is_a_new_connection(
    valkey_url: str, tmp_path: Path
) -> None:
    never_kept = httpx.Limits(max_keepalive_connections=0)
    async with gateway(valkey_url, tmp_path) as (_, url), AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, limits=never_kept, trust_env=False, timeout=30))
        sessions: list[RawPolling] = []

        async def open_one() -> None:
            answer = await http.get("/socket.io/", params={"EIO": "4", "transport": "polling"})
            sessions.append(RawPolling(http, answer.text.partition('"sid":"')[2].partition('"')[0]))
            await sessions[-1].join()

        async def works(session: RawPolling) -> None:
            for _ in range(5):
                await session.send('42["ping"]')
                [pong] = await session.poll()
                assert pong.startswith('42["pong",')

        await asyncio.gather(*(open_one() for _ in range(20)))
        while {session.sid.partition(".")[0] for session in sessions} != {"w1", "w2", "w3"}:
            await open_one()
        await asyncio.gather(*map(works, sessions))
        assert {await total(url) for _ in range(5)} == {len(sessions)}
        assert (await RawPolling(http, "w2.nonsense").get()).status_code == 400
        for session in sessions:
            async with raw_socket(url, sid=session.sid) as websocket:
                await websocket.send("2probe")
                assert await websocket.read() == "3probe"
                await session.poll()
                await websocket.send("5")
                await websocket.answers()
        await wait_until(_is(0, lambda: total(url)), "all have gone")


async def test_the_limit_of_clients_holds_over_all_workers(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path, WEBSOCKET_MAX_CLIENTS="5") as (_, url), AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(raw_socket(url, joined=True))
        await stack.enter_async_context(plain_socket(url, "?pairs=*"))
        streams = [await stack.enter_async_context(open_stream(url, "/stream?pairs=*")) for _ in range(2)]
        for _ in range(5):
            assert await refusal(url, WEBSOCKET)
            async with raw_stream(url, "/stream?pairs=*") as sixth:
                assert sixth.status == 503
            assert (await plain_refusal(url, "?pairs=*"))[0] == 503
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            health = (await http.get("/health")).json()
        assert (health["active_clients"], health["max_clients"]) == (5, 5)
        streams[0].writer.close()
        await wait_until(_is(4, lambda: total(url)), "one has gone")
        await stack.enter_async_context(open_stream(url, "/stream?pairs=*"))


def _is(value: int, ask: Callable[[], Awaitable[int]]) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return await ask() == value

    return holds


def _serves(worker: psutil.Process, stream: RawStream) -> bool:
    port = stream.writer.get_extra_info("sockname")[1]
    return any(one.raddr and one.raddr.port == port for one in worker.net_connections("tcp"))


async def test_a_worker_that_is_killed_is_replaced_and_only_its_own_clients_notice(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as (process, url), open_redis(valkey_url) as redis, AsyncExitStack() as stack:
        victim, *others = workers_of(process.pid)
        assert len(others) == WORKERS - 1
        streams: list[RawStream] = []
        while not (
            any(_serves(victim, stream) for stream in streams)
            and all(any(_serves(other, stream) for stream in streams) for other in others)
        ):
            streams.append(await stack.enter_async_context(open_stream(url, "/stream?pairs=*")))
        lost = [stream for stream in streams if _serves(victim, stream)]
        publisher = EventLog(redis).publisher()
        [first] = await publisher.publish([tick()])
        for stream in streams:
            await stream.read_until(first)
        victim.kill()
        missed = await publisher.publish([tick(bid=f"1.2{n}") for n in range(20)])
        for stream in streams:
            if stream in lost:
                with suppress(asyncio.IncompleteReadError, ConnectionError, ValueError):
                    await stream.read_to_end()
            else:
                await stream.read_until(missed[-1])
                assert stream.ids == [first, *missed]
        resumed = await stack.enter_async_context(open_stream(url, "/stream?pairs=*", Last_Event_ID=first))
        await resumed.read_until(missed[-1])
        assert resumed.opened["recovered"] is True
        assert resumed.ids == missed

        await wait_until(lambda: "worker 1 ended with SIGKILL; restarting it" in process.text, "the restart is logged", 20)
        await wait_until(lambda: len(workers_of(process.pid)) == WORKERS, "there is another", 20)
        replaced = workers_of(process.pid)[-1]
        while not _serves(replaced, streams[-1]):
            streams.append(await stack.enter_async_context(open_stream(url, "/stream?pairs=*")))
        await wait_until(_is(len(streams) - len(lost) + 1, lambda: total(url)), "the dead one's clients are not counted", 20)


async def test_workers_that_keep_dying_end_the_gateway(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path, workers=2) as (process, _):
        family = family_of(process.pid)
        while process.returncode is None:
            for worker in workers_of(process.pid):
                with suppress(psutil.NoSuchProcess):
                    worker.kill()
            await asyncio.sleep(0.05)
        assert await process.wait() == 1
        assert process.output[-1] == "fx-gateway: 5 workers have died within a minute"
        assert "Traceback" not in process.text
        await all_gone(family)


async def test_the_workers_end_with_the_process_that_started_them(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path, workers=2) as (process, url), open_stream(url, "/stream?pairs=*") as stream:
        family = family_of(process.pid)
        assert len(family) > 2
        await process.stop(signal.SIGKILL)
        await stream.read_to_end()
        assert stream.parser.retries[1:], "it was let go"
        await all_gone(family)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_lets_clients_go_and_leaves_nothing_behind(number: signal.Signals, valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path, workers=2) as (process, url), AsyncExitStack() as stack:
        family = family_of(process.pid)
        streams = [await stack.enter_async_context(open_stream(url, "/stream?pairs=*")) for _ in range(10)]
        sockets = [await stack.enter_async_context(raw_socket(url, joined=True)) for _ in range(10)]
        plain = [await stack.enter_async_context(plain_socket(url, "?pairs=*")) for _ in range(10)]
        connecting = asyncio.create_task(_keep_connecting(url))
        # As Ctrl+C in a terminal does, which signals all processes of the group.
        for one in reversed(family):
            one.send_signal(number)
        assert await process.wait() == 0, process.text
        for stream in streams:
            await stream.read_to_end()
            assert stream.parser.retries[1:], "it was given a time to retry after"
        assert [await one.end() for one in sockets] == [1012] * 10
        assert [(await one.end())[0] for one in plain] == [1012] * 10
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        assert not _trouble(process), process.text
        await all_gone(family)


async def test_a_stop_is_heard_while_workers_start(valkey_url: str, tmp_path: Path) -> None:
    async with new_command("gateway", "--port", "0", "--workers", "2", cwd=tmp_path, REDIS_URL=valkey_url) as process:
        await wait_until(lambda: len(workers_of(process.pid)) == 2, "they start", 20)
        family = family_of(process.pid)
        for one in reversed(family):
            one.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        assert not _trouble(process), process.text
        await all_gone(family)


def _trouble(process: GatewayProcess) -> list[str]:
    return [line for line in process.output if re.search("WARNING|ERROR|CRITICAL|Traceback", line)]


async def _keep_connecting(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        while True:
            with suppress(httpx.HTTPError):
                await http.get("/socket.io/", params={"EIO": "4", "transport": "polling"})
            await asyncio.sleep(0.001)


async def test_a_worker_that_cannot_start_ends_the_gateway(valkey_url: str, tmp_path: Path) -> None:
    environment = {"REDIS_URL": valkey_url, "WORKERS": str(WORKERS)}
    async with new_command("gateway", "--port", "0", cwd=tmp_path, **environment) as process:
        await wait_until(lambda: len(workers_of(process.pid)) == WORKERS, "they start", 20)
        family = family_of(process.pid)
        workers_of(process.pid)[1].kill()
        assert await process.wait() == 1
        assert process.output[-1] == "fx-gateway: worker 2 ended with SIGKILL before it could serve"
        assert not _trouble(process), process.text
        await all_gone(family)


@pytest.mark.parametrize("workers", ["1", "3"])
async def test_an_address_that_other_workers_have_is_one_line_and_exit_code_2(
    workers: str, valkey_url: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        async with new_command(
            "gateway", "--port", str(port), "--workers", workers, cwd=tmp_path, REDIS_URL=valkey_url
        ) as process:
            assert await process.wait() == 2
        assert process.output == [f"fx-gateway: cannot listen on 127.0.0.1:{port}: Address already in use"]


async def test_run_keeps_its_companions_beside_the_workers(tmp_path: Path) -> None:
    arguments = ("run", "--port", "0", "--data-dir", "data", "--workers", "2")
    async with new_command(*arguments, cwd=tmp_path, SIMULATED_RATE="200") as process:
        url = await process.ready_url()
        family = family_of(process.pid)
        assert len(workers_of(process.pid)) == 2
        async with open_stream(url, "/stream?pairs=*") as stream:
            await stream.read_events(50)
            assert await process.stop() == 0
            await stream.read_to_end()
        assert "Traceback" not in process.text
        await all_gone(family)
