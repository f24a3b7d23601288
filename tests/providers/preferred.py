"""Sources that say what a test tells them, and a reader of several at once."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.market.pair import CurrencyPair
from app.market.quote import Quote, QuoteKind
from app.market.source import ProviderSource, SourceTraits
from app.providers.preference import PreferredSources, Switch
from app.sources import SOURCES
from tests.building import Clock
from tests.waiting import wait_until

NOON = datetime(2026, 1, 30, 12, tzinfo=UTC)


class ToldSource:
    """A source scripted by a test: it quotes, fails and ends on request, and can be restarted. ``runs`` counts the starts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.traits = SOURCES.of(name)
        self.simulated = self.traits.simulated
        self.runs = 0
        self.open = 0
        self._told: asyncio.Queue[Quote | Exception | None] = asyncio.Queue()

    async def quotes(self) -> AsyncGenerator[Quote]:
        """Yield the scripted quotes, until told to end or to fail."""
        self.runs += 1
        self.open += 1
        try:
            while (told := await self._told.get()) is not None:
                if isinstance(told, Exception):
                    raise told
                yield told
        finally:
            self.open -= 1

    def quote(self, name: str, bid: str, seconds: float, kind: QuoteKind = QuoteKind.QUOTED) -> None:
        """Quote a pair, ``seconds`` after noon."""
        price = Decimal(bid)
        self._told.put_nowait(
            Quote(CurrencyPair.parse(name), price, price + 1, NOON + timedelta(seconds=seconds), self.name, kind)
        )

    def fail(self, error: Exception) -> None:
        """Fail with this error."""
        self._told.put_nowait(error)

    def end(self) -> None:
        """End."""
        self._told.put_nowait(None)

    @property
    def has_said_all(self) -> bool:
        """True when every scripted quote has been taken."""
        return self._told.empty()


class Reading:
    """A reader of several sources: the quotes that pass, and the switches."""

    def __init__(self, sources: Sequence[ProviderSource], silence: float, grace: float) -> None:
        self.clock = Clock()
        self.switches: list[Switch] = []
        self.closed: set[str] = set()
        self.asked = 0
        self.quotes: list[Quote] = []
        self.preferred = PreferredSources(
            sources, silence=silence, grace=grace, is_open=self.is_open, on_switch=self.switches.append, clock=self.clock
        )

    async def run(self) -> None:
        """Read, without end."""
        async with aclosing(self.preferred.quotes()) as quotes:
            async for quote in quotes:
                self.quotes.append(quote)

    @property
    def said(self) -> list[str]:
        """The quotes so far, as texts like ``oanda EUR_USD 1.1``."""
        return [f"{quote.source} {quote.pair} {quote.bid}" for quote in self.quotes]

    async def until(self, *said: str) -> None:
        """Wait until exactly this has been said."""
        await wait_until(lambda: len(self.quotes) >= len(said), f"{said} is said, not {self.said}")
        assert self.said == list(said)

    async def until_state(self, name: str, state: str) -> None:
        """Wait until a source is in this state."""
        await wait_until(lambda: self.preferred.states[name] == state, f"{name} is {state}")

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and the silence of those that quote be counted. One at least quotes, and not daily."""
        self.clock.now += seconds
        asked = self.asked
        await wait_until(lambda: self.asked > asked, "silence is counted")

    def is_open(self, source: SourceTraits, moment: datetime) -> bool:
        """What the sources ask whenever silence is counted."""
        self.asked += 1
        assert moment.tzinfo is not None
        return source.name not in self.closed


@asynccontextmanager
async def reading(*sources: ProviderSource, silence: float = 3.0, grace: float = 1.0) -> AsyncGenerator[Reading]:
    """Sources that are read, by a clock of the test's own."""
    read = Reading(sources, silence, grace)
    running = asyncio.create_task(read.run())
    try:
        yield read
        if running.done():
            await running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
