"""Prices and numbered alerts, published at a steady rate."""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, cycle
from math import inf

from app.market.alert import Alert, Severity
from app.market.clock import utc_now
from app.market.pair import DEFAULT_PAIRS, CurrencyPair
from app.market.quote import Quote
from app.realtime.contract.alert import draft_of
from app.realtime.contract.event import Draft, cursor_order, price_update
from app.realtime.log.log import EventLog, Publisher, open_redis
from tests.lines.record import Key, Unrecovered, milliseconds

_PAIRS = [CurrencyPair.parse(name) for name in DEFAULT_PAIRS]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALERT_EVERY = 2.0
_PATIENCE = 60.0
"""Seconds that Valkey may take to answer, beside busy loops."""


@dataclass
class Feed:
    """A publisher that remembers what it published."""

    publisher: Publisher
    prices: dict[Key, str] = field(default_factory=dict)
    """The id of each price, in order."""
    alerts: dict[int, int] = field(default_factory=dict)
    """When each alert was published, by its number, in milliseconds since 1970."""
    _flows: bool = False
    _pairs: "cycle[CurrencyPair]" = field(default_factory=lambda: cycle(_PAIRS))
    _times: dict[CurrencyPair, int] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def flow(self, rate: float, seconds: float = inf) -> None:
        """Publish so many prices a second of all pairs in turn, and an alert every two seconds, until ``stop``."""
        clock = asyncio.get_running_loop().time
        began, sent, alert_at, self._flows = clock(), 0, 0.0, True
        while self._flows and (passed := clock() - began) < seconds:
            if passed >= alert_at:
                await self.alert()
                alert_at += _ALERT_EVERY
            if (due := int(passed * rate) - sent) > 0:
                await self.burst(due)
                sent += due
            await asyncio.sleep(began + (sent + 1) / rate - clock())

    def stop(self) -> None:
        """Let the flow end after the next price."""
        self._flows = False

    async def burst(self, size: int) -> None:
        """Publish prices together. Those of one pair are a millisecond apart."""
        now = milliseconds(utc_now())
        rounds = (size - 1) // len(_PAIRS)
        quotes = [self._quote(now - rounds + i // len(_PAIRS)) for i in range(size)]
        ids = await self.publisher.publish([price_update(quote, quote.time) for quote in quotes], _PATIENCE)
        for quote, id in zip(quotes, ids, strict=True):
            self.prices[Key(quote.pair.name, milliseconds(quote.time))] = id

    def _quote(self, time: int) -> Quote:
        """Make a price of the next pair, at this time in milliseconds since 1970 or later: no two of a pair have the same."""
        pair = next(self._pairs)
        time = self._times[pair] = max(time, self._times.get(pair, 0) + 1)
        usual = Decimal(150) if pair.quote == "JPY" else Decimal("1.1")
        bid = pair.round(usual + pair.pip * random.randrange(100))
        return Quote(pair, bid, bid + pair.pip, _EPOCH + timedelta(milliseconds=time), "lines")

    async def alert(self) -> int:
        """Publish an alert, and return its number."""
        number = next(self._numbers)
        self.alerts[number] = milliseconds(utc_now())
        await self.publisher.publish([_alert(number)], _PATIENCE)
        return number

    def replaced(self) -> dict[Key, int]:
        """Return when each price was replaced by a newer one of its pair, but for the last ones, in milliseconds since 1970."""
        newest: dict[str, Key] = {}
        replaced: dict[Key, int] = {}
        for key in self.prices:
            if (before := newest.get(key.pair)) is not None:
                replaced[before] = key.time
            newest[key.pair] = key
        return replaced

    def missed(self, gaps: Sequence[Unrecovered]) -> set[Key]:
        """Return the prices in what a client was told that it has missed."""
        spans = [(cursor_order(gap.after), cursor_order(gap.up_to)) for gap in gaps]
        return {key for key, id in self.prices.items() if any(first < cursor_order(id) <= last for first, last in spans)}


@asynccontextmanager
async def feed(redis_url: str) -> AsyncGenerator[Feed]:
    """A feed into the log there."""
    async with open_redis(redis_url) as redis:
        yield Feed(EventLog(redis).publisher())


def _alert(number: int) -> Draft:
    return draft_of(
        Alert("volatility_alert", ("EUR_USD",), 0.2, 0.1, Severity.WARNING, f"alert number {number}", datetime.now(UTC))
    )
