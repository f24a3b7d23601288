"""Clients that stop reading: they cost the others nothing, and find the newest prices and every alert when they read again."""

import asyncio
import errno
import select
import socket
import statistics
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from app.market.clock import parse_time, utc_now
from app.market.pair import DEFAULT_PAIRS
from app.realtime.contract.event import cursor_order
from app.realtime.log.log import EventLog, Publisher, open_redis
from tests.gateways import GatewayProcess, command
from tests.realtime.listening import alert, tick
from tests.realtime.socket_clients import PING, PONG, TEXT, UPGRADE_HEADERS, event_of, frame, raw_socket
from tests.realtime.stream_clients import EventSourceParser, connected
from tests.waiting import wait_until

MEGABYTE = 1_000_000
KINDS = ["websocket", "stream", "plain"]


class SlowClient:
    """A client of all pairs on a bare socket, for whom the kernel keeps little. It reads when it is told."""

    def __init__(self, url: str, kind: str) -> None:
        self.kind = kind
        self.socket = connected(url, receive_buffer=65_536)
        self.events: list[tuple[str, Any]] = []
        self._unread = b""
        self._parser = EventSourceParser()

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def subscribe(self) -> None:
        """Ask for every pair, without a snapshot, and read until it is granted."""
        if self.kind == "stream":
            await self.send(b"GET /stream?pairs=*&snapshot=false HTTP/1.1\r\nHost: x\r\n\r\n")
        else:
            headers = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in UPGRADE_HEADERS.items())
            path = "/ws?pairs=*&snapshot=false" if self.kind == "plain" else "/socket.io/?EIO=4&transport=websocket"
            await self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        while b"\r\n\r\n" not in self._unread:
            self._unread += await asyncio.get_running_loop().sock_recv(self.socket, 65536)
        self._unread = self._unread.partition(b"\r\n\r\n")[2]
        if self.kind == "websocket":
            await self.send(frame(TEXT, b"40") + frame(TEXT, b'42["subscribe",{"pairs":"*","snapshot":false}]'))
        await self.read(lambda: any(name in ("subscription_confirmed", "stream_opened") for name, _ in self.events))

    async def read(self, until: Callable[[], bool]) -> None:
        """Read until the condition holds. A websocket answers pings."""
        async with asyncio.timeout(20):
            await self._take()  # what came with the head of the answer
            while not until():
                data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
                assert data, "the connection has ended"
                self._unread += data
                await self._take()

    async def pong(self) -> None:
        """Answer a ping, whether it has been read or not."""
        if self.kind != "stream":
            await self.send(frame(TEXT, b"3") if self.kind == "websocket" else frame(PONG))

    async def _take(self) -> None:
        if self.kind == "stream":
            self._take_chunks()
        elif self._take_frames():
            await self.pong()

    def _take_message(self, text: str) -> None:
        message = orjson.loads(text)
        self.events.append((message["type"], message["data"]))

    def _take_chunks(self) -> None:
        before = len(self._parser.events)
        while b"\r\n" in self._unread:
            size, _, rest = self._unread.partition(b"\r\n")
            if len(rest) < int(size, 16) + 2:
                break
            self._parser.feed(rest[: int(size, 16)].decode())
            self._unread = rest[int(size, 16) + 2 :]
        self.events += [(event.type, event.body) for event in self._parser.events[before:]]

    def _take_frames(self) -> bool:
        pinged = False
        while len(self._unread) >= 4:
            size, head = self._unread[1], 2
            if size >= 126:
                size, head = int.from_bytes(self._unread[2:4]), 4
            if len(self._unread) < head + size:
                break
            is_text = self._unread[0] == 0x81
            packet = self._unread[head : head + size].decode()
            self._unread = self._unread[head + size :]
            pinged = pinged or packet == "2" or not is_text
            if packet.startswith("42"):
                self.events.append(event_of(packet))
            elif self.kind == "plain" and is_text:
                self._take_message(packet)
        return pinged

    @property
    def of_the_log(self) -> list[tuple[str, Any]]:
        """The events of the log that came."""
        return [(name, body) for name, body in self.events if name in ("price_update", "volatility_alert")]


class Flow:
    """A thousand events a second, an alert among each hundred."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self.published: list[tuple[str, str | None]] = []

    async def publish(self, number: int) -> None:
        """Publish this many events at once; the last is an alert."""
        start = len(self.published)
        pairs = [DEFAULT_PAIRS[n % 20] for n in range(start, start + number - 1)]
        ids = await self._publisher.publish([*(tick(pair, f"1.{start % 89_999 + 10_000}") for pair in pairs), alert("EUR_USD")])
        self.published += zip(ids, [*pairs, None], strict=True)

    async def run(self, seconds: float) -> None:
        """Keep the rate up for a while."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for n in range(int(seconds * 10)):
            await self.publish(100)
            await asyncio.sleep(max(0.0, began + (n + 1) / 10 - loop.time()))


@asynccontextmanager
async def flowing(valkey_url: str, folder: Path, **environment: str) -> AsyncGenerator[tuple[GatewayProcess, str, Flow]]:
    """A gateway in a process of its own whose ring is full, so that its memory has stopped growing by itself."""
    async with open_redis(valkey_url) as redis:
        flow = Flow(EventLog(redis).publisher())
        for _ in range(12):
            await flow.publish(500)
        flow.published.clear()
        variables = {"REDIS_URL": valkey_url, "DATA_DIR": str(folder), **environment}
        async with command("gateway", "--port", "0", cwd=folder, **variables) as process:
            yield process, await process.ready_url(), flow
            assert await process.stop() == 0
            assert "Traceback" not in process.text


def memory(process: GatewayProcess) -> int:
    """Bytes of memory that a process holds."""
    return int(psutil.Process(process.pid).memory_info().rss)


@pytest.mark.usefixtures("untraced_test")
@pytest.mark.parametrize("kind", KINDS)
async def test_who_stops_reading_costs_nothing_and_finds_the_newest_prices_and_every_alert(
    kind: str, valkey_url: str, tmp_path: Path
) -> None:
    # A machine that does much else may be long in answering; who does not answer at all is another test.
    pings = {"WEBSOCKET_PING_INTERVAL": "0.5", "WEBSOCKET_PING_TIMEOUT": "20"}
    async with flowing(valkey_url, tmp_path, **pings) as (process, url, flow), raw_socket(url, joined=True) as steady:
        await steady.send('42["subscribe",{"pairs":"*","snapshot":false}]')
        latencies: list[float] = []
        reading = asyncio.create_task(_measure(steady.read, latencies))
        slow = SlowClient(url, kind)
        with slow.socket:
            await slow.subscribe()
            keeping_up = asyncio.create_task(slow.read(lambda: len(slow.of_the_log) == 1500))
            await flow.run(1.5)
            await keeping_up

            before = memory(process)
            usual = statistics.median(latencies)
            latencies.clear()
            flow_on = asyncio.create_task(flow.run(4))
            while not flow_on.done():
                await slow.pong()
                await asyncio.wait({flow_on}, timeout=0.2)
            assert memory(process) - before < 4 * MEGABYTE
            assert not reading.done(), reading.exception()
            assert len(latencies) > 3500
            assert statistics.median(latencies) < max(0.25, 10 * usual)

            await slow.read(lambda: _last_id(slow) == flow.published[-1][0])
            await flow.run(0.3)
            await slow.read(lambda: _last_id(slow) == flow.published[-1][0])
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        _assert_conflated(slow, flow.published)


def _assert_conflated(slow: SlowClient, published: list[tuple[str, str | None]]) -> None:
    """Check that the client got everything up to a jump in the ids, then, at one moment, the newest price of each pair
    and every alert, and everything from there on."""
    got = [body["id"] for _, body in slow.of_the_log]
    assert got == sorted(set(got), key=cursor_order)
    everything = [id for id, _ in published]
    jump = next(n for n, id in enumerate(got) if id != everything[n])
    left_out = len(published) - len(got)
    assert left_out > 1500, "a good part of what was missed was never sent"
    notices = [body for name, body in slow.events if name == "conflated"]
    assert sum(notice["count"] for notice in notices) == left_out
    assert {pair for notice in notices for pair in notice["pairs"]} <= set(DEFAULT_PAIRS)

    def resumed_at(moment: int) -> list[str]:
        missed = published[jump:moment]
        newest = {pair: id for id, pair in missed if pair is not None}
        alerts = [id for id, pair in missed if pair is None]
        return sorted([*newest.values(), *alerts], key=cursor_order) + everything[moment:]

    assert any(got[jump:] == resumed_at(moment) for moment in range(jump, len(published) + 1))


@pytest.mark.parametrize("kind", KINDS)
async def test_who_lags_for_too_long_is_reset_at_once(kind: str, valkey_url: str, tmp_path: Path) -> None:
    async with flowing(valkey_url, tmp_path, LAGGING_TIMEOUT="1") as (process, url, flow):
        slow = SlowClient(url, kind)
        with slow.socket:
            await slow.subscribe()
            poller = select.poll()
            poller.register(slow.socket, select.POLLERR)
            loop = asyncio.get_running_loop()
            began = loop.time()
            flow_on = asyncio.create_task(flow.run(30))
            await wait_until(lambda: bool(poller.poll(0)), "the connection is reset", 20)
            assert loop.time() - began > 1
            flow_on.cancel()
            await asyncio.gather(flow_on, return_exceptions=True)
            assert slow.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (errno.ECONNRESET, errno.EPIPE)
            connections = psutil.Process(process.pid).net_connections()
            assert not [one for one in connections if one.raddr and one.raddr.port == slow.socket.getsockname()[1]]
        assert "lagging for too long" in process.text


async def test_pings_of_the_websocket_itself_do_not_pile_up(valkey_url: str, tmp_path: Path) -> None:
    async with flowing(valkey_url, tmp_path) as (process, url, _):
        slow = SlowClient(url, "websocket")
        with slow.socket:
            await slow.subscribe()
            pings = frame(PING, b"x" * 125) * 1000
            for _ in range(20):
                await slow.send(pings)
            before = memory(process)
            for _ in range(100):
                await slow.send(pings)
            assert memory(process) - before < 4 * MEGABYTE
            assert slow.events
            async with raw_socket(url, joined=True) as other:
                assert await other.answers() == []


async def test_answers_that_are_not_read_do_not_pile_up(valkey_url: str, tmp_path: Path) -> None:
    async with flowing(valkey_url, tmp_path) as (process, url, _):
        slow = SlowClient(url, "websocket")
        with slow.socket:
            await slow.subscribe()
            before = memory(process)
            sending = asyncio.create_task(slow.send(frame(TEXT, b'42["request_all_prices"]') * 100_000))
            most = 0
            while "alert lane overflowed" not in process.text:
                most = max(most, memory(process) - before)
                await asyncio.wait({sending}, timeout=0.01)
            assert most < 10 * MEGABYTE  # a thousand answers of 7 KB are in its lane
            await asyncio.gather(sending, return_exceptions=True)


def _last_id(slow: SlowClient) -> str | None:
    return slow.of_the_log[-1][1].get("id") if slow.of_the_log else None


async def _measure(read: Callable[[], Any], latencies: list[float]) -> None:
    while True:
        packet = await read()
        if packet.startswith('42["price_update"'):
            latencies.append((utc_now() - parse_time(orjson.loads(packet[2:])[1]["timestamp"])).total_seconds())
