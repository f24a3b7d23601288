"""Plain websockets: what they look like, what they carry, how they are resumed, and what their clients may send."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx
import orjson
import pytest
import pytest_asyncio

from app.market.pair import DEFAULT_PAIRS
from app.realtime.contract.answers import (
    Pong,
    Problem,
    StreamClosing,
    StreamHeartbeat,
    StreamOpened,
    SubscriptionConfirmed,
    SubscriptionsInfo,
    UnsubscriptionConfirmed,
)
from app.realtime.contract.event import ORIGIN, cursor_order
from app.realtime.log.log import EventLog, open_redis
from tests.gateways import gateway
from tests.realtime.listening import alert, data_ready, tick
from tests.realtime.plain_clients import PlainSocket, plain_refusal, plain_socket
from tests.realtime.socket_clients import UPGRADE_HEADERS, stock_client
from tests.realtime.stream_clients import open_stream, raw_stream
from tests.realtime.transports.test_sse import FUTURE, On
from tests.waiting import wait_until

PAGE = "http://localhost:3000"
"""The origin of a page that may connect."""


@pytest_asyncio.fixture
async def on(valkey_url: str, tmp_path: Path) -> AsyncIterator[On]:
    """A gateway without heartbeats."""
    async with gateway(valkey_url, tmp_path, heartbeat_interval=60) as running, open_redis(valkey_url) as redis:
        yield On(running, redis, EventLog(redis).publisher())


def bids(socket: PlainSocket) -> list[str]:
    """The bids that came, in order."""
    return [message.data["price"]["bid"] for message in socket.received if message.type == "price_update"]


# ---------------------------------------------------------------- what it looks like


async def test_each_event_is_one_message_with_the_payload_bytes_of_the_log(on: On) -> None:
    [id] = await on.publish(tick("EUR_USD"))
    payload = on.running.hub.book.newest("EUR_USD")
    assert payload is not None
    async with plain_socket(on.url, "?pairs=EUR_USD") as socket:
        await socket.read()
        assert socket.texts[1] == f'{{"type":"price_update","id":"{id}","data":{payload.payload.decode()}}}'
        opened = StreamOpened.model_validate(socket.opened.data)
        assert (opened.recovered, opened.pairs, opened.cursor, socket.opened.id) == (None, ["EUR_USD"], id, None)


async def test_nothing_is_compressed_and_no_subprotocol_is_agreed_on(on: On) -> None:
    offers = {"compression": "deflate", "subprotocols": ["whatever"]}
    async with plain_socket(on.url, "?pairs=*", **offers) as socket:
        assert socket.connection.response is not None
        headers = socket.connection.response.headers
        assert "Sec-WebSocket-Extensions" not in headers
        assert "Sec-WebSocket-Protocol" not in headers


async def test_it_gets_what_a_stream_and_a_socket_io_client_get(on: On) -> None:
    async with (
        plain_socket(on.url, "?pairs=*") as socket,
        open_stream(on.url, "/stream?pairs=*") as stream,
        stock_client(on.url) as client,
    ):
        await client.call("subscribe", {"pairs": "*"})
        ids = await on.publish(*(tick(pair) for pair in DEFAULT_PAIRS), alert("EUR_USD"), data_ready())
        assert await socket.read_until(ids[-1]) == ids
        await stream.read_until(ids[-1])
        await wait_until(lambda: client.ids[-1:] == [ids[-1]], "the Socket.IO client has them")
        assert [message.data for message in socket.received[1:]] == [event.body for event in stream.parser.events[1:]]
        assert [message.data["id"] for message in socket.received[1:]] == client.ids
        assert on.running.hub.statistics.clients["plain"].value == 1


async def test_clients_of_the_same_pairs_share_their_frames_and_keep_no_task(on: On) -> None:
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(plain_socket(on.url, "?pairs=EUR_USD")) for _ in range(5)]
        audiences = {on.running.hub._audiences.of(client) for client in on.running.hub.clients}
        assert len(audiences) == 1
        await wait_until(lambda: not on.running.server.server_state.tasks, "no request is left of them")
        gc.collect()
        assert not [task for task in asyncio.all_tasks() if "_receive_all" in repr(task.get_coro())]
        ids = await on.publish(tick("EUR_USD"), tick("USD_JPY", "150"), alert("EUR_USD"))
        for socket in sockets:
            assert await socket.read_until(ids[2]) == [ids[0], ids[2]]


async def test_heartbeats_are_events_with_the_cursor(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path, heartbeat_interval=0.1) as running:
        async with plain_socket(running.url, "?pairs=EUR_USD") as socket:
            beats = [await socket.read() for _ in range(3)]
        assert {beat.type for beat in beats} == {"heartbeat"}
        cursors = [StreamHeartbeat.model_validate(beat.data).cursor for beat in beats]
        assert cursors == [beat.id for beat in beats] == sorted(cursors, key=cursor_order)
        async with plain_socket(running.url, f"?pairs=EUR_USD&since={cursors[-1]}") as resumed:
            assert resumed.opened.data["recovered"] is True


# ---------------------------------------------------------------- where it begins


@pytest.mark.parametrize("name", ["since", "last_event_id", "lastEventId"])
async def test_it_resumes_from_any_id_with_all_that_it_missed_and_then_live(name: str, on: On) -> None:
    ids = await on.publish(*((tick, alert)[n % 5 == 0](("EUR_USD", "USD_JPY")[n % 2]) for n in range(400)))
    mine = ids[::2]
    async with plain_socket(on.url, f"?pairs=EUR_USD&{name}={mine[30]}") as socket:
        assert (socket.opened.data["recovered"], socket.opened.data["cursor"], socket.opened.id) == (True, mine[30], None)
        [live] = await on.publish(tick("EUR_USD"))
        assert await socket.read_until(live) == [*mine[31:], live]


@pytest.mark.parametrize("since", [FUTURE, "1-1"])
async def test_where_it_cannot_resume_it_says_so_and_gives_the_newest_prices(since: str, on: On) -> None:
    ids = await on.publish(tick("EUR_USD", "1.1"), tick("EUR_USD", "1.2"), alert("EUR_USD"))
    async with plain_socket(on.url, f"?pairs=EUR_USD&snapshot=false&since={since}") as socket:
        assert (socket.opened.data["recovered"], socket.opened.data["cursor"], socket.opened.id) == (False, ids[-1], None)
        live = await on.publish(tick("EUR_USD", "1.3"))
        await socket.read_until(live[0])
        assert bids(socket) == ["1.20000", "1.30000"]


async def test_an_alert_before_the_first_heartbeat_is_not_lost_without_a_snapshot(on: On) -> None:
    [before] = await on.publish(tick("EUR_USD"))
    async with plain_socket(on.url, "?pairs=EUR_USD&snapshot=false") as socket:
        assert socket.opened.id == before
    missed = await on.publish(alert("EUR_USD"))
    async with plain_socket(on.url, f"?pairs=EUR_USD&snapshot=false&since={before}") as socket:
        assert await socket.read_until(missed[0]) == missed


async def test_max_hz_thins_prices_out_and_the_last_is_never_lost(on: On) -> None:
    async with plain_socket(on.url, "?pairs=EUR_USD&max_hz=5") as socket:
        for n in range(10, 40):
            await on.publish(tick("EUR_USD", f"1.{n}"))
        while bids(socket)[-1:] != ["1.39000"]:
            await socket.read()
        assert len(bids(socket)) < 15


# ---------------------------------------------------------------- what its clients may send


async def test_a_client_subscribes_and_leaves_with_messages(on: On) -> None:
    await on.publish(tick("EUR_USD"), tick("USD_JPY", "150"))
    async with plain_socket(on.url, "") as socket:
        assert (socket.opened.data["pairs"], socket.opened.id) == ([], None)
        confirmed = SubscriptionConfirmed.model_validate(
            await socket.ask("subscribe", "subscription_confirmed", {"pairs": ["EUR/USD"], "max_hz": 50})
        )
        assert (confirmed.pairs, confirmed.recovered) == (["EUR_USD"], None)
        assert (await socket.read()).data["instrument"] == "EUR_USD"
        info = SubscriptionsInfo.model_validate(await socket.ask("get_subscriptions", "subscriptions_info"))
        assert info.subscribed_pairs == ["EUR_USD"]
        Pong.model_validate(await socket.ask("ping", "pong"))
        assert (await socket.ask("request_price", "price_response", {"instrument": "USD_JPY"}))["price"]["bid"] == "150.000"
        assert (await socket.ask("get_server_stats", "server_stats"))["clients_by_transport"]["plain"] == 1
        left = UnsubscriptionConfirmed.model_validate(await socket.ask("unsubscribe", "unsubscription_confirmed", {"pairs": "*"}))
        assert left.pairs == ["EUR_USD"]
        await on.publish(tick("EUR_USD"), data_ready())
        assert (await socket.read()).type == "data_ready"


async def test_a_subscription_resumes_with_a_message_too(on: On) -> None:
    ids = await on.publish(*(tick("EUR_USD") for _ in range(200)))
    async with plain_socket(on.url, "") as socket:
        confirmed = await socket.ask("subscribe", "subscription_confirmed", {"pairs": ["EUR_USD"], "since": ids[20]})
        assert confirmed["recovered"] is True
        assert await socket.read_until(ids[-1]) == ids[21:]


@pytest.mark.parametrize(
    ("message", "answer", "error"),
    [
        ("nonsense", "server_error", "Invalid message: a JSON object with 'type' and 'data' is needed"),
        ("[1]", "server_error", "Invalid message"),
        ('{"type":7}', "server_error", "Invalid message"),
        ('{"type":"' + "x" * 200 + '"}', "server_error", "Invalid message"),
        ("[" * 100_000, "server_error", "Invalid message"),
        ('{"type":"subscibe"}', "server_error", "Unknown event: subscibe"),
        ('{"type":"subscribe"}', "subscription_error", "Invalid payload: an object with 'pairs' is needed"),
        ('{"type":"subscribe","data":{"pairs":["XXX"]}}', "subscription_error", "Invalid instrument: XXX"),
        ('{"type":"subscribe","data":{"pairs":"*","since":"x"}}', "subscription_error", "Invalid cursor"),
        ('{"type":"unsubscribe","data":[]}', "unsubscription_error", "Invalid payload"),
        (b"\xff\x00", "server_error", "Invalid message"),
    ],
    ids=range(11),
)
async def test_what_cannot_be_answered_is_refused_and_the_connection_goes_on(
    message: str | bytes, answer: str, error: str, on: On
) -> None:
    async with plain_socket(on.url, "?pairs=EUR_USD") as socket:
        await socket.connection.send(message)
        assert Problem.model_validate(await socket.next(answer)).error.startswith(error)
        Pong.model_validate(await socket.ask("ping", "pong"))


async def test_messages_are_answered_in_their_order(on: On) -> None:
    async with plain_socket(on.url, "") as socket:
        for n in range(100):
            await socket.send("subscribe" if n % 2 else "get_subscriptions", {"pairs": [DEFAULT_PAIRS[n % 20]]})
        answers = [(await socket.read()).type for _ in range(100)]
        assert answers == ["subscriptions_info", "subscription_confirmed"] * 50


async def test_beyond_the_limit_requests_are_refused_and_a_flood_is_cut_off(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path, rate_limit_requests=3) as running, plain_socket(running.url, "") as socket:
        for _ in range(3):
            await socket.ask("ping", "pong")
        assert (await socket.ask("ping", "server_error"))["error"].startswith("Rate limit exceeded: 3 requests")
        assert (await socket.ask("subscribe", "subscription_error", {"pairs": "*"}))["message"].startswith("Try again in")
        for _ in range(40):
            await socket.connection.send("not JSON")
        assert (await socket.end())[0] in (None, 1006)
        assert running.hub.statistics.cut_off["flooding"].value == 1


async def test_a_message_that_is_too_large_ends_the_connection(on: On) -> None:
    async with plain_socket(on.url, "") as socket:
        await socket.connection.send(" " * 1_100_001)
        assert (await socket.end())[0] == 1009
    await wait_until(lambda: len(on.running.hub.clients) == 0, "it is forgotten")


# ---------------------------------------------------------------- who is let in


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        (
            "?pairs=*&sinc=1-1",
            422,
            "Unknown parameter: sinc; the parameters are format, lastEventId, last_event_id, max_hz,",
        ),
        ("?pairs=XXX", 400, "Invalid instrument: XXX"),
        ("?pairs=", 400, "Invalid instrument"),
        ("?pairs=*&since=x", 400, "Invalid cursor"),
        ("?pairs=*&max_hz=0", 400, "max_hz: Input should be greater than 0"),
        ("?pairs=*&snapshot=maybe", 400, "snapshot: Input should be"),
        ("?since=1-1", 400, "pairs: needed with any other parameter"),
    ],
)
async def test_a_wrong_address_is_refused_in_words_that_its_client_can_read(query: str, status: int, error: str, on: On) -> None:
    refused, problem = await plain_refusal(on.url, query)
    assert (refused, problem["status"], problem["instance"]) == (status, status, "/ws")
    assert problem["error"].startswith(error)
    for from_browser in ({"origin": PAGE}, {"additional_headers": {"Sec-Fetch-Mode": "websocket"}}):
        async with plain_socket(on.url, query, **from_browser) as socket:
            assert socket.received[0].type == "server_error"
            assert Problem.model_validate(socket.received[0].data).error == problem["error"]
            assert await socket.end() == (1008, problem["error"][:123])
    assert len(on.running.hub.clients) == 0


async def test_one_client_too_many_is_told_so_and_comes_in_when_a_place_is_free(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path, websocket_max_clients=1) as running:
        async with plain_socket(running.url, "?pairs=*"):
            reason = "Max clients reached: this gateway serves 1 at once"
            status, problem = await plain_refusal(running.url, "?pairs=*")
            assert (status, problem["error"]) == (503, reason)
            async with plain_socket(running.url, "?pairs=*", origin=PAGE) as refused:
                assert (refused.received[0].type, refused.received[0].data["error"]) == ("server_error", reason)
                assert await refused.end() == (1013, reason)
            async with raw_stream(running.url, "/stream/EUR_USD") as stream:
                assert stream.status == 503
        await wait_until(lambda: len(running.hub.clients) == 0, "the place is free")
        async with plain_socket(running.url, "?pairs=*"):
            assert len(running.hub.clients) == 1


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example:3000"])
async def test_a_page_of_another_origin_is_refused_before_the_websocket_opens(origin: str, on: On) -> None:
    status, problem = await plain_refusal(on.url, "?pairs=*", origin=origin)
    assert (status, problem["error"]) == (403, f"{origin} is not an accepted origin")


async def test_pages_of_allowed_origins_and_of_the_gateway_itself_come_in(on: On) -> None:
    for origin in (PAGE, on.url):
        async with plain_socket(on.url, "?pairs=*", origin=origin) as socket:
            assert socket.opened


async def test_a_request_that_is_no_handshake_is_told_what_is_served(on: On) -> None:
    async with httpx.AsyncClient(base_url=on.url, trust_env=False) as http:
        answer = await http.get("/ws?pairs=*")
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert "/stream" in answer.json()["error"]


# ---------------------------------------------------------------- how it ends


async def test_when_the_gateway_stops_it_says_when_to_come_back(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(plain_socket(running.url, "?pairs=*")) for _ in range(5)]
        running.app.stop_streaming()
        status, problem = await plain_refusal(running.url, "?pairs=*")
        assert (status, problem["error"]) == (503, "Try again shortly: the gateway is stopping")
        for connection in list(running.server.server_state.connections):
            connection.shutdown()
        retries = []
        for socket in sockets:
            assert (await socket.end())[0] == 1012
            retries.append(StreamClosing.model_validate(socket.received[-1].data).retry_ms)
        assert all(500 <= retry < 5000 for retry in retries)
        assert len(set(retries)) > 1, "clients come back at different times"


async def test_a_client_that_leaves_in_any_way_is_forgotten(on: On) -> None:
    async with plain_socket(on.url, "?pairs=*"):
        assert len(on.running.hub.clients) == 1
    await wait_until(lambda: len(on.running.hub.clients) == 0, "the polite one is forgotten")
    async with plain_socket(on.url, "?pairs=*") as abrupt:
        abrupt.connection.transport.abort()
        await wait_until(lambda: len(on.running.hub.clients) == 0, "the abrupt one is forgotten")
    async with raw_stream(on.url, "/ws?pairs=*", **UPGRADE_HEADERS) as socket:
        socket.writer.transport.abort()
        await wait_until(lambda: len(on.running.hub.clients) == 0, "the one that had just come is forgotten")


async def test_pings_go_to_every_client_and_one_that_never_answers_is_cut_off(valkey_url: str, tmp_path: Path) -> None:
    often = {"websocket_ping_interval": 0.2, "lagging_timeout": 0.3, "heartbeat_interval": 60}
    async with (
        gateway(valkey_url, tmp_path, **often) as running,
        plain_socket(running.url, "?pairs=*") as alive,
        raw_stream(running.url, "/ws?pairs=*", **UPGRADE_HEADERS) as mute,
    ):
        reading = asyncio.create_task(alive.end())  # the library answers pings
        heard = b""
        with suppress(ConnectionResetError):
            while data := await mute.reader.read(65536):
                heard += data
        assert heard.count(b"\x89\x00") >= 2
        assert running.hub.statistics.cut_off["ping timeout"].value == 1
        assert len(running.hub.clients) == 1
        assert not reading.done()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_from_the_origin_it_gets_all_there_ever_was(on: On) -> None:
    ids = await on.publish(*(tick("EUR_USD") for _ in range(150)))
    async with plain_socket(on.url, f"?pairs=EUR_USD&since={ORIGIN}") as socket:
        assert await socket.read_until(ids[-1]) == ids
        assert orjson.loads(socket.texts[1])["id"] == ids[0]
