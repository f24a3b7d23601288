"""A source that is connected again when it gives no prices although its market is open."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import datetime

from app.market.clock import utc_now
from app.market.hours.calendar import is_quoting
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.market.source import ProviderSource, SourceTraits, WatchedSource

_MOST_BETWEEN_CHECKS = 0.5
_CHECKS_A_TERM = 20
_LONGEST_PATIENCE = 8
"""The longest wait for a price after connecting again, as a multiple of the silence that is allowed; it doubles up to this."""

_logger = logging.getLogger(__name__)


class ReconnectingSource:
    """Passes on the quotes of a source and restarts it after ``silence`` seconds of open market without one.

    A source may acknowledge every subscription, send heartbeats, and yet give no prices. Its own watch for a dead connection does
    not see that. Whether its market is open is judged by its own traits, so a source that quotes at weekends is watched then.

    A source that goes on being silent is restarted after ever longer waits. What it repeats after a restart is no sign of life:
    a quote with the bid and ask that its pair had before is not passed on.
    """

    def __init__(
        self,
        source: ProviderSource,
        silence: float = 30.0,
        *,
        is_open: Callable[[SourceTraits, datetime], bool] = is_quoting,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``is_open`` tells whether the market of a source is open at an aware time. ``clock`` is in seconds."""
        self.source = source
        self.traits = source.traits
        self._silence = silence
        self._is_open = is_open
        self._clock = clock
        self._check_every = min(_MOST_BETWEEN_CHECKS, silence / _CHECKS_A_TERM)
        self._newest: dict[CurrencyPair, Quote] = {}
        self._silent = False

    @property
    def name(self) -> str:
        """The name of the source."""
        return self.source.name

    @property
    def simulated(self) -> bool:
        """True if its prices are made up."""
        return self.source.simulated

    @property
    def silent(self) -> bool:
        """True from the end of the allowed silence to the next quote, and while the source says so itself."""
        return self._silent or (isinstance(self.source, WatchedSource) and self.source.silent)

    async def quotes(self) -> AsyncGenerator[Quote]:
        """Yield the quotes of the source until it ends. Raises SourceError as the source does."""
        patience = self._silence
        known: dict[CurrencyPair, Quote] = {}
        while True:
            quotes = self.source.quotes()
            try:
                while (quote := await self._next(quotes, patience)) is not None:
                    before = known.pop(quote.pair, None)
                    if before is not None and (before.bid, before.ask) == (quote.bid, quote.ask):
                        continue
                    self._newest[quote.pair] = quote
                    self._silent, patience = False, self._silence
                    yield quote
            except StopAsyncIteration:
                return
            finally:
                if isinstance(quotes, AsyncGenerator):
                    await quotes.aclose()
            self._silent = True
            _logger.warning("source %s has not quoted for %g s; connecting again", self.name, patience)
            known = dict(self._newest)
            patience = min(2 * patience, _LONGEST_PATIENCE * self._silence)

    async def _next(self, quotes: AsyncIterator[Quote], patience: float) -> Quote | None:
        """Return the next quote, or None after ``patience`` seconds of open market without one. Raises StopAsyncIteration."""
        waiting = asyncio.ensure_future(_first(quotes))
        try:
            quiet, since = 0.0, self._clock()
            while True:
                done, _ = await asyncio.wait((waiting,), timeout=self._check_every)
                if done:
                    return waiting.result()
                now = self._clock()
                if self._is_open(self.traits, utc_now()):
                    quiet += now - since
                since = now
                if quiet > patience:
                    return None
        finally:
            if not waiting.done():
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)


async def _first(quotes: AsyncIterator[Quote]) -> Quote:
    return await anext(quotes)
