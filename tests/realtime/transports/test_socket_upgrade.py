"""The change from polling to a websocket: nothing lost, nothing twice, and no harm where it fails."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from app.realtime.log.log import EventLog, open_redis
from app.realtime.transports.engine import websocket as upgrading
from tests.gateways import gateway
from tests.realtime.listening import alert, tick
from tests.realtime.socket_clients import RawPolling, RawSocket, event_of, raw_polling, raw_socket
from tests.realtime.stream_clients import connected
from tests.realtime.watching import watched
from tests.waiting import wait_until


async def change_over(polling: RawPolling, websocket: RawSocket) -> list[str]:
    """Upgrade as the protocol has it, polling until the NOOP; gives the packets that came by polling meanwhile."""
    await websocket.send("2probe")
    assert await websocket.read() == "3probe"
    packets: list[str] = []
    while "6" not in packets:
        packets += await polling.poll()
    await websocket.send("5")
    return [packet for packet in packets if packet != "6"]


def ids_of(packets: list[str]) -> list[str]:
    """The ids of the events among the packets, without what was on its way before the subscription and carries none."""
    bodies = [event_of(packet)[1] for packet in packets if packet != "6"]
    return [body["id"] for body in bodies if "id" in body]


async def test_an_upgrade_under_heavy_traffic_loses_nothing_and_repeats_nothing(
    valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(20140505)
    async with watched(valkey_url, tmp_path, caplog, send_buffer_bytes=1_000_000) as on:

        async def client(moment: float) -> tuple[str, list[str]]:
            async with raw_polling(on.url, joined=True) as polling:
                await polling.send('42["subscribe",{"pairs":"*","snapshot":false}]')
                cursor = ""
                packets: list[str] = []
                while not cursor:
                    for packet in await polling.poll():
                        if packet.startswith('42["subscription_confirmed"'):
                            cursor, packets = event_of(packet)[1]["cursor"], []
                        else:
                            packets.append(packet)
                until = asyncio.get_running_loop().time() + moment
                while asyncio.get_running_loop().time() < until:
                    packets += await polling.poll()
                async with raw_socket(on.url, sid=polling.sid) as websocket:
                    packets += await change_over(polling, websocket)
                    for _ in range(200):
                        packets.append(await websocket.read())
            return cursor, ids_of(packets)

        for cursor, ids in await asyncio.gather(*(client(chance.random() / 2) for _ in range(8))):
            published = on.traffic.ids
            place = published.index(cursor) + 1
            await wait_until(lambda: len(on.traffic.ids) >= place + len(ids), "all of it is noted as published")  # noqa: B023
            assert ids == published[place : place + len(ids)]


async def test_what_waited_for_the_next_poll_goes_over_the_websocket_first(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_redis(valkey_url) as redis:
        publisher = EventLog(redis).publisher()
        async with raw_polling(running.url, joined=True) as polling:
            await polling.send('42["subscribe",{"pairs":["EUR_USD"],"snapshot":false}]')
            await polling.poll()
            ids = await publisher.publish([tick("EUR_USD") for _ in range(40)])
            await wait_until(lambda: running.hub.cursor == ids[-1], "the hub has the prices")
            packets = await polling.poll()
            assert len(packets) == 16, "no more than stock clients take"
            ids += await publisher.publish([tick("EUR_USD")])
            await wait_until(lambda: running.hub.cursor == ids[-1], "the hub has the prices")
            async with raw_socket(running.url, sid=polling.sid) as websocket:
                await websocket.send("2probe")
                assert await websocket.read() == "3probe"
                assert await polling.poll() == ["6"]
                await websocket.send("5")
                while len(ids_of(packets)) < 41:
                    packets.append(await websocket.read())
                assert ids_of(packets) == ids
                [live] = await publisher.publish([tick("EUR_USD")])
                assert event_of((await websocket.answers())[0])[1]["id"] == live


@pytest.mark.parametrize("first", ["2", "2probe ", "3probe", "5", "", '42["ping"]', b"2probe"])
async def test_a_websocket_that_does_not_probe_leaves_polling_as_it_was(
    first: str | bytes, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_polling(running.url, joined=True) as polling:
        async with raw_socket(running.url, sid=polling.sid) as websocket:
            await websocket.send(first)
            await websocket.end()
        await assert_polling_goes_on(polling)
        await assert_upgrade_works(running.url, polling)


@pytest.mark.parametrize("second", ["2probe", "6", '42["ping"]', None])
async def test_a_websocket_that_does_not_go_through_with_it_leaves_polling_as_it_was(
    second: str | None, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_polling(running.url, joined=True) as polling:
        async with raw_socket(running.url, sid=polling.sid) as websocket:
            await websocket.send("2probe")
            assert await websocket.read() == "3probe"
            if second is not None:
                await websocket.send(second)
                await websocket.end()
        await assert_polling_goes_on(polling)
        await assert_upgrade_works(running.url, polling)


async def test_a_websocket_that_says_nothing_is_not_waited_for(
    valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_polling(running.url, joined=True) as polling:
        with monkeypatch.context() as hurried:
            hurried.setattr(upgrading, "PROBE_WITHIN", 0.2)
            async with raw_socket(running.url, sid=polling.sid) as websocket:
                await assert_polling_goes_on(polling)
                await websocket.end(10)
            hurried.setattr(upgrading, "PROBE_WITHIN", 2)
            async with raw_socket(running.url, sid=polling.sid) as websocket:
                await websocket.send("2probe")
                assert await websocket.read() == "3probe"
                await websocket.end(10)
        await assert_polling_goes_on(polling)
        await assert_upgrade_works(running.url, polling)


async def test_a_session_has_one_websocket_at_a_time(valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path) as running,
        raw_polling(running.url, joined=True) as polling,
        raw_socket(running.url, sid=polling.sid) as websocket,
    ):
        async with raw_socket(running.url, sid=polling.sid) as second:
            assert await second.end() == 1000
        assert await change_over(polling, websocket) == []
        async with raw_socket(running.url, sid=polling.sid) as third:
            assert await third.end() == 1000
        assert await websocket.answers() == []
    await wait_until(lambda: len(running.hub.clients) == 0, "the client is gone")


async def test_polls_during_the_change_get_nothing_and_after_it_are_refused(valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path) as running,
        raw_polling(running.url, joined=True) as polling,
        raw_socket(running.url, sid=polling.sid) as websocket,
    ):
        await websocket.send("2probe")
        assert await websocket.read() == "3probe"
        await polling.send('42["get_subscriptions"]')
        assert [await polling.poll() for _ in range(3)] == [["6"]] * 3
        await websocket.send("5")
        packets = await websocket.answers()
        assert [event_of(packet)[0] for packet in packets] == ["subscriptions_info"]
        for answer in (await polling.get(), await polling.post('42["ping"]')):
            assert (answer.status_code, answer.json()) == (400, "Unexpected HTTP request")
        assert await websocket.answers() == []


async def test_a_poll_that_is_left_over_ends_and_takes_nothing_with_it(valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path) as running,
        raw_polling(running.url, joined=True) as polling,
        raw_socket(running.url, sid=polling.sid) as websocket,
    ):
        left_over = asyncio.create_task(polling.poll())
        await wait_until(lambda: len(running.server.server_state.tasks) == 1, "a poll waits")
        await websocket.send("2probe")
        assert await websocket.read() == "3probe"
        assert await left_over == ["6"]
        await websocket.send("5", '42["get_subscriptions"]')
        assert [event_of(packet)[0] for packet in await websocket.answers()] == ["subscriptions_info"]


async def test_a_client_that_lags_as_it_changes_over_is_watched_from_then_on(valkey_url: str, tmp_path: Path) -> None:
    bounds = {"send_buffer_bytes": 4096, "alert_lane_events": 10_000, "lagging_timeout": 3.0}
    async with (
        gateway(valkey_url, tmp_path, **bounds) as running,
        open_redis(valkey_url) as redis,
        raw_polling(running.url, joined=True) as polling,
    ):
        await polling.send('42["subscribe",{"pairs":["EUR_USD"],"snapshot":false}]')
        await polling.poll()
        [*_, last] = await EventLog(redis).publisher().publish([alert("EUR_USD") for _ in range(3000)])
        await wait_until(lambda: running.hub.cursor == last, "the hub has the alerts")
        slow: dict[str, Any] = {"max_queue": 1, "close_timeout": 0.1, "sock": connected(running.url, receive_buffer=4096)}
        async with raw_socket(running.url, sid=polling.sid, **slow) as websocket:
            await change_over(polling, websocket)
            [client] = running.hub.clients
            await wait_until(lambda: client.paused, "the connection is full")
            await wait_until(lambda: len(running.hub.clients) == 0, "the client that does not read is cut off")
            assert running.hub.statistics.cut_off["lagging for too long"].value == 1


async def assert_polling_goes_on(polling: RawPolling) -> None:
    """Check that a polling session has lost nothing."""
    await polling.send('42["get_subscriptions"]')
    packets: list[str] = []
    while not packets:
        packets += [packet for packet in await polling.poll() if packet != "6"]
    assert [event_of(packet)[0] for packet in packets] == ["subscriptions_info"]


async def assert_upgrade_works(url: str, polling: RawPolling) -> None:
    """Check that a polling session can still change over."""
    async with raw_socket(url, sid=polling.sid) as websocket:
        assert await change_over(polling, websocket) == []
        assert [packet for packet in await websocket.answers() if packet != "6"] == []
