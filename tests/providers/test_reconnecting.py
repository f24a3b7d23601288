import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import pytest

from app.errors import SourceError
from app.market.pair import TrackedPairs
from app.providers.kraken.source import KrakenSource
from app.providers.reconnecting import ReconnectingSource
from tests.building import Clock
from tests.providers.kraken.stub import kraken_stub
from tests.providers.preferred import ToldSource
from tests.waiting import wait_until


class _Watch:
    """A source that is watched, by a clock of the test's own."""

    def __init__(self, told: ToldSource) -> None:
        self.clock = Clock()
        self.open = True
        self.asked = 0
        self.source = ReconnectingSource(told, 10, is_open=lambda *_: self._is_open(), clock=self.clock)
        self.bids: list[str] = []

    async def run(self) -> None:
        """Read, without end."""
        async with aclosing(self.source.quotes()) as quotes:
            async for quote in quotes:
                self.bids.append(str(quote.bid))

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and the silence be counted."""
        self.clock.now += seconds
        asked = self.asked
        await wait_until(lambda: self.asked > asked + 1, "silence is counted")

    def _is_open(self) -> bool:
        self.asked += 1
        return self.open


@asynccontextmanager
async def _watching(told: ToldSource) -> AsyncGenerator[_Watch]:
    watch = _Watch(told)
    running = asyncio.create_task(watch.run())
    try:
        await wait_until(lambda: told.open == 1, "the source is read")
        yield watch
        if running.done():
            await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert told.open == 0


@pytest.fixture
def told() -> ToldSource:
    return ToldSource("kraken")


async def test_a_source_that_never_quotes_is_silent_and_restarted_after_ever_longer_waits(told: ToldSource) -> None:
    async with _watching(told) as watch:
        await watch.pass_time(9)
        assert (watch.source.silent, told.runs) == (False, 1)
        await watch.pass_time(2)
        await wait_until(lambda: told.runs == 2, "the source is restarted")
        assert watch.source.silent
        await watch.pass_time(15)
        assert told.runs == 2
        await watch.pass_time(6)
        await wait_until(lambda: told.runs == 3, "the source is restarted again")
        told.quote("EUR_USD", "1", 0)
        await wait_until(lambda: watch.bids == ["1"], "the quote passes")
        assert not watch.source.silent
        await watch.pass_time(11)
        await wait_until(lambda: told.runs == 4, "the source is restarted after the first wait again")


async def test_what_is_repeated_after_a_restart_is_no_sign_of_life(told: ToldSource) -> None:
    async with _watching(told) as watch:
        told.quote("EUR_USD", "1", 0)
        told.quote("EUR_USD", "1", 1)
        await wait_until(lambda: watch.bids == ["1", "1"], "the quotes pass")
        await watch.pass_time(11)
        await wait_until(lambda: told.runs == 2, "the source is restarted")
        told.quote("EUR_USD", "1", 1)
        await wait_until(lambda: told.has_said_all, "the quote is repeated")
        assert watch.source.silent
        told.quote("EUR_USD", "1", 2)
        await wait_until(lambda: len(watch.bids) == 3, "another one passes")
        assert not watch.source.silent


async def test_silence_while_the_market_is_closed_does_not_count(told: ToldSource) -> None:
    async with _watching(told) as watch:
        watch.open = False
        await watch.pass_time(100_000)
        watch.open = True
        await watch.pass_time(9)
        assert (watch.source.silent, told.runs) == (False, 1)
        await watch.pass_time(2)
        await wait_until(lambda: told.runs == 2, "the source is restarted")


async def test_time_that_the_reader_takes_does_not_count(told: ToldSource) -> None:
    watch = _Watch(told)
    told.quote("EUR_USD", "1", 0)
    told.quote("EUR_USD", "2", 1)
    async with aclosing(watch.source.quotes()) as quotes:
        await anext(quotes)
        watch.clock.now += 100
        assert str((await anext(quotes)).bid) == "2"
    assert (told.runs, told.open, watch.source.silent) == (1, 0, False)


async def test_ends_and_fails_as_its_source_does(told: ToldSource) -> None:
    watch = _Watch(told)
    told.quote("EUR_USD", "1", 0)
    told.end()
    assert [str(quote.bid) async for quote in watch.source.quotes()] == ["1"]
    told.fail(SourceError("broken"))
    with pytest.raises(SourceError, match="broken"):
        await anext(watch.source.quotes())
    assert (watch.source.name, watch.source.simulated, watch.source.traits) == ("kraken", False, told.traits)


async def test_a_kraken_that_acknowledges_and_then_only_beats_is_silent_and_connected_again() -> None:
    async with kraken_stub() as kraken:
        source = ReconnectingSource(KrakenSource(TrackedPairs(["EUR_USD"]), url=kraken.url, rest_url=kraken.rest_url), 0.5)
        bids = []

        async def read() -> None:
            async for quote in source.quotes():
                bids.append(str(quote.bid))  # noqa: PERF401 - read by the test meanwhile

        reading = asyncio.create_task(read())
        try:
            await wait_until(lambda: kraken.is_subscribed("EUR/USD"), "Kraken is subscribed to")
            await wait_until(lambda: source.silent, "the source is silent")
            await wait_until(lambda: kraken.opened == 2 and kraken.is_subscribed("EUR/USD"), "another connection")
            await kraken.quote("EUR/USD", "1.0841", "1.0842")
            await wait_until(lambda: bids == ["1.0841"], "the price passes")
            assert not source.silent
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
