"""What is kept of a client that only listens: a connection and a subscription, no task, no request."""

import asyncio
import gc
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from starlette.requests import Request

from app.realtime.log.log import EventLog, open_redis
from app.realtime.transports.engine.packet import LARGEST_MESSAGE
from app.realtime.wire import requests
from tests.gateways import gateway
from tests.realtime.listening import data_ready, tick
from tests.realtime.plain_clients import plain_socket
from tests.realtime.socket_clients import event_of, raw_socket
from tests.realtime.stream_clients import open_stream
from tests.waiting import wait_until


async def test_clients_that_listen_keep_no_task_and_no_request(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, AsyncExitStack() as stack:
        server = running.server.server_state
        before = asyncio.all_tasks()
        others = _requests()
        for _ in range(5):
            socket = await stack.enter_async_context(raw_socket(running.url, joined=True))
            await socket.send('42["subscribe",{"pairs":"*"}]')
            assert event_of(await socket.read())[0] == "subscription_confirmed"
            await stack.enter_async_context(open_stream(running.url, "/stream?pairs=*"))
            await stack.enter_async_context(plain_socket(running.url, "?pairs=*"))
        await wait_until(lambda: not server.tasks, "no request is being answered")
        assert len(running.hub.clients) == 15
        assert asyncio.all_tasks() == before
        assert [request for request in _requests() if request not in others] == []
        kinds = sorted(type(connection).__name__ for connection in server.connections)
        assert kinds == ["DetachedStream"] * 5 + ["WebSocketConnection"] * 10


def _requests() -> list[Request]:
    """All that this process keeps, also of tests before this one."""
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, Request)]


async def test_a_message_in_parts_is_one_message(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_socket(running.url, joined=True) as socket:
        await socket.connection.send(iter(["42[", '"pi', 'ng"]']))
        assert event_of(await socket.read())[0] == "pong"
        await socket.connection.send(iter([b"4", b"2"]))  # no attachment is due
        assert await socket.end() == 1006


async def test_messages_sent_before_the_answers_are_read_are_answered_in_order(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_socket(running.url, joined=True) as socket:
        questions = ['42%d["ping"]', '42%d["get_subscriptions"]', '42%d["request_all_prices"]']
        await socket.send(*(questions[number % 3] % number for number in range(20)))
        acknowledged: list[int] = []
        while len(acknowledged) < 20:
            packet = await socket.read()
            if packet.startswith("43"):
                acknowledged.append(int(packet[2 : packet.index("[")]))
        assert acknowledged == list(range(20))


async def test_who_goes_on_sending_to_a_stream_is_cut_off(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_stream(running.url, "/stream/EUR_USD") as stream:
        stream.writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        async with open_redis(valkey_url) as redis:
            [id] = await EventLog(redis).publisher().publish([tick("EUR_USD")])
            await stream.read_until(id)  # one request too many is not answered, and does no harm
        stream.writer.write(b"x" * (requests.LARGEST_HEAD + 1))
        await wait_until(lambda: len(running.hub.clients) == 0, "the client is cut off")


@pytest.mark.parametrize("message", ["4" + "x" * LARGEST_MESSAGE, b"\xff" * (LARGEST_MESSAGE + 1)])
async def test_a_message_that_is_too_large_ends_the_connection(message: str | bytes, valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_socket(running.url, joined=True) as socket:
        await socket.send(message)
        assert await socket.end() == 1009
        await wait_until(lambda: len(running.hub.clients) == 0, "the client is forgotten")


async def test_a_client_that_leaves_while_it_is_answered_leaves_nothing(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_redis(valkey_url) as redis:
        [id] = await EventLog(redis).publisher().publish([data_ready()])
        await wait_until(lambda: running.hub.cursor == id, "the hub has the event")
        for _ in range(5):
            async with raw_socket(running.url, joined=True) as socket:
                await socket.send(*['42["subscribe",{"pairs":"*","since":"0-1"}]', '42["get_server_stats"]'] * 3)
                socket.connection.transport.abort()
        await wait_until(lambda: len(running.hub.clients) == 0, "they are forgotten")
        await wait_until(lambda: not running.server.server_state.connections, "their connections are, too")
