"""The feed on several sources: who the prices are from is told before the first of them, and with every sign of life."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from app.errors import SourceError, SourceRefused
from app.market.pair import TrackedPairs
from app.providers.preference import PreferredSources
from app.providers.reconnecting import ReconnectingSource
from app.realtime.contract.catalogue import EventType
from app.realtime.log.log import EventLog, open_redis
from jobs.feed import Feed, Switches
from tests.providers.preferred import ToldSource
from tests.waiting import wait_until

_PAIRS = TrackedPairs(["EUR_USD", "USD_JPY"])
_TOLD = (EventType.PRICE_UPDATE, EventType.SOURCE_CHANGED)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.backoff._SHORTEST_LIMIT", 0.05)


@pytest.fixture
async def log(valkey_url: str) -> AsyncIterator[EventLog]:
    async with open_redis(valkey_url) as redis:
        yield EventLog(redis)


class Running:
    """A feed at work on its log."""

    def __init__(self, log: EventLog, task: asyncio.Task[None]) -> None:
        self._log = log
        self.task = task

    async def events(self, *types: EventType) -> list[dict[str, Any]]:
        """The payloads of all events of these types so far, with their type."""
        reader, found = self._log.reader(), []
        while some := await reader.read():
            found += [{"type": event.type, **orjson.loads(event.bare)} for event in some if event.type in types]
        return found

    async def story(self) -> list[str]:
        """Prices and changes of source, in the order of the log."""
        return [
            f"{event['source']} {event['price']['bid']}" if event["type"] == "price_update" else f"now {event['source']}"
            for event in await self.events(*_TOLD)
        ]

    async def until(self, *story: str) -> None:
        """Wait until exactly this is in the log."""

        async def is_told() -> bool:
            return len(await self.story()) >= len(story)

        await wait_until(is_told, f"{story} is told", 30)
        assert await self.story() == list(story)


@asynccontextmanager
async def _feed(log: EventLog, *sources: ToldSource, heartbeat_interval: float = 60) -> AsyncGenerator[Running]:
    switches = Switches()
    preferred = PreferredSources(sources, silence=60, grace=60, on_switch=switches.note)
    task = asyncio.create_task(Feed(preferred, log, _PAIRS, switches, heartbeat_interval).run())
    try:
        yield Running(log, task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_source_alone_that_does_not_quote_is_silent_until_it_does(log: EventLog) -> None:
    kraken = ToldSource("kraken")
    task = asyncio.create_task(Feed(ReconnectingSource(kraken, 0.3), log, _PAIRS, heartbeat_interval=0.1).run())
    feed = Running(log, task)

    async def has_been(*statuses: str) -> bool:
        return [event["status"] for event in await feed.events(EventType.FEED_STATUS)] == list(statuses)

    async def is_told(state: str) -> bool:
        beats = await feed.events(EventType.HEARTBEAT)
        return bool(beats) and beats[-1]["sources"] == {"kraken": state}

    try:
        await wait_until(lambda: has_been("silent"), "the silence is published", 30)
        await wait_until(lambda: is_told("silent"), "the heartbeats tell of it", 30)
        await wait_until(lambda: kraken.runs > 1, "the source is connected again", 30)
        kraken.quote("EUR_USD", "1.1", 0)
        await wait_until(lambda: has_been("silent", "live"), "the end of the silence is published", 30)
        await feed.until("kraken 1.10000")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_another_source_is_told_before_its_first_price(log: EventLog) -> None:
    oanda, kraken = ToldSource("oanda"), ToldSource("kraken")
    async with _feed(log, oanda, kraken) as feed:
        oanda.quote("EUR_USD", "1.1", 0)
        await feed.until("oanda 1.10000")
        kraken.quote("EUR_USD", "1.2", 1)
        kraken.quote("USD_JPY", "150", 1)
        await feed.until("oanda 1.10000", "kraken 150.000")  # of a pair that the other does not have
        oanda.fail(SourceError("the line is cut"))
        await feed.until("oanda 1.10000", "kraken 150.000", "now kraken", "kraken 1.20000")
        oanda.quote("EUR_USD", "1.3", 2)
        await feed.until(*(await feed.story())[:4], "now oanda", "oanda 1.30000")
        changes = await feed.events(EventType.SOURCE_CHANGED)
    assert [(change["previous"], change["source"], change["simulated"], change["reason"]) for change in changes] == [
        ("oanda", "kraken", False, "oanda failed: the line is cut"),
        ("kraken", "oanda", False, "oanda quotes again"),
    ]


async def test_invented_prices_are_told_to_be_such_before_the_first_of_them(log: EventLog) -> None:
    kraken, simulated = ToldSource("kraken"), ToldSource("simulated")
    async with _feed(log, kraken, simulated) as feed:
        kraken.quote("EUR_USD", "1.1", 0)
        simulated.quote("EUR_USD", "1.2", 1)
        simulated.quote("USD_JPY", "150", 1)
        await feed.until("kraken 1.10000")
        kraken.fail(SourceError("the line is cut"))
        await feed.until("kraken 1.10000", "now simulated", "simulated 1.20000", "simulated 150.000")
        [change] = await feed.events(EventType.SOURCE_CHANGED)
        assert change["simulated"] is True


async def test_heartbeats_carry_what_every_source_is_and_one_comes_at_once_with_a_change(log: EventLog) -> None:
    oanda, kraken = ToldSource("oanda"), ToldSource("kraken")
    async with _feed(log, oanda, kraken) as feed:

        async def beats() -> list[tuple[str, dict[str, str]]]:
            return [(beat["source"], beat["sources"]) for beat in await feed.events(EventType.HEARTBEAT)]

        async def has_changed() -> bool:
            return (await beats())[-1:] == [("kraken", {"oanda": "silent", "kraken": "active"})]

        async def has_begun() -> bool:
            return bool(await beats())

        # Nothing is known yet; both are waited for.
        await wait_until(has_begun, "the first heartbeat is written", 30)
        assert await beats() == [("oanda", {"oanda": "standby", "kraken": "standby"})]
        oanda.quote("EUR_USD", "1.1", 0)
        kraken.quote("EUR_USD", "1.2", 1)
        await feed.until("oanda 1.10000")
        oanda.fail(SourceError("the line is cut"))
        await wait_until(has_changed, "a heartbeat tells of the change", 30)


async def test_a_source_that_is_given_up_is_in_the_heartbeats_and_where_all_are_the_feed_ends(log: EventLog) -> None:
    oanda, kraken = ToldSource("oanda"), ToldSource("kraken")
    async with _feed(log, oanda, kraken, heartbeat_interval=0.05) as feed:

        async def states() -> list[dict[str, str]]:
            return [beat["sources"] for beat in await feed.events(EventType.HEARTBEAT)]

        async def are(expected: dict[str, str]) -> bool:
            return (await states())[-1:] == [expected]

        oanda.fail(SourceRefused("the token is wrong"))
        kraken.quote("EUR_USD", "1.1", 0)
        given_up = {"oanda": "refused", "kraken": "active"}
        await wait_until(lambda: are(given_up), "the heartbeats tell of it", 30)
        kraken.fail(SourceRefused("not you"))
        with pytest.raises(SourceRefused, match=r"^Every source refuses us: oanda: the token is wrong, kraken: not you$"):
            await feed.task
        assert await feed.story() == ["kraken 1.10000"]
