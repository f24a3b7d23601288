"""Longer bars made of the shorter ones in the database."""

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta

from app.market.bars.candle import Candle, Granularity, aggregate, goodness
from app.market.pair import CurrencyPair
from app.market.source import Sources
from app.storage.market.candles import Candles

_PAGE = 2000
_MOMENT = timedelta(microseconds=1)

_OF_DAYS = (Granularity.W, Granularity.M)


async def aggregate_stored(
    candles: Candles, pair: CurrencyPair, granularity: Granularity, start: datetime, end: datetime, now: datetime
) -> int:
    """Rebuild every longer bar that contains bars of this granularity in ``[start, end)``; return how many changed.

    A longer bar is made of all stored bars in it, not only of those in ``[start, end)``: up to H1 of bars of this granularity, H4
    and D of H1, W and M of D, so that they are whole however few minutes are stored. A stored bar that is better stays. A bar
    that ends after ``now`` is incomplete. The bars are read once, a page at a time. Raises DatabaseUnavailable.
    """
    if end <= start:
        return 0
    if granularity.divides(Granularity.H1):
        changed = await _rebuild(candles, pair, granularity, _up_to(Granularity.H1, granularity), (), start, end, now)
        return changed + await aggregate_stored(candles, pair, Granularity.H1, start, end, now)
    of_days = _OF_DAYS if Granularity.D in (granularity, *_up_to(Granularity.D, granularity)) else ()
    return await _rebuild(candles, pair, granularity, _up_to(Granularity.D, granularity), of_days, start, end, now)


async def _rebuild(
    candles: Candles,
    pair: CurrencyPair,
    granularity: Granularity,
    nested: Sequence[Granularity],
    of_days: Sequence[Granularity],
    start: datetime,
    end: datetime,
    now: datetime,
) -> int:
    """Build bars of the lengths ``nested``, each of which fits into the next, and of the lengths ``of_days`` from days."""
    larger = (*nested, *of_days)
    if not larger:
        return 0
    firsts = {length: length.start(start) for length in larger}
    last = max(length.end(end - _MOMENT) for length in larger)
    changed = 0
    days: dict[datetime, Candle] = {}
    if nested:
        async with aclosing(_pages(candles, pair, granularity, nested[-1], min(firsts.values()), last)) as pages:
            async for page in pages:
                bars = await asyncio.to_thread(_bars_of, page, nested, now, candles.sources)
                changed += await candles.write([bar for bar in bars if firsts[bar.granularity] <= bar.time < end])
                days |= {bar.time: bar for bar in bars if of_days and bar.granularity is Granularity.D}
    if of_days:
        # A week may lie in two months, so they do not nest: build both from all the days, which are few.
        async with aclosing(_pages(candles, pair, Granularity.D, Granularity.D, min(firsts.values()), last)) as pages:
            async for page in pages:
                days |= {day.time: day for day in page if _is_better(day, days.get(day.time), candles.sources)}
        for length in of_days:
            made = [bar for alike in _apart(days, candles.sources) for bar in aggregate(alike, length, now, candles.sources)]
            changed += await candles.write([bar for bar in made if firsts[length] <= bar.time < end])
    return changed


def _is_better(stored: Candle, made: Candle | None, sources: Sources) -> bool:
    """True if a stored day takes the place of the one made of hours: it is real and the other is not, or it is as good."""
    if made is None:
        return True
    is_real, made_is_real = not sources.is_invented(stored.source), not sources.is_invented(made.source)
    return (is_real, goodness(stored)) >= (made_is_real, goodness(made))


def _apart(days: Mapping[datetime, Candle], sources: Sources) -> tuple[Sequence[Candle], ...]:
    """Return the invented days, then the real ones, whose weeks and months replace those of the invented."""
    in_order = [days[time] for time in sorted(days)]
    return tuple([day for day in in_order if sources.is_invented(day.source) is invented] for invented in (True, False))


async def _pages(
    candles: Candles, pair: CurrencyPair, granularity: Granularity, whole: Granularity, first: datetime, last: datetime
) -> AsyncGenerator[Sequence[Candle]]:
    """Yield pages of the stored bars that start in ``[first, last)``, by time, cut between bars of the length ``whole``."""
    bars: list[Candle] = []
    while True:
        page = await candles.page(pair, granularity, start=first, end=last, limit=_PAGE)
        bars += page
        if len(page) < _PAGE:
            break
        first = page[-1].time + _MOMENT
        # Keep back the last bar's period: more of it may follow.
        cut = bisect_left(bars, whole.start(page[-1].time), key=lambda bar: bar.time)
        yield bars[:cut]
        bars = bars[cut:]
    yield bars


def _bars_of(page: Sequence[Candle], nested: Sequence[Granularity], now: datetime, sources: Sources) -> list[Candle]:
    """Build the bars of all the lengths, each from those of the length before, but days of hours.

    Two missing hours, one in each of two H4 bars, do not show in these.
    """
    made: list[Candle] = []
    hours = page
    for length in nested:
        page = aggregate(hours if length is Granularity.D else page, length, now, sources)
        made += page
    return made


def _up_to(longest: Granularity, granularity: Granularity) -> tuple[Granularity, ...]:
    """The lengths longer than this one, up to and including ``longest``."""
    lengths = list(Granularity)
    return tuple(lengths[lengths.index(granularity) + 1 : lengths.index(longest) + 1])
