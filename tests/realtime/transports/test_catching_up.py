"""Bursts and slow clients over every transport: who reads gets everything, who cannot is told what was left out."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.market.pair import DEFAULT_PAIRS
from app.realtime.contract.answers import Conflated, SubscriptionConfirmed, UnsubscriptionConfirmed
from app.realtime.contract.event import Draft, cursor_order
from app.realtime.log.log import EventLog, Publisher, open_redis
from tests.gateways import RunningGateway, gateway
from tests.realtime.listening import alert, tick
from tests.realtime.plain_clients import plain_socket
from tests.realtime.socket_clients import POLLING, RawPolling, event_of, raw_polling, raw_socket, stock_client
from tests.realtime.stream_clients import EventSourceParser, connected, raw_stream
from tests.waiting import wait_until

SUBSCRIBE = '42["subscribe",{"pairs":"*","snapshot":false}]'

Events = list[tuple[str, Any]]
Read = Callable[[Callable[[Events], bool]], Awaitable[Events]]
"""Reads until the condition holds, and gives all that came."""


@asynccontextmanager
async def running(valkey_url: str, folder: Path, **settings: Any) -> AsyncGenerator[tuple[RunningGateway, Publisher]]:
    async with open_redis(valkey_url) as redis, gateway(valkey_url, folder, **settings) as running:
        yield running, EventLog(redis).publisher()


@asynccontextmanager
async def reader(kind: str, url: str) -> AsyncGenerator[Read]:
    """A client of every pair over one transport."""
    events: Events = []

    async def read(until: Callable[[Events], bool]) -> Events:
        async with asyncio.timeout(30):
            while not until(events):
                events.extend(await more())
        return events

    if kind == "websocket":
        async with raw_socket(url, joined=True) as socket:
            await socket.send(SUBSCRIBE)

            async def more() -> Events:
                packet = await socket.read()
                return [event_of(packet)] if packet.startswith("42") else []

            await read(lambda events: bool(events))
            yield read
    elif kind == "plain":
        async with plain_socket(url, "?pairs=*&snapshot=false") as plain:

            async def more() -> Events:
                message = await plain.read()
                return [(message.type, message.data)]

            events.append((plain.opened.type, plain.opened.data))
            yield read
    elif kind == "polling":
        async with raw_polling(url, joined=True) as polling:
            await polling.send(SUBSCRIBE)

            async def more() -> Events:
                return [event_of(packet) for packet in await polling.poll() if packet.startswith("42")]

            await read(lambda events: bool(events))
            yield read
    else:
        version = "1.0" if kind == "old stream" else "1.1"
        async with raw_stream(url, "/stream?pairs=*&snapshot=false", version=version) as stream:

            async def more() -> Events:
                before = len(stream.parser.events)
                await stream.read_some()
                return [(event.type, event.body) for event in stream.parser.events[before:]]

            await read(lambda events: bool(events))
            yield read


def ids_of(events: Events) -> list[str]:
    return [body["id"] for name, body in events if name in ("price_update", "volatility_alert")]


def events_in(answer: bytes) -> Events:
    """The events in an answer, as far as it has come."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" in head:
        chunks = body
        body = b""
        while (line := chunks.partition(b"\r\n"))[1] and len(line[2]) >= int(line[0], 16) + 2:
            body += line[2][: int(line[0], 16)]
            chunks = line[2][int(line[0], 16) + 2 :]
    parser = EventSourceParser()
    parser.feed(body.decode())
    return [(event.type, event.body) for event in parser.events]


def burst(number: int) -> list[Draft]:
    """Prices of all pairs with an alert among each hundred."""
    return [
        alert() if n % 100 == 50 else tick(DEFAULT_PAIRS[n % len(DEFAULT_PAIRS)], f"1.{n % 89_999 + 10_000}")
        for n in range(number)
    ]


@pytest.mark.parametrize("number", [400, 2500])
@pytest.mark.parametrize("kind", ["websocket", "polling", "stream", "old stream", "plain"])
async def test_a_client_that_reads_at_once_gets_a_burst_whole(kind: str, number: int, valkey_url: str, tmp_path: Path) -> None:
    async with running(valkey_url, tmp_path) as (on, publisher), reader(kind, on.url) as read:
        ids = await publisher.publish(burst(number))
        events = await read(lambda events: ids_of(events)[-1:] == ids[-1:])
        assert ids_of(events) == ids
        live = await publisher.publish([tick(), alert()])
        events = await read(lambda events: ids_of(events)[-1:] == live[-1:])
        assert ids_of(events) == ids + live
        assert "conflated" not in [name for name, _ in events]
        assert on.hub.statistics.conflated.value == 0


async def test_the_stock_client_gets_a_burst_whole_by_polling(valkey_url: str, tmp_path: Path) -> None:
    async with running(valkey_url, tmp_path) as (on, publisher), stock_client(on.url, POLLING) as client:
        await client.ask("subscribe", "subscription_confirmed", {"pairs": "*", "snapshot": False})
        ids = await publisher.publish(burst(400))
        await wait_until(lambda: len(client.ids) >= 400, "the burst", 30)
        assert client.ids == ids


async def test_a_poll_that_comes_late_is_no_lag(valkey_url: str, tmp_path: Path) -> None:
    async with running(valkey_url, tmp_path) as (on, publisher), raw_polling(on.url, joined=True) as polling:
        await polling.send(SUBSCRIBE)
        await polling.poll()
        [client] = on.hub.clients
        assert client.fetching is not None
        ids = await publisher.publish(burst(400))
        await wait_until(lambda: client.has_fallen_back, "more waits than the outbox may hold")
        on.hub._clock = lambda now=on.hub._clock: now() + 5  # type: ignore[misc]
        events: Events = []
        while ids_of(events)[-1:] != ids[-1:]:
            events += [event_of(packet) for packet in await polling.poll() if packet.startswith("42")]
        assert ids_of(events) == ids


async def test_subscribing_with_a_cursor_while_a_burst_is_caught_up_with(valkey_url: str, tmp_path: Path) -> None:
    async with running(valkey_url, tmp_path) as (on, publisher), raw_polling(on.url, joined=True) as polling:
        await polling.send('42["subscribe",{"pairs":["EUR_USD"],"snapshot":false}]')
        await polling.poll()
        [client] = on.hub.clients
        ids = await publisher.publish([tick("EUR_USD" if n % 10 else "USD_JPY", f"1.{n + 10_000}") for n in range(400)])
        await wait_until(lambda: client.has_fallen_back, "more waits than the outbox may hold")
        asking = asyncio.create_task(polling.send(f'42["subscribe",{{"pairs":["USD_JPY"],"since":"{ids[0]}","snapshot":false}}]'))
        events: Events = []
        while len([body for name, body in events if name == "price_update"]) < 399:
            events += [event_of(packet) for packet in await polling.poll() if packet.startswith("42")]
        await asking
        assert "subscription_error" not in [name for name, _ in events]
        got = [body.get("id") for name, body in events if name == "price_update"]
        assert [id for id in got if id] == [id for n, id in enumerate(ids) if n % 10]
        assert got.count(None) == 39


async def _poll_until(polling: RawPolling, events: Events, name: str) -> Any:
    while name not in [type for type, _ in events]:
        events += [event_of(packet) for packet in await polling.poll() if packet.startswith("42")]
    return next(body for type, body in events if type == name)


async def test_who_does_not_poll_for_long_has_the_newest_prices_and_every_alert_and_is_told(
    valkey_url: str, tmp_path: Path
) -> None:
    patient = running(valkey_url, tmp_path, websocket_ping_interval=120)
    async with patient as (on, publisher), raw_polling(on.url, joined=True) as polling:
        await polling.send(SUBSCRIBE)
        await polling.poll()
        [client] = on.hub.clients
        ids = await publisher.publish(burst(100))
        await wait_until(lambda: client.waiting == 100, "the first events wait")
        fetching = client.fetching
        assert fetching is not None
        fetching._answered_at -= 11
        await wait_until(lambda: client.conflating, "the client is found to be idle")
        ids += await publisher.publish(burst(600))
        await wait_until(lambda: on.hub.cursor == ids[-1], "the hub has read it all")
        events: Events = []
        notice = Conflated.model_validate(await _poll_until(polling, events, "conflated"))
        got = ids_of(events)
        assert got == sorted(set(got), key=cursor_order)
        alerts = [id for n, id in enumerate(ids) if (n if n < 100 else n - 100) % 100 == 50]
        assert [body["id"] for name, body in events if name == "volatility_alert"] == alerts
        assert {body["instrument"] for name, body in events if name == "price_update"} == set(DEFAULT_PAIRS)
        assert notice.count == 700 - len(got)
        assert set(notice.pairs) == set(DEFAULT_PAIRS)
        assert cursor_order(notice.from_) < cursor_order(ids[0])
        assert notice.to == ids[-1]
        assert "id" not in next(body for name, body in events if name == "conflated")
        await _check_confirmations(polling, notice.count)
        live = await publisher.publish(burst(400))
        events.clear()
        while ids_of(events)[-1:] != live[-1:]:
            events += [event_of(packet) for packet in await polling.poll() if packet.startswith("42")]
        assert ids_of(events) == live


async def _check_confirmations(polling: RawPolling, count: int) -> None:
    """Statistics and confirmations say how many prices were left out; a confirmation says so once."""
    await polling.send('42["get_server_stats"]')
    stats = await _poll_until(polling, [], "server_stats")
    assert stats["conflated"]["count"] == count
    assert stats["prices_conflated"] == count
    await polling.send('42["unsubscribe",{"pairs":["EUR_USD"]}]')
    left = UnsubscriptionConfirmed.model_validate(await _poll_until(polling, [], "unsubscription_confirmed"))
    assert left.conflated == count
    await polling.send('42["subscribe",{"pairs":["EUR_USD"],"snapshot":false}]')
    confirmed = SubscriptionConfirmed.model_validate(await _poll_until(polling, [], "subscription_confirmed"))
    assert confirmed.conflated == 0


@pytest.mark.usefixtures("untraced_test")
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_resume_on_a_thin_line_is_thinned_and_told(version: str, valkey_url: str, tmp_path: Path) -> None:
    async with running(valkey_url, tmp_path) as (on, publisher):
        [start, *ids] = await publisher.publish(burst(3000))
        await wait_until(lambda: on.hub.cursor == ids[-1], "the hub has read it all")
        with connected(on.url, receive_buffer=2048) as line:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(line, f"GET /stream?pairs=*&last_event_id={start} HTTP/{version}\r\nHost: x\r\n\r\n".encode())
            body, events = b"", Events()
            async with asyncio.timeout(30):
                while "conflated" not in [name for name, _ in events]:
                    body += await loop.sock_recv(line, 800)
                    await asyncio.sleep(0.1)  # eight kilobytes a second
                    events = events_in(body)
        assert events[0][1]["recovered"] is True
        alerts = [id for n, id in enumerate([start, *ids]) if n % 100 == 50]
        assert [body["id"] for name, body in events if name == "volatility_alert"] == alerts
        notices = [Conflated.model_validate(body) for name, body in events if name == "conflated"]
        prices = [body for name, body in events if name == "price_update"]
        assert sum(notice.count for notice in notices) == len(ids) - len(alerts) - len(prices)
        newest = {body["instrument"]: body["price"]["bid"] for body in prices}
        book = {pair: on.hub.book.newest(pair) for pair in DEFAULT_PAIRS}
        assert newest == {pair: event.body["price"]["bid"] for pair, event in book.items() if event is not None}
