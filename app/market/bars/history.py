"""What a source of prices that also has history offers."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from app.market.bars.candle import Candle, Granularity
from app.market.pair import CurrencyPair


@runtime_checkable
class CandleSource(Protocol):
    """A place bars of the past come from. ``granularities`` are the lengths it has."""

    name: str
    granularities: frozenset[Granularity]

    def fetch_candles(
        self, pair: CurrencyPair, granularity: Granularity, start: datetime, end: datetime
    ) -> AsyncGenerator[Sequence[Candle]]:
        """Bars that start in ``[start, end)``, page by page as the limits of the source allow, in the order of time.

        There is no bar where nobody quoted. The last may be unfinished. Raises SourceError, and NotOffered for a pair or a
        length that the source does not have.
        """
        ...
