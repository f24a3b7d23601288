"""OANDA's prices, from a stand-in for OANDA, through the processes of a gateway, with every fault on the way."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.market.bars.candle import Candle, Granularity
from app.market.pair import CurrencyPair
from app.realtime.contract.event import cursor_order
from app.sources import SOURCES
from app.storage.database.database import open_database
from app.storage.market.candles import Candles
from tests.end_to_end.recorders import Record, python_socketio
from tests.gateways import GatewayProcess, command
from tests.providers.oanda.stub import TOKEN, OandaStub
from tests.providers.oanda.stub_market import candles
from tests.realtime.stream_clients import StreamEvent, open_stream
from tests.untraced import UNTRACED
from tests.waiting import wait_until
from tests.wall_clock import WallClock

PAIRS = ("EUR_USD", "USD_JPY")
STALE_AFTER = 3
SILENCE = 5

_MINUTE = timedelta(minutes=1)


@pytest.fixture
async def stub() -> AsyncIterator[OandaStub]:
    """OANDA on a Tuesday at noon, when its market is open: on a closed one silence is no fault, and no price becomes stale."""
    async with OandaStub(WallClock.set_to(datetime(2026, 1, 13, 12, 0, 30, tzinfo=UTC))) as running:
        running.knobs.price_interval = 0.02
        yield running


class Listener:
    """What an event stream has said so far."""

    def __init__(self, events: list[StreamEvent]) -> None:
        self._events = events

    @property
    def prices(self) -> list[dict[str, Any]]:
        """The payloads of all prices, in the order they came."""
        return [event.body for event in self._events if event.type == "price_update"]

    @property
    def changes(self) -> list[dict[str, Any]]:
        """The payloads of all changes of the source."""
        return [event.body for event in self._events if event.type == "source_changed"]

    @property
    def statuses(self) -> list[tuple[str, str]]:
        """The status changes of sources that clients received, as source and status."""
        return [(event.body["source"], event.body["status"]) for event in self._events if event.type == "feed_status"]

    @property
    def sources(self) -> list[tuple[str, str]]:
        """The source of every price and the new source of every change, in order."""
        return [(event.type, event.body["source"]) for event in self._events if event.type in {"price_update", "source_changed"}]

    def check(self) -> None:
        """No event comes twice or out of order, and no price of a pair either."""
        orders = [cursor_order(event.body["id"]) for event in self._events if "id" in event.body]
        assert orders == sorted(set(orders))
        for pair in PAIRS:
            prices = [body["price"] for body in self.prices if body["instrument"] == pair]
            assert len({tuple(sorted(price.items())) for price in prices}) == len(prices)
            assert [price["time"] for price in prices] == sorted(price["time"] for price in prices)
        assert not [event for event in self._events if event.type == "gap"]


@asynccontextmanager
async def _listening(url: str) -> AsyncGenerator[Listener]:
    """Record everything an event stream sends meanwhile."""
    async with open_stream(url, f"/stream?pairs={','.join(PAIRS)}") as stream, asyncio.TaskGroup() as tasks:

        async def listen() -> None:
            while not stream.ended:
                await stream.read_some()

        listening = tasks.create_task(listen())
        yield Listener(stream.parser.events)
        listening.cancel()


def _settings(stub: OandaStub, redis_url: str, folder: Path, **more: str) -> dict[str, str]:
    settings = {
        "REDIS_URL": redis_url,
        "DATABASE_URL": f"sqlite:///{folder}/fx.db",
        "SOURCE": "oanda",
        "OANDA_TOKEN": TOKEN,
        "OANDA_REST_URL": stub.rest_url,
        "OANDA_STREAM_URL": stub.stream_url,
        "TRACKED_PAIRS": ",".join(PAIRS),
        "STALE_AFTER": str(STALE_AFTER),
        "LOG_LEVEL": "debug",
    }
    return {**settings, **UNTRACED, **stub.clock.environment, **more}


@asynccontextmanager
async def _processes(folder: Path, settings: Mapping[str, str]) -> AsyncGenerator[tuple[str, GatewayProcess]]:
    """A gateway, a recorder and a feed; yields the URL and the feed. None of them may print the token."""
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(command("gateway", "--port", "0", cwd=folder, **settings))
        url = await gateway.ready_url()
        recorder = await stack.enter_async_context(command("recorder", cwd=folder, **settings))
        feed = await stack.enter_async_context(command("feed", cwd=folder, **settings))
        yield url, feed
        for process in (feed, recorder, gateway):
            assert await process.stop() == 0
            assert "Traceback" not in process.text
            assert TOKEN not in process.text
        assert "OANDA streams prices of 2 pairs" in feed.text


async def test_every_price_arrives_once_and_in_order_whatever_breaks(valkey_url: str, stub: OandaStub, tmp_path: Path) -> None:
    socketio = Record("python")
    async with _processes(tmp_path, _settings(stub, valkey_url, tmp_path)) as (url, _), _listening(url) as listener:
        following = asyncio.create_task(python_socketio(url, PAIRS, None, socketio))
        await wait_until(lambda: bool(socketio.opened), "the client of Socket.IO is subscribed", 30)
        await wait_until(lambda: len(listener.prices) > 50, "prices arrive", 30)
        for ending in ("reset", "mid-line", "end"):
            stub.knobs.disorder = stub.knobs.garbage = True
            had, streams = len(listener.prices), len(stub.departures)
            stub.break_off(ending)
            await wait_until(lambda streams=streams: len(stub.departures) > streams, "the stream is broken off", 30)  # type: ignore[misc]
            await wait_until(lambda had=had: len(listener.prices) > had + 50, "prices arrive again", 30)  # type: ignore[misc]
        stub.knobs.prices = False
        last = {pair: str(stub.market.last[pair]["time"])[:26] for pair in PAIRS}
        await wait_until(lambda: _newest(listener.prices) == last, "the last prices of both pairs have arrived", 30)
        await wait_until(lambda: socketio.last_id == listener.prices[-1]["id"], "also at the client of Socket.IO", 30)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

        listener.check()
        assert {(body["source"], body.get("kind")) for body in listener.prices} == {("oanda", None)}
        ids = [body["id"] for body in listener.prices]
        # The snapshot's newest price is the one that the next event follows; between that and its other one there may be more.
        assert len(socketio.ids) > 150
        assert socketio.ids[1:] == ids[ids.index(socketio.ids[1]) :]
        async with httpx.AsyncClient(base_url=url) as client:
            shown = (await client.get("/api/v1/prices/all")).json()["prices"]
            assert {(pair, price["source"]) for pair, price in shown.items()} == {(pair, "oanda") for pair in PAIRS}
            health = (await client.get("/health")).json()
            assert (health["source"], health["simulated"], health["sources"]) == ("oanda", False, {"oanda": "active"})


@pytest.mark.timeout(240)
async def test_a_stall_makes_prices_stale_and_the_minutes_missed_are_fetched(
    valkey_url: str, stub: OandaStub, tmp_path: Path
) -> None:
    settings = _settings(stub, valkey_url, tmp_path)
    async with (
        _processes(tmp_path, settings) as (url, feed),
        _listening(url) as listener,
        httpx.AsyncClient(base_url=url) as client,
    ):
        await wait_until(lambda: set(_newest(listener.prices)) == set(PAIRS), "both pairs have prices", 30)

        async def is_live() -> bool:
            return await _feed_states(client) == ("live", {False})

        await wait_until(is_live, "prices are fresh", 30)
        stub.knobs.stalled = True
        stalled = stub.clock.now()

        async def is_stale() -> bool:
            return await _feed_states(client) == ("stale", {True})

        await wait_until(is_stale, "prices are stale, and the health says so", STALE_AFTER + 10)
        await wait_until(lambda: listener.statuses == [("oanda", "silent")], "clients are told", 15)
        await wait_until(lambda: "neither price nor heartbeat for 10 s" in feed.text, "the feed gives the stream up", 30)
        stub.knobs.stalled = False
        await wait_until(is_live, "prices are fresh again", 30)
        back = stub.clock.now()
        told = [("oanda", "silent"), ("oanda", "live")]
        await wait_until(lambda: listener.statuses == told, "clients are told that the source is back", 15)
        await wait_until(lambda: " bars fetched" in feed.text, "the hole is filled", 120)
        listener.check()

        first, last = Granularity.M1.start(stalled), Granularity.M1.start(back)

        async def next_minute_is_recorded() -> bool:
            return all([await _stored_minutes(tmp_path, pair, last + _MINUTE, last + _MINUTE) for pair in PAIRS])

        # What was fetched has to outlast what the recorder made of the prices on either side of the hole.
        await wait_until(next_minute_is_recorded, "the recorder is past the hole", 90)
        for pair in PAIRS:
            # A minute without a quote has no bar.
            missed = [bar for bar in candles(pair, "M1", first, "MBA", first=True, now=stub.clock.now()) if _time(bar) <= last]
            stored = await _stored_minutes(tmp_path, pair, first, last)
            assert [_facts(bar) for bar in stored if bar.time in set(map(_time, missed))] == list(map(_facts_of_stub, missed))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("fault", ["stalls", "dies"])
async def test_another_source_stands_in_for_one_that_is_away_and_clients_are_told(
    fault: str, valkey_url: str, stub: OandaStub, tmp_path: Path
) -> None:
    settings = _settings(stub, valkey_url, tmp_path, SOURCE="oanda,simulated", SOURCE_SILENCE=str(SILENCE))
    async with (
        _processes(tmp_path, settings) as (url, _),
        _listening(url) as listener,
        httpx.AsyncClient(base_url=url) as client,
    ):

        async def is_told(source: str, states: Mapping[str, str]) -> bool:
            health = (await client.get("/health")).json()
            return (health["source"], health["simulated"], health["sources"]) == (source, source == "simulated", states)

        await wait_until(lambda: set(_newest(listener.prices)) == set(PAIRS), "both pairs have prices", 30)
        if fault == "dies":
            await stub.go_down()
        stub.knobs.stalled = True
        await wait_until(lambda: bool(listener.changes), "clients are told of another source", SILENCE + 20)
        silent = {"oanda": "silent", "simulated": "active"}
        await wait_until(lambda: is_told("simulated", silent), "the health shows it", 20)
        await wait_until(lambda: listener.sources[-20:] == [("price_update", "simulated")] * 20, "its prices come", 20)

        stub.knobs.stalled = False
        if fault == "dies":
            await stub.come_up()
        await wait_until(lambda: len(listener.changes) > 1, "clients are told that the first is back", 40)
        back = {"oanda": "active", "simulated": "standby"}
        await wait_until(lambda: is_told("oanda", back), "the health shows it", 20)
        await wait_until(lambda: listener.sources[-20:] == [("price_update", "oanda")] * 20, "its prices come", 20)

        listener.check()
        active = "oanda"
        for type, source in listener.sources:
            active = source if type == "source_changed" else active
            assert source == active, "every price is of the source that clients were told of last"
        away, home = listener.changes
        assert (away["previous"], away["source"], away["simulated"]) == ("oanda", "simulated", True)
        assert away["reason"] == f"oanda has not quoted for {SILENCE} s"
        assert (home["previous"], home["source"], home["simulated"]) == ("simulated", "oanda", False)


async def test_a_token_that_is_not_known_ends_the_feed_with_one_line_and_exit_code_2(
    valkey_url: str, stub: OandaStub, tmp_path: Path
) -> None:
    wrong = "fedcba9876543210-mistyped"
    async with command("feed", cwd=tmp_path, **_settings(stub, valkey_url, tmp_path, OANDA_TOKEN=wrong)) as feed:
        assert await feed.wait() == 2
    [line] = [line for line in feed.output if line.startswith("fx-gateway: ")]
    assert line.startswith("fx-gateway: OANDA refuses us: status 401, Insufficient authorization")
    assert feed.output[-1] == line
    assert "Traceback" not in feed.text
    assert wrong not in feed.text


# ---------------------------------------------------------------- what there is


def _newest(prices: list[dict[str, Any]]) -> dict[str, str]:
    """The time of the newest price of each pair, without its Z."""
    return {body["instrument"]: body["price"]["time"].removesuffix("Z") for body in prices}


async def _feed_states(client: httpx.AsyncClient) -> tuple[str, set[bool]]:
    """The feed state in the health, and the set of ``stale`` flags of the prices."""
    health, shown = await asyncio.gather(client.get("/health"), client.get("/api/v1/prices/all"))
    return health.json()["services"]["feed"], {price["stale"] for price in shown.json()["prices"].values()}


async def _stored_minutes(folder: Path, pair: str, first: datetime, last: datetime) -> list[Candle]:
    async with open_database(f"sqlite:///{folder}/fx.db") as database:
        return await Candles(database, SOURCES).page(
            CurrencyPair.parse(pair), Granularity.M1, start=first, end=last + _MINUTE, limit=1000
        )


def _time(bar: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(bar["time"][:19] + "Z")


def _facts(bar: Candle) -> tuple[object, ...]:
    sides = ((ohlc.open, ohlc.high, ohlc.low, ohlc.close) for ohlc in (bar.bid, bar.mid, bar.ask))
    return bar.time, [tuple(map(str, prices)) for prices in sides], bar.volume, bar.complete, bar.source


def _facts_of_stub(bar: Mapping[str, Any]) -> tuple[object, ...]:
    prices = [tuple(bar[side][field] for field in "ohlc") for side in ("bid", "mid", "ask")]
    return _time(bar), prices, bar["volume"], True, "oanda"
