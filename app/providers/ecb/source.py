"""The European Central Bank as a source of prices and bars: one rate a day, for information only, and no spread."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import date, datetime, timedelta

from app.errors import NotOffered, SourceError
from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.clock import utc_now
from app.market.pair import CurrencyPair
from app.market.quote import Quote, QuoteKind
from app.providers.ecb import TRAITS
from app.providers.ecb.rates import FIRST_FIXING, MOST_DAYS, Fixing, Frankfurter, codes_of, table_at_hand
from app.providers.http import Interrupted

_RETRY = 300.0
_DAY = timedelta(days=1)

_logger = logging.getLogger(__name__)


class EcbSource:
    """Reference rates, and the crosses of two of them, as prices of the kind ``daily``, whose bid and ask are the same.

    Their time is that of the fixing, 14:15 in Frankfurt. Prices of offshore renminbi (CNH) are those of onshore (CNY): only that
    one is fixed. When Frankfurter does not answer, the rates are those that came with the program, which end on the day it was
    built; a warning in the log gives the date.
    """

    traits = TRAITS
    name = TRAITS.name
    simulated = TRAITS.simulated
    granularities = frozenset({Granularity.D})

    def __init__(
        self, pairs: Iterable[CurrencyPair], *, url: str = "https://api.frankfurter.dev/v1", refresh: float = 3600.0
    ) -> None:
        """``refresh`` is the number of seconds between two requests for new rates."""
        self._pairs = tuple(pairs)
        self._codes = sorted({code for pair in self._pairs for code in codes_of(pair)})
        self._frankfurter = Frankfurter(url)
        self._refresh = refresh
        self._served: frozenset[CurrencyPair] = frozenset()

    async def quotes(self) -> AsyncGenerator[Quote]:
        """Yield the newest rate of every pair, and again whenever there are newer ones, without end.

        Raises SourceError when the bank has a rate for none of the pairs.
        """
        newest: Fixing | None = None
        failing = False
        while True:
            try:
                fixing = await self._frankfurter.latest(self._codes)
                failing, pause = False, self._refresh
            except Interrupted as error:
                fixing = newest or await self._fixing_at_hand()
                if not failing:
                    _logger.warning("no answer about the ECB's rates: %s; using those of %s", error, fixing.date)
                failing, pause = True, min(self._refresh, _RETRY)
            if newest is None or fixing.date > newest.date:
                newest = fixing
                for quote in self._quotes_of(fixing):
                    yield quote
            await asyncio.sleep(pause)

    async def fetch_candles(
        self, pair: CurrencyPair, granularity: Granularity, start: datetime, end: datetime
    ) -> AsyncGenerator[Sequence[Candle]]:
        """Yield D bars that start in ``[start, end)``, page by page, by time: one per fixing, all of its prices being the rate.

        The bar is that of the trading day, from 17:00 to 17:00 in New York, that contains the fixing. Its volume is 1. Raises
        NotOffered for a pair that the bank has no rates for, and for bars of another length.
        """
        if granularity is not Granularity.D:
            raise NotOffered(f"The ECB has no {granularity} bars")
        now = utc_now()
        codes, known = codes_of(pair), start >= min(end, now)
        since, last = max(start.date(), FIRST_FIXING + _DAY) - _DAY, min(end, now).date() + _DAY
        while since <= last:
            until = min(since + MOST_DAYS, last)
            try:
                fixings = await self._frankfurter.between(codes, since, until)
            except Interrupted as error:
                # Use the table for all that remains: the next request would most likely fail as well.
                fixings, until = await self._fixings_at_hand(pair, since, error), last
            bars = [bar for fixing in fixings if (bar := _bar(pair, fixing, now)) is not None]
            known = known or bool(bars) or not fixings
            if page := [bar for bar in bars if start <= bar.time < end]:
                yield page
            since = until + _DAY
        if not known:
            raise NotOffered(f"The ECB has no rates for {pair}")

    def _quotes_of(self, fixing: Fixing) -> list[Quote]:
        """Return the prices of a fixing, and log the pairs without one. Raises SourceError when all are."""
        prices = {pair: price for pair in self._pairs if (price := fixing.price(pair)) is not None}
        served = frozenset(prices)
        if served != self._served or not served:
            self._served = served
            left_out = ", ".join(pair.name for pair in self._pairs if pair not in served)
            if not served:
                raise SourceError(f"The ECB has rates for none of the pairs: {left_out}")
            _logger.info("the ECB serves %d pairs; not served: %s", len(served), left_out or "none")
        return [Quote(pair, price, price, fixing.time, TRAITS.name, QuoteKind.DAILY) for pair, price in prices.items()]

    async def _fixing_at_hand(self) -> Fixing:
        fixings = await asyncio.to_thread(table_at_hand, self._codes)
        if not fixings:
            raise SourceError(f"The ECB has rates for none of the pairs: {', '.join(pair.name for pair in self._pairs)}")
        return fixings[-1]

    async def _fixings_at_hand(self, pair: CurrencyPair, since: date, reason: Interrupted) -> list[Fixing]:
        """Return the fixings since a day from the table at hand. Raises NotOffered when it has none of the pair at all."""
        fixings = await asyncio.to_thread(table_at_hand, codes_of(pair), FIRST_FIXING)
        if not fixings:
            raise NotOffered(f"The ECB has no rates for {pair}: {reason}")
        _logger.warning("no answer about the ECB's rates of %s: %s; using those up to %s", pair, reason, fixings[-1].date)
        return [fixing for fixing in fixings if fixing.date >= since]


def _bar(pair: CurrencyPair, fixing: Fixing, now: datetime) -> Candle | None:
    price = fixing.price(pair)
    if price is None:
        return None
    ohlc, start = Ohlc.of(price), Granularity.D.start(fixing.time)
    return Candle(pair, Granularity.D, start, ohlc, ohlc, ohlc, 1, complete=Granularity.D.end(start) <= now, source=TRAITS.name)
