"""Clients for tests of the hub: they keep what they are sent, and are full when the test says so."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import orjson
from redis.asyncio import Redis

from app.market.clock import utc_now
from app.market.pair import DEFAULT_PAIRS, CurrencyPair, TrackedPairs
from app.market.quote import Quote
from app.realtime.contract.event import Draft, cursor_order, price_update
from app.realtime.contract.publication import publication
from app.realtime.hub.delivery import Direct, Fetching
from app.realtime.hub.frames import EVENT_STREAM
from app.realtime.hub.hub import Hub
from app.realtime.hub.subscription import Bounds, Interest, Subscription
from app.realtime.log.log import EventLog, Publisher, open_redis
from tests.waiting import wait_until

TRACKED = TrackedPairs(DEFAULT_PAIRS)


class ListTransport(asyncio.Transport):
    """A transport that writes to a list, calls back after each write, and has as many unsent bytes as the test says."""

    def __init__(self, written: list[bytes], on_write: Callable[[bytes], None] | None = None) -> None:
        super().__init__()
        self.unsent = 0
        self._written = written
        self._on_write = on_write

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._written.append(bytes(data) if not isinstance(data, bytes) else data)
        if self._on_write is not None:
            self._on_write(self._written[-1])

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return (16_384, 65_536)


class Listener:
    """A client whose connection is a list. Direct, it is written to; otherwise it fetches from its outbox."""

    def __init__(self, hub: Hub, *, direct: bool = True, bounds: Bounds | None = None, room: int = 1_000_000) -> None:
        self.hub = hub
        self.received: list[bytes] = []
        self.cut: str | None = None
        self.room = room
        self.client = Subscription(
            "listener",
            "sse",
            EVENT_STREAM,
            bounds or hub.bounds,
            Direct(ListTransport(self.received, self._fill)) if direct else Fetching(self._wake),
            cut=self._be_cut,
            finish=self._finish,
        )
        self.woken = 0
        self.finished = False

    def _fill(self, data: bytes) -> None:
        self.room -= len(data)
        if self.room < 0 and not self.client.paused:
            self.hub.pause(self.client)

    def read(self, room: int = 1_000_000) -> None:
        """Read everything: the connection has room again."""
        self.room = room
        if self.client.paused:
            self.hub.resume(self.client)

    def fetch(self) -> None:
        """Take what waits, as a polling client does."""
        self.received += self.client.take()

    def _wake(self) -> None:
        self.woken += 1

    def _be_cut(self, reason: str) -> None:
        self.cut = reason

    def _finish(self) -> None:
        self.finished = True

    @property
    def events(self) -> list[tuple[str, str | None, dict[str, object]]]:
        """What came: type, SSE id and payload."""
        blocks = b"".join(self.received).decode().split("\n\n")
        parsed = []
        for block in filter(None, blocks):
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            parsed.append((fields["event"], fields.get("id"), orjson.loads(fields["data"])))
        return parsed

    @property
    def ids(self) -> list[str]:
        """The ids of the events that have one."""
        return [id for _, id, _ in self.events if id is not None]


def interest(*pairs: str, max_hz: float | None = None) -> Interest:
    """An interest in these pairs."""
    return Interest(frozenset(pairs), max_hz)


def tick(pair: str = "EUR_USD", bid: str = "1.1") -> Draft:
    """A price on its way to the log."""
    price = Decimal(bid)
    return price_update(Quote(CurrencyPair.parse(pair), price, price + Decimal("0.001"), utc_now(), "replay"), utc_now())


def alert(pair: str = "EUR_USD") -> Draft:
    """A volatility alert on its way to the log."""
    return publication("volatility_alert", {"instrument": pair, "volatility": 0.03, "threshold": 0.02}, TRACKED)


def data_ready(count: int = 1) -> Draft:
    """News for everyone on its way to the log."""
    return publication("data_ready", {"data_type": "prices", "count": count}, TRACKED)


async def lose_the_log(redis: Redis, cursor: str) -> None:
    """Delete everything, and return when Redis's clock is past the cursor, so that new ids are above the lost ones."""
    await redis.flushall()

    async def is_past() -> bool:
        seconds, microseconds = await redis.time()
        return seconds * 1000 + microseconds // 1000 > cursor_order(cursor)[0]

    await wait_until(is_past, f"the clock is past {cursor}")


class Stage:
    """A hub at work on a log."""

    def __init__(self, hub: Hub, log: EventLog, publisher: Publisher) -> None:
        self.hub = hub
        self.log = log
        self.publisher = publisher

    async def publish(self, *drafts: Draft) -> list[str]:
        """Publish, and return when the hub has handed the events out."""
        ids = await self.publisher.publish(drafts)
        await self.passed(ids[-1])
        return ids

    async def passed(self, cursor: str) -> None:
        """Return when the hub has read up to the cursor."""
        await wait_until(lambda: cursor_order(self.hub.cursor) >= cursor_order(cursor), f"the hub has read {cursor}")

    def listen(self, *pairs: str, direct: bool = True, bounds: Bounds | None = None, snapshot: bool = False) -> Listener:
        """A client of these pairs, live."""
        listener = Listener(self.hub, direct=direct, bounds=bounds)
        self.hub.connect(listener.client)
        self.hub.follow(listener.client, interest(*pairs), snapshot=snapshot)
        return listener

    async def resume(self, cursor: str, *pairs: str, direct: bool = True, room: int = 1_000_000) -> Listener:
        """A client of these pairs that resumes after the cursor."""
        listener = Listener(self.hub, direct=direct, room=room)
        self.hub.connect(listener.client)
        held = await self.hub.holds(cursor)
        assert held is not None
        self.hub.follow(listener.client, interest(*pairs), held=held)
        return listener


@asynccontextmanager
async def stage(
    url: str, *, bounds: Bounds | None = None, max_clients: int = 1000, heartbeat_interval: float = 60, ring_size: int = 4096
) -> AsyncGenerator[Stage]:
    """A running hub that has caught up with the log at the URL."""
    async with open_redis(url) as redis:
        log = EventLog(redis)
        hub = Hub(
            log,
            TRACKED,
            max_clients=max_clients,
            bounds=bounds,
            heartbeat_interval=heartbeat_interval,
            ring_size=ring_size,
        )
        running = asyncio.create_task(hub.run())
        try:
            await asyncio.wait_for(hub.caught_up(), 10)
            yield Stage(hub, log, log.publisher())
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            if not running.cancelled() and running.exception() is not None:
                raise AssertionError("the hub failed") from running.exception()
