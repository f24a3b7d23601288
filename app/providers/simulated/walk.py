"""A correlated random walk of currencies, estimated from the euro reference rates of the European Central Bank."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from app.market.pair import CurrencyPair
from app.providers.reference_rates import listed
from app.providers.simulated.covariance import checked_seed, daily_moves

_SECONDS_A_DAY = 86_400.0
_TICKS_AT_ONCE = 256

_SPREADS = MappingProxyType(
    {
        "EUR_USD": 0.7, "GBP_USD": 1.0, "USD_JPY": 0.9, "USD_CAD": 1.1, "AUD_USD": 0.9, "USD_CHF": 1.1, "NZD_USD": 1.2,
        "EUR_GBP": 1.0, "EUR_JPY": 1.4, "EUR_CHF": 1.4, "GBP_JPY": 2.1, "GBP_CHF": 2.3, "AUD_JPY": 1.6, "AUD_NZD": 2.2,
        "EUR_AUD": 1.9, "GBP_AUD": 2.5, "USD_CNH": 6.0, "USD_HKD": 4.0, "EUR_CAD": 1.9, "GBP_CAD": 2.6,
    }
)  # fmt: skip
"""Usual spreads in pips, before prices are rounded outward to whole points (tenths of a pip)."""

_OTHER_SPREAD = 0.0002
"""The spread of every other pair, as a fraction of its price."""


class Tick(NamedTuple):
    """A price of the walk, ``gap`` seconds after the previous one."""

    gap: float
    pair: CurrencyPair
    bid: Decimal
    ask: Decimal


class Walk:
    """A random walk of every currency against the euro; each pair is a cross of two of them.

    EUR_USD, USD_JPY and EUR_JPY therefore agree with each other at any time, within their spreads. The walk starts at the last
    reference rates and moves as the last 260 did, day and night. Ticks come at random times, ``rate`` a second over all pairs.
    The same pairs, seed and rate give the same ticks.
    """

    def __init__(self, pairs: Iterable[CurrencyPair], seed: int, rate: float) -> None:
        """``pairs`` are one or more. Raises SourceError for a currency without reference rates, or a negative seed."""
        self._seed = checked_seed(seed)
        self._rate = rate
        self._pairs = tuple(pairs)
        codes = list(dict.fromkeys(listed(code) for pair in self._pairs for code in (pair.base, pair.quote)))
        moves = daily_moves(codes)
        self._factor, self._start = moves.factor, moves.logarithms[-1]
        self._bases = np.array([codes.index(listed(pair.base)) for pair in self._pairs])
        self._quotes = np.array([codes.index(listed(pair.quote)) for pair in self._pairs])
        self._points = np.array([10.0**pair.precision for pair in self._pairs])
        mids = np.exp(self._start[self._quotes] - self._start[self._bases])
        self._spreads = np.array([usual_spread(pair, mid) for pair, mid in zip(self._pairs, mids.tolist(), strict=True)])

    def ticks(self) -> Iterator[list[Tick]]:
        """Yield the ticks from the start, without end, a few hundred at a time."""
        random, count = np.random.default_rng(self._seed), _TICKS_AT_ONCE
        position, numbers = self._start, np.arange(count)
        while True:
            gaps = random.exponential(1 / self._rate, count)
            scale = np.sqrt(gaps / _SECONDS_A_DAY)[:, np.newaxis]
            steps = random.standard_normal((count, len(position))) @ self._factor * scale
            path = position + np.cumsum(steps, axis=0)
            position = path[-1]
            chosen = random.integers(len(self._pairs), size=count)
            mids = np.exp(path[numbers, self._quotes[chosen]] - path[numbers, self._bases[chosen]])
            halves = self._spreads[chosen] / 2 * random.uniform(0.8, 1.2, count)
            points = self._points[chosen]
            # Rounded away from each other, so that bid and ask never meet.
            bids, asks = np.floor((mids - halves) * points), np.ceil((mids + halves) * points)
            pairs = [self._pairs[i] for i in chosen.tolist()]
            yield [
                Tick(gap, pair, _price(bid, pair), _price(ask, pair))
                for gap, pair, bid, ask in zip(gaps.tolist(), pairs, bids.tolist(), asks.tolist(), strict=True)
            ]


def _price(points: float, pair: CurrencyPair) -> Decimal:
    return Decimal(int(points)).scaleb(-pair.precision)


def usual_spread(pair: CurrencyPair, mid: float) -> float:
    """Return the usual spread of the pair, in price units, at a price of about ``mid``."""
    pips = _SPREADS.get(pair.name)
    return pips * float(pair.pip) if pips is not None else mid * _OTHER_SPREAD
