"""A quote: the price of a pair at a moment, as a source gives it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from app.market.pair import CurrencyPair


class QuoteKind(StrEnum):
    """The nature of a quote."""

    QUOTED = "quoted"
    """A bid and an ask that the source makes itself."""
    INDICATIVE = "indicative"
    """A price that the source shows but does not deal at now."""
    SYNTHETIC = "synthetic"
    """A cross, computed from quotes of two other pairs."""
    DAILY = "daily"
    """A reference rate, fixed once a day; bid and ask are the same."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The best bid and ask of a pair at an aware UTC time, with the source and the kind."""

    pair: CurrencyPair
    bid: Decimal
    ask: Decimal
    time: datetime
    source: str
    kind: QuoteKind = QuoteKind.QUOTED

    @property
    def mid(self) -> Decimal:
        """Halfway between bid and ask, exact: one digit more than the precision of the pair when their sum is odd."""
        return (self.bid + self.ask) / 2
