"""What a source with history offers."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from app.market.bars.candle import Candle, Granularity
from app.market.pair import CurrencyPair


@runtime_checkable
class CandleSource(Protocol):
    """A source of bars of the past. ``granularities`` are the lengths it has."""

    name: str
    granularities: frozenset[Granularity]

    def fetch_candles(
        self, pair: CurrencyPair, granularity: Granularity, start: datetime, end: datetime
    ) -> AsyncGenerator[Sequence[Candle]]:
        """Yield the bars that start in ``[start, end)``, page by page as the limits of the source allow, in order of time.

        Where there were no quotes there is no bar. The last bar may be unfinished. Raises SourceError, and NotOffered for a
        pair or a length that the source does not have.
        """
        ...
