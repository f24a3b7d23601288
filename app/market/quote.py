"""A quote: what a source says a pair costs at a moment."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from app.market.pair import CurrencyPair


@dataclass(frozen=True, slots=True)
class Quote:
    """The best bid and ask of a pair at an aware UTC time, and who said so."""

    pair: CurrencyPair
    bid: Decimal
    ask: Decimal
    time: datetime
    source: str

    @property
    def mid(self) -> Decimal:
        """Halfway between bid and ask, exact: one digit more than the pair's precision where that is odd."""
        return (self.bid + self.ask) / 2

    @property
    def spread(self) -> Decimal:
        """Ask less bid, in price units."""
        return self.ask - self.bid
