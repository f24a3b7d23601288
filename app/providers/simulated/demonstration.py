"""Simulated bars of the last weeks, so that a gateway without a source of history has charts and figures to show."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.hours.calendar import is_open
from app.market.pair import CurrencyPair
from app.providers.reference_rates import listed
from app.providers.simulated import TRAITS
from app.providers.simulated.covariance import Floats, checked_seed, daily_moves
from app.providers.simulated.walk import usual_spread

_HOUR = timedelta(hours=1)
_STEPS_AN_HOUR = 12
_STEPS_A_DAY = 24 * _STEPS_AN_HOUR

_Points: TypeAlias = NDArray[np.int64]


def demonstration_candles(
    pairs: Iterable[CurrencyPair], now: datetime, days: int = 30, seed: int = 1, quotes_an_hour: float = _STEPS_AN_HOUR
) -> dict[CurrencyPair, list[Candle]]:
    """Return H1 bars, complete and in order, for every open hour of the last ``days`` days that has ended by ``now``, aware.

    The last reference rates of the ECB lie a trading day apart, the newest at the end of the last bar, where the simulated walk
    starts. Between them every currency moves against the euro along a Brownian bridge, with the covariance of the last 260 days,
    in steps of five minutes; each pair is a cross of two currencies, so pairs agree with each other within rounding. A bar is
    made of twelve quotes with the usual spread; its volume is about the number that the simulated source makes in an hour, to
    match the bars that follow. The same arguments give the same bars, of source ``simulated``.

    Raises SourceError for a currency with too few recent rates of the ECB, and for a negative seed.
    """
    pairs, hours = tuple(pairs), _open_hours(now, days)
    if not pairs or not hours:
        return {pair: [] for pair in pairs}
    codes = list(dict.fromkeys(listed(code) for pair in pairs for code in (pair.base, pair.quote)))
    random = np.random.default_rng(checked_seed(seed))
    path = _path(codes, len(hours) * _STEPS_AN_HOUR, random)
    candles = {}
    # A bar has at least one quote. A generator of their own keeps the volumes from changing the prices.
    volumes = np.maximum(1, np.random.default_rng([seed, 1]).poisson(quotes_an_hour, (len(pairs), len(hours))))
    for pair, counts in zip(pairs, volumes.tolist(), strict=True):
        mids = np.exp(path[:, codes.index(listed(pair.quote))] - path[:, codes.index(listed(pair.base))])
        halves = usual_spread(pair, float(mids[-1])) / 2 * random.uniform(0.8, 1.2, len(mids))
        points = 10.0**pair.precision
        # Rounded away from each other, so that bid and ask never meet.
        bids, asks = np.floor((mids - halves) * points).astype(np.int64), np.ceil((mids + halves) * points).astype(np.int64)
        candles[pair] = _candles(pair, hours, bids, asks, counts)
    return candles


def _open_hours(now: datetime, days: int) -> list[datetime]:
    """Return the starts of the open hours of the last ``days`` days that have ended, oldest first."""
    end = Granularity.H1.start(now)
    hours = [end - count * _HOUR for count in range(days * 24, 0, -1)]
    return [hour for hour in hours if is_open(hour)]


def _path(codes: Sequence[str], points: int, random: np.random.Generator) -> Floats:
    """Return logarithms of the rates for one euro, as points × currencies, ending at the last reference rates."""
    days = -(-(points - 1) // _STEPS_A_DAY)
    moves = daily_moves(codes, days + 1)
    steps = random.standard_normal((days, _STEPS_A_DAY, len(codes))) @ moves.factor / np.sqrt(_STEPS_A_DAY)
    walks = np.cumsum(steps, axis=1)
    fixings = moves.logarithms[-days - 1 :]
    elapsed = np.arange(1, _STEPS_A_DAY + 1)[:, np.newaxis] / _STEPS_A_DAY
    # The distance from the end of a walk to the next fixing is spread evenly over its day.
    bridges = fixings[:-1, np.newaxis] + walks + elapsed * (fixings[1:] - fixings[:-1] - walks[:, -1])[:, np.newaxis]
    path: Floats = np.concatenate([fixings[:1], bridges.reshape(-1, len(codes))])
    return path[-points:]


def _candles(pair: CurrencyPair, hours: Sequence[datetime], bids: _Points, asks: _Points, counts: Sequence[int]) -> list[Candle]:
    """Return a bar for each hour, made of the quotes of all hours, in whole points."""
    # Twice the mid is a whole number of points as well.
    sides = zip(_bars(bids, pair, 1), _bars(bids + asks, pair, 2), _bars(asks, pair, 1), strict=True)
    return [
        Candle(pair, Granularity.H1, hour, bid, mid, ask, volume=count, complete=True, source=TRAITS.name)
        for hour, (bid, mid, ask), count in zip(hours, sides, counts, strict=True)
    ]


def _bars(points: _Points, pair: CurrencyPair, divisor: int) -> list[Ohlc]:
    hours = points.reshape(-1, _STEPS_AN_HOUR)
    rows = np.stack([hours[:, 0], hours.max(axis=1), hours.min(axis=1), hours[:, -1]], axis=1).tolist()
    return [Ohlc(*(Decimal(price).scaleb(-pair.precision) / divisor for price in row)) for row in rows]
