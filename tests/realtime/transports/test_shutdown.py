"""A gateway stops: it tells every client, waits for none beyond the limit, and exits with 0."""

import asyncio
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from app.realtime.log.log import EventLog, open_redis
from app.realtime.wire.connection import HttpConnection
from tests.gateways import RunningGateway, command, gateway
from tests.realtime.listening import tick
from tests.realtime.plain_clients import plain_socket
from tests.realtime.socket_clients import POLLING, UPGRADE, WEBSOCKET, StockClient, raw_polling, raw_socket, stock_client
from tests.realtime.stream_clients import RawStream, Reading, open_stream, raw_stream, tcp
from tests.waiting import wait_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_many_clients_of_every_kind_are_let_go_within_a_second_or_two(
    number: signal.Signals, valkey_url: str, tmp_path: Path
) -> None:
    # Longer than the test waits for the process: a client that is not let go fails it.
    environment = {"REDIS_URL": valkey_url, "DATA_DIR": str(tmp_path), "SHUTDOWN_TIMEOUT": "90"}
    async with command("gateway", "--port", "0", cwd=tmp_path, **environment) as process, AsyncExitStack() as stack:
        url = await process.ready_url()
        streams = [await stack.enter_async_context(open_stream(url, "/stream?pairs=*")) for _ in range(100)]
        old = await stack.enter_async_context(raw_stream(url, "/stream?pairs=*", version="1.0"))
        sockets = [await stack.enter_async_context(raw_socket(url, joined=True)) for _ in range(50)]
        plain = [await stack.enter_async_context(plain_socket(url, "?pairs=*")) for _ in range(50)]
        polling = [await stack.enter_async_context(raw_polling(url, joined=True)) for _ in range(50)]
        stock: list[StockClient] = []
        for transports in (WEBSOCKET, POLLING, UPGRADE):
            stock.append(await stack.enter_async_context(stock_client(url, transports)))
            await stock[-1].call("subscribe", {"pairs": "*"})
        polls = [asyncio.create_task(session.poll()) for session in polling]

        assert await process.stop(number) == 0, process.text

        retries = []
        for stream in streams:
            await stream.read_to_end()
            retries.append(stream.parser.retries[-1])
        assert all(500 <= retry < 5000 for retry in retries)
        assert len(set(retries)) > 50, "clients come back at different times"
        await old.read_to_end()
        assert [await socket.end() for socket in sockets] == [1012] * 50
        assert [(await client.end())[0] for client in plain] == [1012] * 50
        farewells = [
            message.data["retry_ms"] for client in plain for message in client.received if message.type == "stream_closing"
        ]
        assert len(farewells) == 50
        assert len(set(farewells)) > 25
        for answered in await asyncio.gather(*polls, return_exceptions=True):
            assert answered == ["1"] or isinstance(answered, httpx.TransportError), "a poll that came too late is not answered"
        await wait_until(lambda: all(client.gone for client in stock), "the stock clients know")
        assert "Traceback" not in process.text
        assert "ERROR" not in process.text


async def test_a_client_that_does_not_read_delays_the_stop_no_longer_than_configured(valkey_url: str, tmp_path: Path) -> None:
    environment = {"REDIS_URL": valkey_url, "DATA_DIR": str(tmp_path), "SHUTDOWN_TIMEOUT": "1"}
    async with command("gateway", "--port", "0", cwd=tmp_path, **environment) as process, open_redis(valkey_url) as redis:
        url = await process.ready_url()
        parts = urlsplit(url)
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((parts.hostname, parts.port))
            deaf.sendall(b"GET /stream?pairs=* HTTP/1.1\r\nHost: x\r\n\r\n")
            publisher = EventLog(redis).publisher()
            async with open_stream(url, "/stream?pairs=*") as other:
                for _ in range(40):
                    [*_, last] = await publisher.publish([tick("EUR_USD") for _ in range(100)])
                await other.read_until(last)
            assert await process.stop() == 0


async def test_polls_that_wait_are_answered_with_a_close(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(raw_polling(running.url, joined=True)) for _ in range(5)]
        polls = [asyncio.create_task(session.poll()) for session in sessions]
        await wait_until(lambda: len(running.server.server_state.tasks) == 5, "every poll waits")
        running.app.stop_streaming()
        assert await asyncio.gather(*polls) == [["1"]] * 5
        assert (await sessions[0].get()).status_code == 400


async def test_a_stream_whose_head_waits_ends_with_the_rest(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path, shutdown_timeout=1) as running:
        reader, writer = await tcp(running.url, Reading(4096, None))
        answers = 0
        while not any(connection.is_full for connection in http_connections(running)):
            writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
            answers += 1
            await wait_until(lambda: running.server.server_state.total_requests == answers, "it is answered")  # noqa: B023
        writer.write(b"GET /stream?pairs=* HTTP/1.1\r\nHost: x\r\n\r\n")
        await wait_until(lambda: len(running.hub.clients) == 1, "the stream has its place")
        running.app.stop_streaming()
        stream = RawStream(reader, writer)
        for _ in range(answers):
            await stream.read_head()
            await reader.readexactly(int(stream.header("content-length") or 0))
        await reader.read()
        await wait_until(lambda: len(running.hub.clients) == 0, "the stream is gone")
        writer.close()


def http_connections(running: RunningGateway) -> list[HttpConnection]:
    """The connections that are no websockets."""
    connections: set[Any] = set(running.server.server_state.connections)
    return [one for one in connections if isinstance(one, HttpConnection)]
