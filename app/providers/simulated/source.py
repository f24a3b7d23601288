"""Simulated prices that move together as real ones do, for demonstrations, tests and weekends."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable

from app.market.clock import utc_now
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.providers.pace import until
from app.providers.simulated import TRAITS
from app.providers.simulated.walk import Walk

_LONGEST_ARREARS = 1.0


class SimulatedSource:
    """Quotes a seeded random walk, ``rate`` times a second over all pairs, at random times.

    The same pairs, seed and rate give the same quotes in the same order. The times are those of the clock.
    """

    traits = TRAITS
    name = TRAITS.name
    simulated = TRAITS.simulated

    def __init__(self, pairs: Iterable[CurrencyPair], seed: int = 1, rate: float = 20) -> None:
        """Raises SourceError for a pair of a currency that the ECB does not list, and for a negative seed."""
        self._walk = Walk(pairs, seed, rate)

    async def quotes(self) -> AsyncGenerator[Quote]:
        """Yield quotes without end, starting from the last reference rates."""
        due, walk = time.monotonic(), self._walk.ticks()
        while True:
            await asyncio.sleep(0)
            # After a delay the walk continues from now, without a burst of the quotes missed in the meantime.
            due = max(due, time.monotonic() - _LONGEST_ARREARS)
            for tick in next(walk):
                due += tick.gap
                await until(due)
                yield Quote(tick.pair, tick.bid, tick.ask, utc_now(), self.name)
