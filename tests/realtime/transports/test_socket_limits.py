"""The limits of Socket.IO: places, requests, pings, and what happens to those who go beyond."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from engineio.packet import PING

from app.realtime.log.log import EventLog, open_redis
from app.realtime.transports.engine import session
from tests.gateways import gateway
from tests.realtime.listening import tick
from tests.realtime.socket_clients import (
    POLLING,
    UPGRADE,
    WEBSOCKET,
    event_of,
    raw_polling,
    raw_socket,
    refusal,
    stock_client,
)
from tests.realtime.stream_clients import open_stream
from tests.realtime.watching import sessions_of, watched
from tests.waiting import wait_until

every_transport = pytest.mark.parametrize("transports", [WEBSOCKET, POLLING, UPGRADE], ids=["websocket", "polling", "upgrade"])


@every_transport
async def test_one_client_too_many_is_told_why_and_comes_in_when_a_place_is_free(
    transports: Sequence[str], valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path, websocket_max_clients=2) as running, AsyncExitStack() as stack:
        await stack.enter_async_context(open_stream(running.url, "/stream/EUR_USD"))
        async with stock_client(running.url, transports) as second:
            reason = await refusal(running.url, transports)
            assert reason == {"message": "Max clients reached: this gateway serves 2 at once"}
            assert second.bodies("connection_established")[0]["max_clients"] == 2
        await wait_until(lambda: len(running.hub.clients) == 1, "the second client has left")
        async with stock_client(running.url, transports) as third:
            assert await third.call("ping")


async def test_while_the_gateway_is_not_ready_clients_are_told_to_come_back(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running:
        running.app.stop_streaming()
        reason = await refusal(running.url, WEBSOCKET)
        assert reason == {"message": "Try again shortly: the gateway is stopping"}


async def test_a_refused_client_may_try_again_over_the_same_session_but_not_stay(
    valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CONNECT_WITHIN", 1.0)
    async with gateway(valkey_url, tmp_path, websocket_max_clients=1) as running:
        async with raw_socket(running.url, joined=True), raw_socket(running.url) as refused, raw_socket(running.url) as later:
            for socket in (refused, later):
                await socket.send("40")
                assert (await socket.read()).startswith('44{"message":"Max clients reached')
            await refused.end(3)
            assert len(running.hub.clients) == 1
            await later.end(3)
        await wait_until(lambda: len(running.hub.clients) == 0, "the place is free")
        async with raw_socket(running.url, joined=True), raw_socket(running.url) as patient:
            await patient.send("40")
            assert (await patient.read()).startswith("44")
            running.hub.max_clients = 2
            await patient.join()
            await wait_until(lambda: len(running.hub.clients) == 2, "the second client is in")


async def test_sessions_that_never_connect_are_limited_too(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path, websocket_max_clients=1) as running:
        async with httpx.AsyncClient(base_url=running.url, trust_env=False) as http:
            ask = {"EIO": "4", "transport": "polling"}
            answers = [await http.get("/socket.io/", params=ask) for _ in range(103)]
        assert {answer.status_code for answer in answers[:102]} == {200}
        assert (answers[102].status_code, answers[102].json()) == (400, "Max clients reached")


LIMITED = [
    ("subscribe", "subscription_error"),
    ("unsubscribe", "unsubscription_error"),
    ("get_subscriptions", "server_error"),
    ("request_price", "price_error"),
    ("request_all_prices", "price_error"),
    ("get_server_stats", "server_error"),
    ("ping", "server_error"),
    ("whatever", "server_error"),
]


@every_transport
async def test_beyond_the_rate_limit_every_event_is_answered_by_its_error(
    transports: Sequence[str], valkey_url: str, tmp_path: Path
) -> None:
    limits = {"rate_limit_requests": 3, "rate_limit_window": 30}
    async with (
        gateway(valkey_url, tmp_path, **limits) as running,
        stock_client(running.url, transports) as client,
        stock_client(running.url) as other,
    ):
        for _ in range(3):
            assert (await client.call("ping"))["cursor"]
        for event, error_event in LIMITED:
            problem = await client.ask(event, error_event, {"pairs": "*", "instrument": "EUR_USD"})
            assert problem["error"] == "Rate limit exceeded: 3 requests in 30 s", event
            assert problem["message"] in [f"Try again in {seconds} s" for seconds in range(10, 31)]
            assert (await client.call(event))["error"] == problem["error"]
        assert (await other.call("get_subscriptions"))["subscribed_pairs"] == [], "each client has a limit of its own"


async def test_after_the_window_requests_are_answered_again(valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path, rate_limit_requests=40, rate_limit_window=3) as running,
        stock_client(running.url) as client,
    ):
        answers = [await client.call("get_subscriptions") for _ in range(41)]
        assert answers[-1]["message"].startswith("Try again in ")

        async def answered() -> bool:
            return "pair_count" in await client.call("get_subscriptions")

        await wait_until(answered, "the next window has begun")


@pytest.mark.parametrize("flood", ['42["ping"]', '42["unknown"]', "42[5]"])
async def test_a_client_that_floods_is_cut_off(
    flood: str, valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched(valkey_url, tmp_path, caplog, rate_limit_requests=3, rate_limit_window=600) as on:
        async with raw_socket(on.url, joined=True) as socket:
            await socket.send(*[flood] * 40)
            assert await socket.end() == 1006
        assert on.running.hub.statistics.cut_off["flooding"].value == 1
        await on.alone()
        await on.some_traffic()


async def test_a_client_that_leaves_and_comes_back_keeps_its_limit(valkey_url: str, tmp_path: Path) -> None:
    limits = {"rate_limit_requests": 3, "rate_limit_window": 600}
    async with gateway(valkey_url, tmp_path, **limits) as running, raw_socket(running.url, joined=True) as socket:
        await socket.send('42["ping"]')
        assert event_of(await socket.read())[0] == "pong"
        for _ in range(2):
            await socket.send("41")
            await socket.join()
        await socket.send("41", "40")
        assert await socket.read() == '44{"message":"Rate limit exceeded"}'


async def test_a_client_that_goes_on_and_on_by_polling_is_cut_off_too(
    valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        watched(valkey_url, tmp_path, caplog, rate_limit_requests=3, rate_limit_window=600) as on,
        raw_polling(on.url, joined=True) as polling,
    ):
        await polling.send(*['42["ping"]'] * 40)
        assert on.running.hub.statistics.cut_off["flooding"].value == 1
        assert (await polling.get()).status_code == 400


async def test_a_websocket_that_answers_no_ping_is_gone_and_its_connection_with_it(
    valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    times = {"websocket_ping_interval": 0.5, "websocket_ping_timeout": 1}
    loop = asyncio.get_running_loop()
    async with watched(valkey_url, tmp_path, caplog, **times) as on:
        began = loop.time()
        async with raw_socket(on.url, joined=True) as mute:
            while await mute.connection.recv() != "2":
                pass
            assert await mute.end(10) == 1006
            assert loop.time() - began > 1.4
        await on.alone()
        await on.some_traffic()


async def test_a_polling_session_that_answers_no_ping_is_gone(valkey_url: str, tmp_path: Path) -> None:
    times = {"websocket_ping_interval": 0.3, "websocket_ping_timeout": 0.3}
    async with gateway(valkey_url, tmp_path, **times) as running, raw_polling(running.url, joined=True) as polling:
        assert (await polling.get()).text == "2"
        assert (await polling.get()).text == "1"
        assert len(running.hub.clients) == 0
        assert (await polling.get()).status_code == 400
        assert (await polling.post("3")).status_code == 400


async def test_a_session_without_a_namespace_has_only_the_announced_time_for_a_pong(valkey_url: str, tmp_path: Path) -> None:
    times = {"websocket_ping_interval": 2, "websocket_ping_timeout": 1}
    async with gateway(valkey_url, tmp_path, **times) as running:
        async with httpx.AsyncClient(base_url=running.url, trust_env=False) as http:
            await http.get("/socket.io/", params={"EIO": "4", "transport": "polling"})
        assert len(sessions_of(running)) == 1
        # One with a namespace would have 4.35 s.
        await wait_until(lambda: sessions_of(running) == {}, "the session has ended", 4)


async def test_a_client_that_is_slow_to_answer_pings_stays_while_its_kernel_takes_what_is_sent(
    valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    times = {"websocket_ping_interval": 0.3, "websocket_ping_timeout": 0.2}
    async with watched(valkey_url, tmp_path, caplog, **times) as on, raw_socket(on.url, joined=True) as starved:
        await starved.send('42["subscribe",{"pairs":"*"}]')
        loop = asyncio.get_running_loop()
        began = answered = loop.time()
        pings = 0
        while loop.time() < began + 5:
            async with asyncio.timeout(10):
                pings += await starved.connection.recv() == "2"
            if loop.time() > answered + 1:  # two heartbeats
                answered = loop.time()
                await starved.send("3")
        assert pings > 1
        assert (await starved.end(10)) == 1006, "one that never answers is gone in the end"
        assert on.running.hub.statistics.cut_off["ping timeout"].value == 1


async def test_a_client_that_takes_nothing_is_gone_for_not_reading(valkey_url: str, tmp_path: Path) -> None:
    times = {"websocket_ping_interval": 0.5, "websocket_ping_timeout": 0.5}
    async with gateway(valkey_url, tmp_path, **times) as running, open_redis(valkey_url) as redis:
        publisher = EventLog(redis).publisher()
        async with raw_socket(running.url, joined=True, max_queue=1) as deaf:
            await deaf.send('42["subscribe",{"pairs":"*"}]')
            cut_off = running.hub.statistics.cut_off["not reading"]
            while not cut_off.value:
                await publisher.publish([tick("EUR_USD") for _ in range(400)])
            assert len(running.hub.clients) == 0


async def test_unsolicited_pongs_change_nothing(valkey_url: str, tmp_path: Path) -> None:
    times = {"websocket_ping_interval": 0.3, "websocket_ping_timeout": 0.3}
    async with gateway(valkey_url, tmp_path, **times) as running, raw_socket(running.url, joined=True) as socket:
        await socket.send(*["3"] * 50)
        assert await socket.connection.recv() == "2"
        assert await socket.end(2) == 1006


@every_transport
async def test_a_stock_client_outlives_many_pings(transports: Sequence[str], valkey_url: str, tmp_path: Path) -> None:
    times = {"websocket_ping_interval": 0.05, "websocket_ping_timeout": 5}
    async with gateway(valkey_url, tmp_path, **times) as running, stock_client(running.url, transports) as client:
        pinged = []
        receive = client.client.eio._receive_packet

        async def counting(packet: Any) -> None:
            pinged.append(packet.packet_type == PING)
            await receive(packet)

        client.client.eio._receive_packet = counting
        await wait_until(lambda: sum(pinged) >= 10, "ten pings")
        assert client.gone is None
        assert await client.call("ping")


async def test_pong_carries_the_cursor_which_moves_on_for_a_quiet_client_as_well(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_redis(valkey_url) as redis, stock_client(running.url) as client:
        await client.call("subscribe", {"pairs": ["GBP_USD"]})
        before = (await client.ask("ping", "pong"))["cursor"]
        [id] = await EventLog(redis).publisher().publish([tick("EUR_USD")])
        await wait_until(lambda: running.hub.cursor == id, "the hub has the price")
        after = (await client.ask("ping", "pong"))["cursor"]
        assert before != after == id
        confirmed = await client.ask("subscribe", "subscription_confirmed", {"pairs": ["GBP_USD"], "since": after})
        assert confirmed["recovered"] is True


async def test_pong_of_a_client_with_waiting_events_stands_before_them(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_redis(valkey_url) as redis:
        publisher = EventLog(redis).publisher()
        async with raw_polling(running.url, joined=True) as polling:
            await polling.send('42["subscribe",{"pairs":["EUR_USD"],"snapshot":false}]')
            cursor = event_of((await polling.poll())[0])[1]["cursor"]
            ids = await publisher.publish([tick("EUR_USD"), tick("EUR_USD")])
            await wait_until(lambda: running.hub.cursor == ids[-1], "the hub has the prices")
            await polling.send('42["ping"]')
            events = [event_of(packet) for packet in await polling.poll()]
            assert [name for name, _ in events] == ["pong", "price_update", "price_update"]
            assert events[0][1]["cursor"] == cursor
