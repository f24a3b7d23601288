"""Crosses: prices of pairs that a source does not quote, computed from two pairs that it does.

GBP_JPY is GBP_USD times USD_JPY, and GBP_AUD is GBP_USD divided by AUD_USD. The bid is what selling through both legs brings,
the ask what buying through both costs, so a cross is never better than its legs. Bid and ask are rounded away from each other.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from math import prod
from operator import attrgetter

from app.market.pair import CurrencyPair
from app.market.quote import Quote, QuoteKind

_COMMON_CURRENCIES = ("USD", "EUR")
"""The currencies through which crosses are computed, preferred first."""

_MOST_APART = timedelta(seconds=60)
_DIGITS = 60
"""More digits than the product of two prices has, so that only the cross itself is rounded."""


@dataclass(frozen=True, slots=True)
class Cross:
    """A pair that is a product of pairs divided by a product of pairs: two in all, with one currency in common."""

    pair: CurrencyPair
    multiplied: tuple[CurrencyPair, ...]
    divided: tuple[CurrencyPair, ...]

    @property
    def legs(self) -> tuple[CurrencyPair, ...]:
        """The two pairs that the cross is computed from."""
        return self.multiplied + self.divided


def find_cross(pair: CurrencyPair, quoted: Collection[CurrencyPair]) -> Cross | None:
    """Return the cross of a pair through the dollar or else the euro, with legs from ``quoted``; None if there is none."""
    for common in _COMMON_CURRENCIES:
        legs = (CurrencyPair(pair.base, common), CurrencyPair(common, pair.quote))
        multiplied = tuple(leg for leg in legs if leg in quoted)
        inverses = (CurrencyPair(leg.quote, leg.base) for leg in legs if leg not in quoted)
        cross = Cross(pair, multiplied, tuple(inverse for inverse in inverses if inverse in quoted))
        if len(cross.legs) == 2:
            return cross
    return None


class CrossRates:
    """Computes crosses from the quotes of their legs, as they come.

    A cross is quoted whenever one of its legs is, provided that the times of the two are close enough. Its time is the later of
    the two: the earlier one could go back when the legs take turns.
    """

    def __init__(self, crosses: Iterable[Cross], most_apart: timedelta = _MOST_APART) -> None:
        self._most_apart = most_apart
        self._crosses: dict[CurrencyPair, list[Cross]] = {}
        self._newest: dict[CurrencyPair, Quote] = {}
        for cross in crosses:
            for leg in cross.legs:
                self._crosses.setdefault(leg, []).append(cross)

    def take(self, quote: Quote) -> list[Quote]:
        """Return the crosses that a quote changes. Quotes of one pair must come in order of time."""
        if quote.pair not in self._crosses:
            return []
        self._newest[quote.pair] = quote
        return [quoted for cross in self._crosses[quote.pair] if (quoted := self._quote(cross)) is not None]

    def _quote(self, cross: Cross) -> Quote | None:
        if not self._newest.keys() >= set(cross.legs):
            return None
        multiplied = [self._newest[leg] for leg in cross.multiplied]
        divided = [self._newest[leg] for leg in cross.divided]
        earlier, later = sorted(multiplied + divided, key=attrgetter("time"))
        if later.time - earlier.time > self._most_apart:
            return None
        bid = _ratio([quote.bid for quote in multiplied], [quote.ask for quote in divided], cross.pair.precision, ROUND_FLOOR)
        ask = _ratio([quote.ask for quote in multiplied], [quote.bid for quote in divided], cross.pair.precision, ROUND_CEILING)
        return Quote(cross.pair, bid, ask, later.time, later.source, QuoteKind.SYNTHETIC)


def _ratio(multiplied: list[Decimal], divided: list[Decimal], precision: int, rounding: str) -> Decimal:
    with localcontext(prec=_DIGITS, rounding=rounding):
        return (prod(multiplied, start=Decimal(1)) / prod(divided, start=Decimal(1))).quantize(Decimal(1).scaleb(-precision))
