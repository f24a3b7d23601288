"""Under another server's protocols there is no wire: everything goes through ASGI, and arrives all the same."""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
import uvicorn

from app.config import Settings
from app.main import GatewayApp, create_app
from app.realtime.contract.event import cursor_order
from app.realtime.hub.hub import Hub
from app.realtime.log.log import EventLog, Publisher, open_redis
from app.realtime.transports import sse
from tests.gateways import QUIET
from tests.realtime.listening import alert, data_ready, tick
from tests.realtime.plain_clients import plain_refusal, plain_socket
from tests.realtime.socket_clients import POLLING, UPGRADE, WEBSOCKET, event_of, raw_polling, raw_socket, stock_client
from tests.realtime.stream_clients import RELUCTANTLY, connected, open_stream, raw_stream
from tests.realtime.transports.test_socket_upgrade import change_over, ids_of
from tests.realtime.watching import assert_no_traceback
from tests.waiting import wait_until

SERVERS = [("h11", "wsproto"), ("httptools", "websockets-sansio")]


class Served(NamedTuple):
    """The application behind some server."""

    url: str
    hub: Hub
    publisher: Publisher
    server: uvicorn.Server
    app: GatewayApp


@asynccontextmanager
async def served(
    valkey_url: str, folder: Path, http: str, ws: str, *, small_buffers: bool = False, **settings: object
) -> AsyncGenerator[Served]:
    """The application behind plain uvicorn with these protocols."""
    app = create_app(Settings(**{**QUIET, "data_dir": folder, **settings}), valkey_url)
    listener = socket.create_server(("127.0.0.1", 0))
    if small_buffers:  # what it accepts inherits them: a client that does not read is felt at once
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    server = uvicorn.Server(uvicorn.Config(app, http=http, ws=ws, log_config=None, timeout_graceful_shutdown=3))
    task = asyncio.create_task(server._serve([listener]))
    try:
        await wait_until(lambda: server.started, "the server has started")
        assert app.hub is not None
        async with open_redis(valkey_url) as redis:
            port = listener.getsockname()[1]
            yield Served(f"http://127.0.0.1:{port}", app.hub, EventLog(redis).publisher(), server, app)
    finally:
        app.stop_streaming()
        server.should_exit = True
        await task


@pytest_asyncio.fixture(params=SERVERS, ids=["h11", "httptools"])
async def on(
    request: pytest.FixtureRequest, valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Served]:
    """The application behind another server, which has nothing to complain of in the end."""
    async with served(valkey_url, tmp_path, *request.param, send_buffer_bytes=4_000_000) as on:
        yield on
        await wait_until(lambda: len(on.hub.clients) == 0, "everybody has left")
    assert_no_traceback(caplog)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def publish_batches(on: Served, batches: Iterable[int]) -> list[str]:
    """Publish one batch after the other, of different sizes, and return the ids of all that is in them."""
    ids: list[str] = []
    for number in batches:
        prices = [tick("EUR_USD") for _ in range(number % 7 + 1)]
        ids += await on.publisher.publish([*prices, alert("EUR_USD"), data_ready()])
    return ids


@pytest.mark.parametrize("transports", [WEBSOCKET, POLLING, UPGRADE], ids=["websocket", "polling", "upgrade"])
async def test_socket_io_delivers_everything_once_and_in_order(transports: Sequence[str], on: Served) -> None:
    async with stock_client(on.url, transports) as client:
        [before] = await on.publisher.publish([tick("EUR_USD")])
        await wait_until(lambda: on.hub.cursor == before, "the hub has the price")
        assert (await client.call("subscribe", {"pairs": ["EUR_USD"], "since": before}))["recovered"] is True
        ids = await publish_batches(on, range(180))
        await wait_until(lambda: ids[-1] in client.ids, "the last event has come", 60)
        assert client.ids == ids
        assert cursor_order((await client.call("ping"))["cursor"]) >= cursor_order(ids[-1])  # heartbeats go on
        assert (await client.call("request_price", {"instrument": "EUR_USD"}))["instrument"] == "EUR_USD"
        assert "error" in await client.call("nonsense")


async def test_an_event_stream_delivers_everything_once_and_in_order(on: Served) -> None:
    ids = await publish_batches(on, range(60))
    publishing = asyncio.create_task(publish_batches(on, range(120)))
    async with open_stream(on.url, "/stream/EUR_USD", Last_Event_ID=ids[0]) as stream:
        assert stream.opened["recovered"] is True
        ids += await publishing
        await stream.read_until(ids[-1])
        assert [event.last_id for event in stream.parser.events[1:]] == ids[1:]


async def test_a_plain_websocket_delivers_everything_once_and_in_order(on: Served) -> None:
    ids = await publish_batches(on, range(60))
    publishing = asyncio.create_task(publish_batches(on, range(120)))
    async with plain_socket(on.url, f"?pairs=EUR_USD&since={ids[0]}") as socket:
        assert socket.opened.data["recovered"] is True
        assert (await socket.ask("request_price", "price_response", {"instrument": "EUR_USD"}))["instrument"] == "EUR_USD"
        assert "error" in await socket.ask("nonsense", "server_error")
        ids += await publishing
        assert await socket.read_until(ids[-1]) == ids[1:]


async def test_a_plain_websocket_is_refused_in_words(on: Served) -> None:
    status, problem = await plain_refusal(on.url, "?pairs=*&bogus=1")
    assert (status, problem["title"]) == (422, "Unknown parameter")
    async with plain_socket(on.url, "?pairs=XXX", origin="http://localhost:3000") as refused:
        assert refused.received[0].type == "server_error"
        assert await refused.end() == (1008, "Invalid instrument: XXX")


async def test_a_session_changes_over_to_a_websocket_without_loss(on: Served) -> None:
    async with raw_polling(on.url, joined=True) as polling:
        await polling.send('42["subscribe",{"pairs":["EUR_USD"],"snapshot":false}]')
        await polling.poll()
        ids = await on.publisher.publish([tick("EUR_USD") for _ in range(40)])
        await wait_until(lambda: on.hub.cursor == ids[-1], "the hub has the prices")
        packets = await polling.poll()
        async with raw_socket(on.url, sid=polling.sid) as websocket:
            packets += await change_over(polling, websocket)
            ids += await on.publisher.publish([tick("EUR_USD")])
            while len(ids_of(packets)) < 41:
                packets.append(await websocket.read())
            assert ids_of(packets) == ids


async def test_clients_that_leave_in_any_way_leave_no_trace(on: Served) -> None:
    async with raw_socket(on.url, joined=True) as polite, raw_socket(on.url, joined=True) as abrupt:
        await polite.send("41", "1")
        abrupt.connection.transport.abort()
    async with raw_socket(on.url, joined=True) as third:
        await third.send("1")
        await third.end()
    async with open_stream(on.url, "/stream/EUR_USD") as stream:
        stream.writer.transport.abort()
    async with raw_socket(on.url, joined=True) as large:
        await large.send("x" * 1_100_001)
        await large.end()
    async with plain_socket(on.url, "?pairs=*"), plain_socket(on.url, "") as plain:
        plain.connection.transport.abort()
    async with plain_socket(on.url, "") as large_plain:
        await large_plain.connection.send(" " * 1_100_001)
        assert (await large_plain.end())[0] == 1009


async def test_a_refused_stream_is_told_so(valkey_url: str, tmp_path: Path) -> None:
    async with (
        served(valkey_url, tmp_path, *SERVERS[0], websocket_max_clients=1) as on,
        open_stream(on.url, "/stream/EUR_USD"),
        raw_stream(on.url, "/stream/EUR_USD") as refused,
    ):
        assert refused.status == 503


async def test_a_stop_sends_streams_advice_and_ends_polls(on: Served) -> None:
    async with (
        open_stream(on.url, "/stream/EUR_USD") as stream,
        plain_socket(on.url, "?pairs=*") as plain,
        raw_polling(on.url, joined=True) as polling,
    ):
        poll = asyncio.create_task(polling.poll())
        await wait_until(lambda: len(on.server.server_state.tasks) == 3, "the poll waits")
        on.hub.stop()
        await stream.read_to_end()
        assert 500 <= stream.parser.retries[-1] < 5000
        assert (await plain.end())[0] == 1012
        assert plain.received[-1].type == "stream_closing"
        assert await poll == ["1"]


@pytest.mark.parametrize(("http", "ws"), SERVERS, ids=["h11", "httptools"])
async def test_who_does_not_read_is_cut_off_and_costs_no_memory(
    http: str, ws: str, valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "_STALLED_AFTER", 2.0)
    bounds = {"send_buffer_bytes": 4096, "lagging_timeout": 1.0}
    async with (
        served(valkey_url, tmp_path, http, ws, small_buffers=True, **bounds) as on,
        raw_stream(on.url, "/stream/EUR_USD", RELUCTANTLY) as stream,
        raw_socket(on.url, joined=True, max_queue=1, close_timeout=0.1, sock=connected(on.url, receive_buffer=4096)) as websocket,
        plain_socket(
            on.url, "?pairs=EUR_USD", max_queue=1, close_timeout=0.1, sock=connected(on.url, receive_buffer=4096)
        ) as plain,
    ):
        await websocket.send('42["subscribe",{"pairs":["EUR_USD"]}]')
        assert event_of(await websocket.read())[0] == "subscription_confirmed"
        assert stream.status == 200
        assert plain.opened
        flowing = asyncio.create_task(publish_batches(on, count()))
        await wait_until(lambda: len(on.hub.clients) == 0, "all are cut off", 90)
        await wait_until(lambda: not on.server.server_state.tasks, "nothing of them is left", 10)
        flowing.cancel()
        await asyncio.gather(flowing, return_exceptions=True)
        assert sum(number.value for number in on.hub.statistics.cut_off.values()) == 3
    assert_no_traceback(caplog)
