"""Bars and contexts for tests of jobs."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import orjson

from app.config import load_settings
from app.errors import SourceError
from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.bars.history import CandleSource
from app.market.pair import CurrencyPair
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import Event
from app.realtime.log.log import EventLog
from jobs.running.context import JobContext, open_context

EUR_USD, GBP_USD, USD_JPY = CurrencyPair("EUR", "USD"), CurrencyPair("GBP", "USD"), CurrencyPair("USD", "JPY")
HOUR = timedelta(hours=1)


def hours(
    pair: CurrencyPair, end: datetime, count: int, *, seed: int = 1, step: float = 0.001, source: str = "kraken", like: int = 0
) -> list[Candle]:
    """Complete H1 bars, the last of which ends at ``end``: a walk by ``step`` an hour, the same for the same arguments.

    With ``like``, the seed of another walk, most of each step is that of the other.
    """
    steps = np.random.default_rng(seed).normal(0, step, count)
    if like:
        steps = 0.3 * steps + 0.95 * np.random.default_rng(like).normal(0, step, count)
    mids = 1.1 * np.exp(np.cumsum(steps))
    bars = []
    for number, mid in enumerate(mids):
        before = mids[number - 1] if number else 1.1
        low, high = sorted((_price(before), _price(mid)))
        ohlc = Ohlc(_price(before), high + Decimal("0.00003"), low - Decimal("0.00003"), _price(mid))
        time = end - (count - number) * HOUR
        bars.append(bar_of(pair, time, ohlc, source))
    return bars


def bar_of(
    pair: CurrencyPair, time: datetime, mid: Ohlc, source: str = "kraken", granularity: Granularity = Granularity.H1
) -> Candle:
    """A complete bar whose bids and asks lie 0.00004 to either side of the mids."""
    half = Decimal("0.00004")
    bid = Ohlc(mid.open - half, mid.high - half, mid.low - half, mid.close - half)
    ask = Ohlc(mid.open + half, mid.high + half, mid.low + half, mid.close + half)
    return Candle(pair, granularity, time, bid, mid, ask, 12, complete=True, source=source)


def _price(value: float) -> Decimal:
    return Decimal(f"{value:.5f}")


class Scripted:
    """A history that gives the bars it was made with; it fails for the pairs in ``failing``, after what it has of them."""

    name = "kraken"
    granularities = frozenset({Granularity.H1})

    def __init__(self, bars: Sequence[Candle], failing: Mapping[CurrencyPair, Exception] | None = None) -> None:
        self.bars = list(bars)
        self.failing = failing or {}
        self.asked: list[tuple[str, datetime, datetime]] = []

    async def fetch_candles(
        self, pair: CurrencyPair, granularity: Granularity, start: datetime, end: datetime
    ) -> AsyncGenerator[Sequence[Candle]]:
        self.asked.append((pair.name, start, end))
        yield [bar for bar in self.bars if bar.pair == pair and bar.granularity is granularity and start <= bar.time < end]
        if pair in self.failing:
            raise self.failing[pair]


@asynccontextmanager
async def job_context(
    database_url: str, redis_url: str, history: CandleSource | None = None, **settings: Any
) -> AsyncIterator[JobContext]:
    """A context of a gateway on real prices of three pairs, with this history."""
    names = {"tracked_pairs": "EUR_USD,GBP_USD,USD_JPY", "source": ("kraken",), "database_url": database_url}
    async with open_context(load_settings(**{**names, **settings}), redis_url) as context:
        yield replace(context, source=history)


async def events(log: EventLog, *types: EventType) -> list[dict[str, Any]]:
    """The payloads of all events of these types in the log, with their type."""
    reader = log.reader()
    found: list[Event] = []
    while some := await reader.read():
        found += some
    return [{"type": event.type, **orjson.loads(event.bare)} for event in found if event.type in types]


def source_error() -> SourceError:
    return SourceError("Kraken has no bars of this pair")
