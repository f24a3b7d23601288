"""OANDA's source running against its stand-in, and judged while it does."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app import backoff
from app.market.pair import CurrencyPair, TrackedPairs
from app.market.quote import Quote
from app.providers.oanda import api as oanda_api
from app.providers.oanda.source import OandaSource
from tests.providers.oanda.stub import TOKEN, OandaStub
from tests.providers.oanda.stub_market import INSTRUMENTS

PROXY_VARIABLES = [name for word in ("http", "https", "all") for name in (f"{word}_proxy", f"{word}_proxy".upper())]


class Reading:
    """What a source has quoted since it was entered. ``faults`` are quotes that must not be."""

    def __init__(self) -> None:
        self.quotes: list[Quote] = []
        self.faults: list[str] = []
        self.newest_at = 0.0
        self._last: dict[CurrencyPair, Quote] = {}

    def add(self, quote: Quote) -> None:
        """Take in a quote, and judge it by the one of its pair before."""
        last = self._last.get(quote.pair)
        # Two within a microsecond have the same time, and yet are two.
        if last is not None and (quote.time < last.time or quote == last):
            self.faults.append(f"{quote} after {last}")
        self._last[quote.pair] = quote
        self.quotes.append(quote)
        self.newest_at = time.monotonic()

    def of(self, name: str) -> list[Quote]:
        """The quotes of a pair."""
        return [quote for quote in self.quotes if quote.pair.name == name]


@asynccontextmanager
async def reading(source: OandaSource) -> AsyncGenerator[Reading]:
    """Read the quotes of a source meanwhile. Raises, when left, what has ended them."""
    got = Reading()

    async def read() -> None:
        async for quote in source.quotes():
            got.add(quote)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(read())
        yield got
        task.cancel()


def source_at(stub: OandaStub, names: Iterable[str] = INSTRUMENTS, token: str = TOKEN, **options: Any) -> OandaSource:
    """A source that asks the stand-in. The options are those of the source."""
    urls = {"rest_url": stub.rest_url, "stream_url": stub.stream_url}
    return OandaSource(TrackedPairs(names), token, **{**urls, **options})


def hurry(monkeypatch: pytest.MonkeyPatch, stub: OandaStub) -> None:
    """Make everything fast that is slow out of courtesy, and go to the stand-in without a proxy."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(backoff, "_SHORTEST_LIMIT", 0.02)
    monkeypatch.setattr(backoff, "_LONGEST_LIMIT", 0.05)
    monkeypatch.setattr(oanda_api, "_BETWEEN_CONNECTIONS", 0.02)
    stub.knobs.price_interval, stub.knobs.heartbeat = 0.02, 0.1
