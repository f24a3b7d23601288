"""Bars of quotes: their lengths, how quotes build them, and how short bars add up to longer ones.

Bars are aligned as OANDA aligns its own, so that bars built here equal bars fetched there: minutes and H1 by the clock,
H4 and D from 17:00 in New York, W from Friday 17:00 in New York, and M from the trading day of the first of the month, which
begins at 17:00 in New York on the day before.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from zoneinfo import ZoneInfo

from app.market.bars.making import GIVEN, LIVE, PARTIAL, Made, standing
from app.market.hours.calendar import open_time
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.market.source import UNKNOWN_SOURCES, Sources

_NEW_YORK = ZoneInfo("America/New_York")
_FROM_TURN_TO_MIDNIGHT = timedelta(hours=7)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY, _WEEK = timedelta(days=1), timedelta(weeks=1)


class Granularity(StrEnum):
    """The length of a bar, by OANDA's names, shortest first.

    A bar runs from its start, included, to its end, excluded. A day is a trading day, from 17:00 to 17:00 in New York: the day on
    which its clocks change has 23 or 25 hours, and the H4 bar from 01:00 to 05:00 of that day has 3 or 5.
    """

    M1 = "M1"
    M5 = "M5"
    M15 = "M15"
    H1 = "H1"
    H4 = "H4"
    D = "D"
    W = "W"
    M = "M"

    def start(self, moment: datetime) -> datetime:
        """Return the start, in UTC, of the bar that contains ``moment``, an aware time."""
        if self in _BY_THE_CLOCK:
            return moment.astimezone(UTC) - (moment - _EPOCH) % _BY_THE_CLOCK[self]
        return _moment(self._first(_trading_time(moment)))

    def end(self, moment: datetime) -> datetime:
        """Return the end, in UTC, of the bar that contains ``moment``, an aware time. The next bar starts there."""
        if self in _BY_THE_CLOCK:
            return self.start(moment) + _BY_THE_CLOCK[self]
        first = self._first(_trading_time(moment))
        if self is Granularity.M:
            return _moment((first + 31 * _DAY).replace(day=1))
        return _moment(first + _BY_THE_TRADING_DAY[self])

    def divides(self, larger: "Granularity") -> bool:
        """Return True if bars of this length add up to ``larger`` ones: every shorter one does, except weeks to months."""
        return _PLACES[self] < _PLACES[larger] and self is not Granularity.W

    def _first(self, time: datetime) -> datetime:
        """Return the start of the bar that contains ``time``; both are in trading time."""
        if self is Granularity.H4:
            return time.replace(hour=time.hour // 4 * 4, minute=0, second=0, microsecond=0)
        day = time.replace(hour=0, minute=0, second=0, microsecond=0)
        if self is Granularity.D:
            return day
        if self is Granularity.W:
            # Friday 17:00 is where Saturday begins in trading time.
            return day - (day.weekday() + 2) % 7 * _DAY
        return day.replace(day=1)


_PLACES = {granularity: place for place, granularity in enumerate(Granularity)}
_BY_THE_CLOCK = {
    Granularity.M1: timedelta(minutes=1),
    Granularity.M5: timedelta(minutes=5),
    Granularity.M15: timedelta(minutes=15),
    Granularity.H1: timedelta(hours=1),
}
_LARGEST_GAP = {
    Granularity.M1: timedelta(minutes=1),
    Granularity.M5: timedelta(minutes=5),
    Granularity.M15: timedelta(minutes=15),
    Granularity.H1: timedelta(minutes=30),
}
"""Open market without bars that a whole bar of these lengths may contain, since a quiet minute has no bar."""
LARGEST_GAP_OF_HOURS = timedelta(hours=1)
"""The same for the longer bars."""
_BY_THE_TRADING_DAY = {Granularity.H4: timedelta(hours=4), Granularity.D: _DAY, Granularity.W: _WEEK}


def _trading_time(moment: datetime) -> datetime:
    """Return the naive time that a New York clock shows when set seven hours ahead: trading days begin at its midnight."""
    return moment.astimezone(_NEW_YORK).replace(tzinfo=None) + _FROM_TURN_TO_MIDNIGHT


def _moment(trading_time: datetime) -> datetime:
    """Return the UTC time of a bar's bound in trading time. When clocks go back and the time occurs twice, it is the first."""
    return (trading_time - _FROM_TURN_TO_MIDNIGHT).replace(tzinfo=_NEW_YORK).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Ohlc:
    """The first, highest, lowest and last of a series of prices."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal

    @classmethod
    def of(cls, price: Decimal) -> "Ohlc":
        """Return the Ohlc of a single price."""
        return cls(price, price, price, price)

    def then(self, later: "Ohlc") -> "Ohlc":
        """Return the Ohlc of this series followed by a later one."""
        return Ohlc(self.open, max(self.high, later.high), min(self.low, later.low), later.close)


@dataclass(frozen=True, slots=True)
class Candle:
    """A bar of one pair: bids, mids and asks of all quotes from ``time``, its start in UTC, to its end.

    Mids are those of the single quotes, so the highest mid is not always halfway between the highest bid and the highest ask.
    ``volume`` is the number of quotes; a bar without quotes does not exist. ``complete`` is True once no quote can be added.
    ``source`` is that of the newest quote, except that an invented source, once it is in a bar, names the whole bar.
    ``made`` tells what the bar was made of; it decides which of two bars is kept, and is not compared.
    """

    pair: CurrencyPair
    granularity: Granularity
    time: datetime
    bid: Ohlc
    mid: Ohlc
    ask: Ohlc
    volume: int
    complete: bool
    source: str
    made: Made = field(default=GIVEN, compare=False)

    @property
    def end(self) -> datetime:
        """Where the next bar starts, in UTC."""
        lasts = _BY_THE_CLOCK.get(self.granularity)
        return self.time + lasts if lasts is not None else self.granularity.end(self.time)

    @property
    def covered(self) -> timedelta:
        """The time for which the bar knows the prices: all of it, or as far as it was made."""
        return _covered(self, self.end)


def _covered(candle: Candle, end: datetime) -> timedelta:
    """Return the time for which a bar with this end knows the prices."""
    return end - candle.time if candle.made.whole and candle.complete else candle.made.covered


def goodness(candle: Candle) -> tuple[int, timedelta]:
    """Return a key that is greater for the better of two bars of the same time. Of equals the later is kept."""
    stands = standing(candle.made, complete=candle.complete)
    return stands, candle.covered if stands == PARTIAL else timedelta()


class CandleBuilder:
    """Builds the bars of one pair and length from quotes in order of time."""

    def __init__(self, pair: CurrencyPair, granularity: Granularity, sources: Sources = UNKNOWN_SOURCES) -> None:
        """``sources`` tells which sources are invented."""
        self._pair = pair
        self._sources = sources
        self._granularity = granularity
        self._unfinished: Candle | None = None
        self._end: datetime | None = None
        self._reached: datetime | None = None

    @property
    def unfinished(self) -> Candle | None:
        """The bar under construction, not complete; None when there is none."""
        return self._unfinished

    def add(self, quote: Quote) -> Candle | None:
        """Add the next quote. Return the bar that it closes, complete, or None.

        Raises ValueError for another pair, and for a time before one already added or advanced to.
        """
        if quote.pair != self._pair:
            raise ValueError(f"bars of {self._pair} cannot take a quote of {quote.pair}")
        closed = self.advance(quote.time)
        if self._unfinished is None:
            start = self._granularity.start(quote.time)
            self._end = self._granularity.end(start)
            self._unfinished = self._bar(start, quote)
        else:
            self._unfinished = join(self._unfinished, self._bar(self._unfinished.time, quote), self._sources)
        return closed

    def advance(self, moment: datetime) -> Candle | None:
        """Declare that no quote before ``moment``, an aware time, will follow. Return the bar that this closes, or None.

        Without it, the last bar before a silence stays open until the silence ends. Raises ValueError for a time before one
        already added or advanced to.
        """
        if self._reached is not None and moment < self._reached:
            raise ValueError(f"bars of {self._pair} are past {moment.isoformat()}: they have reached {self._reached.isoformat()}")
        self._reached = moment
        if self._unfinished is None or self._end is None or moment < self._end:
            return None
        closed, self._unfinished = replace(self._unfinished, complete=True), None
        return closed

    def _bar(self, start: datetime, quote: Quote) -> Candle:
        """Return a bar of a single quote."""
        bid, mid, ask = Ohlc.of(quote.bid), Ohlc.of(quote.mid), Ohlc.of(quote.ask)
        return Candle(self._pair, self._granularity, start, bid, mid, ask, volume=1, complete=False, source=quote.source)


def aggregate(
    candles: Iterable[Candle],
    granularity: Granularity,
    until: datetime | None = None,
    sources: Sources = UNKNOWN_SOURCES,
) -> list[Candle]:
    """Combine bars of one pair, in order of time, into longer bars.

    The prices and volumes equal those of bars built from the quotes themselves, provided that ``candles`` starts where a longer
    bar does. A bar of up to an hour is complete when all its parts are and nothing can be missing at its end: its last part
    reaches the end, a later bar follows, or the end is not after ``until``, the time up to which ``candles`` has every bar. A
    longer one must be whole as well: see ``_Sum``. ``sources`` tells which sources are invented.

    Raises ValueError for bars of several pairs, out of order, or of a length that does not divide the longer one.
    """
    larger: list[Candle] = []
    total: _Sum | None = None
    last: Candle | None = None
    last_end = _EPOCH
    for candle in candles:
        if not candle.granularity.divides(granularity):
            raise ValueError(f"{candle.granularity} bars do not add up to {granularity} bars")
        if last is not None and (candle.pair != last.pair or candle.time < last_end):
            raise ValueError(f"bars must be of one pair and in order of time: {_title(candle)} cannot follow {_title(last)}")
        end = candle.end
        if total is None or candle.time >= total.end:
            if total is not None:
                larger.append(total.bar(is_over=True))
            total = _Sum(candle, end, granularity, sources)
        else:
            total.add(candle, end)
        last, last_end = candle, end
    if total is not None:
        larger.append(total.bar(is_over=last_end >= total.end or (until is not None and until >= total.end)))
    return larger


class _Sum:
    """A longer bar in the making.

    It is whole when its parts cover it: no part is known to lack something, and the market was closed in the gaps before, between
    and after them, up to a length that quiet markets explain. An hour made of sparse minutes may stand inside a day, not at
    its bounds, where the minutes may have been cut off.
    """

    def __init__(self, part: Candle, end: datetime, granularity: Granularity, sources: Sources) -> None:
        """Begin with the first part and its end."""
        self._sources = sources
        start = granularity.start(part.time)
        self.end = granularity.end(start)
        self._largest_gap = _LARGEST_GAP.get(granularity, LARGEST_GAP_OF_HOURS)
        self._bar = replace(part, granularity=granularity, time=start)
        self._first = self._last = part
        self._reached = end
        self._of = LIVE if part.made.of == LIVE else part.granularity.value
        self._parts = 1
        self._covered = _covered(part, end)
        self._whole = self._is_sound(part) and self._joins(start, part.time)

    def add(self, part: Candle, end: datetime) -> None:
        """Add the next part and its end."""
        self._whole = self._whole and self._is_sound(part) and self._joins(self._reached, part.time)
        if part.made.of == LIVE:
            self._of = LIVE
        self._parts += 1
        self._covered += _covered(part, end)
        self._bar = join(self._bar, part, self._sources)
        self._last, self._reached = part, end

    def bar(self, *, is_over: bool) -> Candle:
        """Return the bar; ``is_over`` when no part of it can follow."""
        complete = self._bar.complete and is_over
        at_bounds = self._first.made.whole and self._last.made.whole
        whole = complete and self._whole and at_bounds and self._joins(self._reached, self.end)
        if self._bar.granularity not in _BY_THE_CLOCK:
            complete = complete and whole
        made = Made(self._of, self._parts, self._covered, whole, self._first.made.first_time, self._last.made.last_time)
        return replace(self._bar, complete=complete, made=made)

    def _is_sound(self, part: Candle) -> bool:
        """True for a part that is not known to lack something."""
        return part.made.whole or (part.granularity in _BY_THE_CLOCK and part.made.of != LIVE)

    def _joins(self, before: datetime, after: datetime) -> bool:
        """True if the gap between two moments can be the market's silence."""
        return after - before <= self._largest_gap or open_time(before, after) <= self._largest_gap


def join(bar: Candle, part: Candle, sources: Sources) -> Candle:
    """Return the bar with a later part added; it is complete when both are. ``sources`` tells which sources are invented."""
    return Candle(
        bar.pair,
        bar.granularity,
        bar.time,
        bar.bid.then(part.bid),
        bar.mid.then(part.mid),
        bar.ask.then(part.ask),
        bar.volume + part.volume,
        bar.complete and part.complete,
        bar.source if sources.is_invented(bar.source) else part.source,
        bar.made,
    )


def _title(candle: Candle) -> str:
    return f"{candle.pair} {candle.granularity} at {candle.time.isoformat()}"
