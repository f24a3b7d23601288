"""The cases of the official test suite of Socket.IO 5 that concern a gateway, over raw websockets.

https://github.com/socketio/socket.io-protocol/tree/main/test-suite. The suite's server has a namespace ``/custom`` and echoes;
the gateway has the one namespace ``/`` and documented events. The suite's cases of Engine.IO are in test_engine_protocol.py.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from app.realtime.log.log import EventLog, open_redis
from app.realtime.transports.engine import session
from tests.gateways import RunningGateway, gateway
from tests.realtime.listening import tick
from tests.realtime.socket_clients import RawSocket, event_of, raw_polling, raw_socket
from tests.realtime.watching import sessions_of
from tests.waiting import wait_until

PING_INTERVAL = 0.3


@pytest_asyncio.fixture
async def on(valkey_url: str, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway with the suite's ping interval."""
    async with gateway(valkey_url, tmp_path, websocket_ping_interval=PING_INTERVAL, websocket_ping_timeout=5) as running:
        yield running


# ---------------------------------------------------------------- connect


@pytest.mark.parametrize("packet", ["40", '40{"token":"123"}', "40/,", "40/?token=abc"])
async def test_a_client_connects_to_the_main_namespace(packet: str, on: RunningGateway) -> None:
    async with raw_socket(on.url) as socket:
        await socket.send(packet)
        connected = await socket.read()
        assert connected.startswith("40")
        handshake = orjson.loads(connected[2:])
        assert handshake.keys() == {"sid"}
        name, greeting = event_of(await socket.read())
        assert (name, greeting["client_id"]) == ("connection_established", handshake["sid"])


@pytest.mark.parametrize("packet", ["40/random", "40/random,", '40/random,{"token":"abc"}', "40/random?token=abc"])
async def test_an_unknown_namespace_is_refused_in_words(packet: str, on: RunningGateway) -> None:
    async with raw_socket(on.url) as socket:
        await socket.send(packet)
        assert await socket.read() == '44/random,{"message":"Invalid namespace"}'
        await socket.join()
        await socket.send(packet)
        assert await socket.read() == '44/random,{"message":"Invalid namespace"}'
        assert await socket.answers() == []


@pytest.mark.parametrize("packet", ["4abc", "4", "40[]", '40"x"', "40{", "407", '42["ping"]'])
async def test_an_invalid_handshake_closes_the_connection(packet: str, on: RunningGateway) -> None:
    async with raw_socket(on.url) as socket:
        await socket.send(packet)
        await socket.end()
    await wait_until(lambda: not sessions_of(on), "the session has ended")


async def test_a_connection_without_a_handshake_is_closed(on: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CONNECT_WITHIN", 1.0)
    async with raw_socket(on.url) as socket:
        await socket.end()


async def test_a_second_connection_to_the_same_namespace_closes_the_session(on: RunningGateway) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        await socket.send("40")
        await socket.end()


# ---------------------------------------------------------------- disconnect


async def test_a_client_that_has_left_the_namespace_is_pinged(on: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CONNECT_WITHIN", 0.1)
    async with raw_socket(on.url, joined=True) as socket:
        await socket.send("41")
        await wait_until(lambda: len(on.hub.clients) == 0, "the client has left")
        for _ in range(3):
            async with asyncio.timeout(10):
                assert await socket.connection.recv() == "2"
            await socket.send("3")
        await socket.join()
        await socket.send("41")
        await answered_until_closed(socket)
    await wait_until(lambda: not sessions_of(on), "the session has ended")


async def test_a_polling_client_that_has_left_the_namespace_is_pinged(on: RunningGateway) -> None:
    async with raw_polling(on.url, joined=True) as polling:
        await polling.send("41")
        assert len(on.hub.clients) == 0
        for _ in range(3):
            assert (await polling.get()).text == "2"
            await polling.send("3")
        await polling.join()


async def answered_until_closed(socket: RawSocket) -> None:
    """Answer pings until the connection is closed for want of a namespace."""
    ended = asyncio.create_task(socket.connection.wait_closed())
    while not ended.done():
        reading = asyncio.create_task(socket.connection.recv())
        await asyncio.wait((ended, reading), timeout=20, return_when=asyncio.FIRST_COMPLETED)
        if reading.done() and reading.exception() is None:
            assert reading.result() == "2"
            await socket.send("3")
        else:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            break
    await ended


async def test_leaving_another_namespace_leaves_the_connection_as_it_is(on: RunningGateway) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        await socket.send("40/custom")
        assert (await socket.read()).startswith("44/custom,")
        await socket.send("41/custom", '42["get_subscriptions"]')
        assert event_of(await socket.read())[0] == "subscriptions_info"


# ---------------------------------------------------------------- messages


async def test_an_event_is_answered(on: RunningGateway) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        await socket.send('42["request_price",{"instrument":"EUR_USD","3":[true]},1,"2"]')
        assert event_of(await socket.read())[0] == "price_error"


async def test_binary_attachments_stand_where_their_placeholders_are(on: RunningGateway) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        await socket.send('452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', b"\1\2\3", b"\4\5\6")
        assert event_of(await socket.read())[0] == "server_error"
        assert await socket.answers() == []


async def test_an_event_is_acknowledged_after_its_answer_and_before_the_snapshot(on: RunningGateway, valkey_url: str) -> None:
    async with open_redis(valkey_url) as redis, raw_socket(on.url, joined=True) as socket:
        [id] = await EventLog(redis).publisher().publish([tick("EUR_USD")])
        await wait_until(lambda: on.hub.cursor == id, "the hub has the price")
        await socket.send('42456["subscribe",{"pairs":["EUR_USD"]}]')
        event, acknowledgement, price = await socket.read(), await socket.read(), await socket.read()
        assert acknowledgement.removeprefix("43456[") == event.removeprefix('42["subscription_confirmed",')
        assert event_of(price)[1]["id"] == id == event_of(event)[1]["cursor"]


async def test_a_binary_event_is_acknowledged(on: RunningGateway) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        await socket.send('451-789["request_price",{"instrument":{"_placeholder":true,"num":0}}]', b"EUR_USD")
        event, acknowledgement = await socket.read(), await socket.read()
        assert acknowledgement.removeprefix("43789[") == event.removeprefix('42["price_error",')


@pytest.mark.parametrize("packet", ["4abc", "42{}", '42abc["subscribe",1,"2",{"3":[false]}]', "43abc[]", '47["x"]', "42[]"])
async def test_an_invalid_packet_closes_the_connection(packet: str, on: RunningGateway) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        await socket.send(packet)
        await socket.end()
    await wait_until(lambda: not sessions_of(on), "the session has ended")
