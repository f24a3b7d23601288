"""Simulated bars of the last ten years, so that a gateway without a source of history has charts and figures to show."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.market.bars.candle import Candle, Granularity
from app.market.bars.making import LIVE, Made
from app.market.blocks.block import BarBlock, Prices, join_blocks
from app.market.blocks.starts import Micros, micros_of, moment_of, starts
from app.market.hours.calendar import is_business_day, trading_day, trading_hours
from app.market.pair import CurrencyPair
from app.providers.reference_rates import listed
from app.providers.simulated import TRAITS
from app.providers.simulated.covariance import DailyMoves, Floats, checked_seed, daily_moves
from app.providers.simulated.walk import usual_spread

_MONTHS = 120
_MOST_DAYS = 2700
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
_MICROS_AN_HOUR = 3_600_000_000
_MICROS_A_DAY = 24 * _MICROS_AN_HOUR


@dataclass(frozen=True, slots=True)
class _Resolution:
    """Bars of this length are simulated, from so many quotes each, up to ``days`` trading days before the current one."""

    granularity: Granularity
    micros: int
    quotes: int
    days: int


_RESOLUTIONS = (
    _Resolution(Granularity.D, _MICROS_A_DAY, quotes=48, days=_MOST_DAYS),
    _Resolution(Granularity.H4, 4 * _MICROS_AN_HOUR, quotes=24, days=130),
    # At least the current week and month, which live bars continue.
    _Resolution(Granularity.H1, _MICROS_AN_HOUR, quotes=12, days=22),
    _Resolution(Granularity.M15, _MICROS_AN_HOUR // 4, quotes=6, days=10),
    _Resolution(Granularity.M5, _MICROS_AN_HOUR // 12, quotes=6, days=5),
    _Resolution(Granularity.M1, _MICROS_AN_HOUR // 60, quotes=6, days=2),
)
"""Longest first. Every bar inside the stretch of a shorter length is the sum of the shorter bars."""


@dataclass(frozen=True, slots=True)
class History:
    """The simulated bars of a pair: a block of complete bars of each length, and the bars that are not over, shortest first."""

    pair: CurrencyPair
    complete: tuple[BarBlock, ...]
    unfinished: tuple[Candle, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Stretch:
    """Consecutive bars of one length, by their starts."""

    resolution: _Resolution
    starts: Micros


def histories(pairs: Iterable[CurrencyPair], now: datetime, seed: int = 1, quotes_an_hour: float = 60) -> Iterator[History]:
    """Yield the history of each pair up to the last full minute before ``now``, aware.

    M1 bars fill the last two trading days and the current one, M5 five, M15 ten, H1 22, H4 130, and D, W and M ten years, or as
    many whole months as the ECB has reference rates. Longer bars are exactly the sum of the shorter ones where there are both.

    The last reference rates lie a trading day apart, the newest at the end of the last bar, where the simulated walk starts.
    Between them every currency moves against the euro along a Brownian bridge, with the covariance of the last 260 days; each
    pair is a cross of two currencies, so pairs agree with each other within rounding. Closed hours have no bars. A volume is
    about the number of quotes that the simulated source makes in the time, at least one for each of the shortest bars. The same
    arguments give the same bars, of source ``simulated``.

    Raises SourceError for a currency with too few recent rates of the ECB, and for a negative seed.
    """
    pairs = tuple(pairs)
    random = np.random.default_rng(checked_seed(seed))
    if not pairs:
        return
    codes = list(dict.fromkeys(listed(code) for pair in pairs for code in (pair.base, pair.quote)))
    moves = daily_moves(codes, _MOST_DAYS)
    stretches = _stretches(now, len(moves.logarithms) - 2)
    path = _path(stretches, moves, random)
    for place, pair in enumerate(pairs):
        mids = np.exp(path[:, codes.index(listed(pair.quote))] - path[:, codes.index(listed(pair.base))])
        halves = usual_spread(pair, float(mids[-1])) / 2 * random.uniform(0.8, 1.2, len(mids))
        points = 10.0**pair.precision
        # Rounded away from each other, so that bid and ask never meet.
        bids, asks = np.floor((mids - halves) * points).astype(np.int64), np.ceil((mids + halves) * points).astype(np.int64)
        # A generator of their own keeps the volumes from changing the prices.
        volumes = np.random.default_rng([seed, 1, place])
        yield _history(pair, now, list(_simulated(pair, stretches, bids, asks, quotes_an_hour, volumes)))


def _stretches(now: datetime, most_days: int) -> list[_Stretch]:
    """Return the stretches of bars of each resolution, one after the other, of at most ``most_days`` trading days in all."""
    end = micros_of(Granularity.M1.start(now))
    begins = _months_back(now)
    days = np.array([micros_of(day) for day in _trading_days(begins[-1], now)], np.int64)
    # The first month is whole, or its bar would be none.
    fits = [micros_of(begin) for begin in begins if np.count_nonzero(days >= micros_of(begin)) <= most_days]
    days = days[days >= fits[-1]]
    bounds = [max(0, len(days) - 1 - resolution.days) for resolution in _RESOLUTIONS] + [len(days)]
    stretches = []
    for resolution, (first, last) in zip(_RESOLUTIONS, pairwise(bounds), strict=True):
        # A trading day that is open has 24 hours: clocks change at weekends.
        within = np.arange(0, _MICROS_A_DAY, resolution.micros)
        bars = (days[first:last, np.newaxis] + within).ravel()
        stretches.append(_Stretch(resolution, bars[bars < end]))
    return stretches


def _months_back(now: datetime) -> list[datetime]:
    """Return the starts of the current month and of those before it, newest first."""
    begins = [Granularity.M.start(now)]
    for _ in range(_MONTHS):
        begins.append(Granularity.M.start(begins[-1] - _MICROSECOND))
    return begins


def _trading_days(first: datetime, now: datetime) -> Iterator[datetime]:
    """Yield when each open trading day from ``first`` on began, up to ``now``."""
    day = trading_day(first)
    while (begins := trading_hours(day).opens_at) <= now:
        if is_business_day(day):
            yield begins
        day += _DAY


def _path(stretches: Sequence[_Stretch], moves: DailyMoves, random: np.random.Generator) -> Floats:
    """Return logarithms of the rates for one euro, as quotes × currencies, ending at the last reference rates."""
    lasts = [
        np.full(len(each.starts) * each.resolution.quotes, each.resolution.micros / each.resolution.quotes / _MICROS_A_DAY)
        for each in stretches
    ]
    steps = np.concatenate(lasts)
    # Counted back from the end, the reference rates are at whole numbers of trading days.
    times = np.cumsum(steps) - steps.sum()
    moved = random.standard_normal((len(steps), len(moves.factor))) @ moves.factor * np.sqrt(steps)[:, np.newaxis]
    walk = np.cumsum(moved, axis=0)
    fixings = moves.logarithms[-int(np.ceil(-times[0])) - 1 :]
    days = np.arange(len(fixings)) - (len(fixings) - 1.0)
    path = np.empty((len(steps), len(moves.logarithms[0])))
    for code in range(path.shape[1]):
        # The distance from the walk to the fixings is spread evenly over the days between them.
        distance = fixings[:, code] - np.interp(days, times, walk[:, code])
        path[:, code] = walk[:, code] + np.interp(times, days, distance)
    return path


def _simulated(
    pair: CurrencyPair,
    stretches: Sequence[_Stretch],
    bids: NDArray[np.int64],
    asks: NDArray[np.int64],
    quotes_an_hour: float,
    random: np.random.Generator,
) -> Iterator[BarBlock]:
    """Yield the bars of each stretch, made of the quotes of all, in whole points."""
    first = 0
    for each in stretches:
        last = first + len(each.starts) * each.resolution.quotes
        bid, ask = (side[first:last].reshape(-1, each.resolution.quotes) for side in (bids, asks))
        quotes = quotes_an_hour * each.resolution.micros / _MICROS_AN_HOUR
        # A mid has one digit more than a bid or an ask.
        yield BarBlock(
            pair,
            each.resolution.granularity,
            TRAITS.name,
            each.starts,
            _bars(bid) * 10,
            _bars(bid + ask) * 5,
            _bars(ask) * 10,
            pair.precision + 1,
            np.maximum(1, random.poisson(quotes, len(each.starts))),
        )
        first = last


def _bars(quotes: NDArray[np.int64]) -> Prices:
    """Return the bars of quotes, given as bars × quotes."""
    return np.stack([quotes[:, 0], quotes.max(axis=1), quotes.min(axis=1), quotes[:, -1]])


def _history(pair: CurrencyPair, now: datetime, simulated: Sequence[BarBlock]) -> History:
    """Return the bars of every length, given those that were simulated, longest first."""
    *longer, shortest = simulated
    blocks = [shortest]
    for block in reversed(longer):
        blocks.append(join_blocks([block, blocks[-1].aggregate(block.granularity)]))
    days = blocks[-1]
    weeks, months = days.aggregate(Granularity.W), days.aggregate(Granularity.M)
    if len(weeks) and weeks.times[0] < months.times[0]:
        weeks = weeks.part(1, len(weeks))
    complete, unfinished, end = [], [], Granularity.M1.start(now)
    for block in (*blocks, weeks, months):
        count = int(np.searchsorted(block.times, starts(np.array([micros_of(end)]), block.granularity)[0]))
        complete.append(block.part(0, count))
        for bar in block.part(count, len(block)).candles():
            # As if quotes had been recorded since the first minute, so that the recorder continues and completes the bars.
            made = Made(LIVE, first_time=bar.time, last_time=end - _MICROSECOND, since=moment_of(shortest.times[0]))
            unfinished.append(replace(bar, complete=False, made=made))
    return History(pair, tuple(complete), tuple(unfinished))
