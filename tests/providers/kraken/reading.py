"""A reader of Kraken's prices, for tests."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress

from app.market.pair import CurrencyPair, TrackedPairs
from app.market.quote import Quote
from app.providers.kraken.source import KrakenSource
from tests.providers.kraken.stub import KrakenStub
from tests.waiting import wait_until


class KrakenReading:
    """A source that is read, and all that it has said."""

    def __init__(self, source: KrakenSource) -> None:
        self.source = source
        self.quotes: list[Quote] = []

    async def run(self) -> None:
        """Read, without end."""
        async with aclosing(self.source.quotes()) as quotes:
            async for quote in quotes:
                self.quotes.append(quote)

    def of(self, name: str) -> list[Quote]:
        """What was said of a pair."""
        return [quote for quote in self.quotes if quote.pair == CurrencyPair.parse(name)]

    async def passed_over(self, reason: str, count: int = 1) -> None:
        """Wait until that many were passed over for this reason."""
        await wait_until(lambda: self.source.passed_over.counts[reason] >= count, f"{count} passed over as {reason}")

    async def until(self, count: int) -> None:
        """Wait for this number of quotes."""
        await wait_until(lambda: len(self.quotes) >= count, f"{count} quotes")


@asynccontextmanager
async def kraken_reading(
    stub: KrakenStub, names: Sequence[str] = ("EUR_USD",), silence: float = 5.0
) -> AsyncGenerator[KrakenReading]:
    """A source of these pairs that is read, subscribed to its first pair where Kraken lists that."""
    reading = KrakenReading(KrakenSource(TrackedPairs(names), url=stub.url, rest_url=stub.rest_url, silence=silence))
    running = asyncio.create_task(reading.run())
    try:
        await wait_until(lambda: running.done() or stub.opened > 0, "a connection")
        symbols = [name.replace("_", "/") for name in names]
        listed = [symbol for symbol in symbols if symbol in stub.listed and symbol not in stub.refused]
        await wait_until(lambda: running.done() or stub.is_subscribed(*listed), "the pairs are subscribed to")
        yield reading
        if running.done():
            await running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
