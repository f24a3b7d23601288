"""The change from polling to a websocket: nothing lost, nothing twice, and no harm where it fails."""

import asyncio
import random
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from app.realtime import engine
from app.realtime.event import Draft
from app.realtime.log import EventLog, open_redis
from app.realtime.subscription import Bounds
from tests.gateways import gateway
from tests.realtime.listening import alert, tick
from tests.realtime.socket_clients import RawPolling, RawSocket, event_of, raw_polling, raw_socket
from tests.realtime.watching import watched
from tests.waiting import wait_until


async def change_over(polling: RawPolling, socket: RawSocket) -> list[str]:
    """Upgrade as the protocol has it, polling until the NOOP; gives the packets that came by polling meanwhile."""
    await socket.send("2probe")
    assert await socket.read() == "3probe"
    packets: list[str] = []
    while "6" not in packets:
        packets += await polling.poll()
    await socket.send("5")
    return [packet for packet in packets if packet != "6"]


def ids_of(packets: list[str]) -> list[str]:
    """The ids of the events among the packets."""
    return [event_of(packet)[1]["id"] for packet in packets]


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
                async with raw_socket(on.url, sid=polling.sid) as socket:
                    packets += await change_over(polling, socket)
                    for _ in range(200):
                        packets.append(await socket.read())
            return cursor, ids_of([packet for packet in packets if packet != "6"])

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
            async with raw_socket(running.url, sid=polling.sid) as socket:
                await socket.send("2probe")
                assert await socket.read() == "3probe"
                assert await polling.poll() == ["6"]
                await socket.send("5")
                while len(packets) < 41:
                    packet = await socket.read()
                    packets += [packet] if packet != "6" else []
                assert ids_of(packets) == ids
                [live] = await publisher.publish([tick("EUR_USD")])
                assert event_of((await socket.answers())[0])[1]["id"] == live


@pytest.mark.parametrize("first", ["2", "2probe ", "3probe", "5", "", '42["ping"]', b"2probe"])
async def test_a_websocket_that_does_not_probe_leaves_polling_as_it_was(
    first: str | bytes, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_polling(running.url, joined=True) as polling:
        async with raw_socket(running.url, sid=polling.sid) as socket:
            await socket.send(first)
            await socket.end()
        await assert_polling_goes_on(polling)
        await assert_upgrade_works(running.url, polling)


@pytest.mark.parametrize("second", ["2probe", "6", '42["ping"]', None])
async def test_a_websocket_that_does_not_go_through_with_it_leaves_polling_as_it_was(
    second: str | None, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_polling(running.url, joined=True) as polling:
        async with raw_socket(running.url, sid=polling.sid) as socket:
            await socket.send("2probe")
            assert await socket.read() == "3probe"
            if second is not None:
                await socket.send(second)
                await socket.end()
        await assert_polling_goes_on(polling)
        await assert_upgrade_works(running.url, polling)


async def test_a_websocket_that_says_nothing_is_not_waited_for(
    valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PROBE_WITHIN", 0.2)
    async with gateway(valkey_url, tmp_path) as running, raw_polling(running.url, joined=True) as polling:
        async with raw_socket(running.url, sid=polling.sid) as socket:
            await assert_polling_goes_on(polling)
            await socket.end(3)
        async with raw_socket(running.url, sid=polling.sid) as socket:
            await socket.send("2probe")
            assert await socket.read() == "3probe"
            await socket.end(3)
        await assert_polling_goes_on(polling)
        await assert_upgrade_works(running.url, polling)


async def test_a_session_has_one_websocket_at_a_time(valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path) as running,
        raw_polling(running.url, joined=True) as polling,
        raw_socket(running.url, sid=polling.sid) as socket,
    ):
        with pytest.raises(InvalidStatus, match="403"):
            async with raw_socket(running.url, sid=polling.sid):
                pass
        assert await change_over(polling, socket) == []
        with pytest.raises(InvalidStatus, match="403"):
            async with raw_socket(running.url, sid=polling.sid):
                pass
        assert await socket.answers() == []
    await wait_until(lambda: running.hub.client_count == 0, "the client is gone")


async def test_polls_during_the_change_get_nothing_and_after_it_are_refused(valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path) as running,
        raw_polling(running.url, joined=True) as polling,
        raw_socket(running.url, sid=polling.sid) as socket,
    ):
        await socket.send("2probe")
        assert await socket.read() == "3probe"
        await polling.send('42["get_subscriptions"]')
        assert [await polling.poll() for _ in range(3)] == [["6"]] * 3
        await socket.send("5")
        packets = await socket.answers()
        assert packets[0] == "6"
        assert event_of(packets[1])[0] == "subscriptions_info"
        for answer in (await polling.get(), await polling.post('42["ping"]')):
            assert (answer.status_code, answer.json()) == (400, "Unexpected HTTP request")
        assert await socket.answers() == []


async def test_a_poll_that_is_left_over_ends_and_takes_nothing_with_it(valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path) as running,
        raw_polling(running.url, joined=True) as polling,
        raw_socket(running.url, sid=polling.sid) as socket,
    ):
        left_over = [asyncio.create_task(polling.poll()) for _ in range(3)]
        await socket.send("2probe")
        assert await socket.read() == "3probe"
        await wait_until(lambda: any(task.done() for task in left_over), "one poll has got the NOOP")
        await socket.send("5", '42["get_subscriptions"]')
        assert [event_of(packet)[0] for packet in await socket.answers()] == ["subscriptions_info"]
        assert await asyncio.gather(*left_over) == [["6"]] * 3


async def test_a_client_that_lags_as_it_changes_over_is_watched_from_then_on(valkey_url: str, tmp_path: Path) -> None:
    bounds = {"send_buffer_bytes": 4096, "alert_lane_events": 100_000, "lagging_timeout": 1.0}
    async with gateway(valkey_url, tmp_path, **bounds) as running, open_redis(valkey_url) as redis:
        assert running.hub.bounds == Bounds(4096, 100_000, 1.0)
        running.hub.bounds = Bounds(4096, 100_000, 60)
        async with raw_polling(running.url, joined=True) as polling:
            await polling.send('42["subscribe",{"pairs":["EUR_USD"],"snapshot":false}]')
            await polling.poll()
            running.hub.bounds = Bounds(4096, 100_000, 1.0)
            drafts: list[Draft] = [alert("EUR_USD") for _ in range(20_000)]
            for n in range(0, 20_000, 1000):
                [*_, last] = await EventLog(redis).publisher().publish(drafts[n : n + 1000])
            await wait_until(lambda: running.hub.cursor == last, "the hub has the alerts", 20)
            async with raw_socket(running.url, sid=polling.sid, max_queue=1) as socket:
                await socket.send("2probe")
                assert await socket.read() == "3probe"
                await polling.poll()
                await socket.send("5")
                await wait_until(lambda: running.hub.client_count == 0, "the client that does not read is cut off", 10)
                assert running.hub.cut_off == {"lagging for too long": 1}


async def assert_polling_goes_on(polling: RawPolling) -> None:
    """Check that a polling session has lost nothing."""
    await polling.send('42["get_subscriptions"]')
    packets: list[str] = []
    while not packets:
        packets += [packet for packet in await polling.poll() if packet != "6"]
    assert [event_of(packet)[0] for packet in packets] == ["subscriptions_info"]


async def assert_upgrade_works(url: str, polling: RawPolling) -> None:
    """Check that a polling session can still change over."""
    async with raw_socket(url, sid=polling.sid) as socket:
        assert await change_over(polling, socket) == []
        assert [packet for packet in await socket.answers() if packet != "6"] == []
