"""The growing bars of a pair: every length at once, from live quotes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby

from app.market.bars.candle import LARGEST_GAP_OF_HOURS, Candle, Granularity, Ohlc, aggregate, goodness, join
from app.market.bars.making import LIVE, Made
from app.market.hours.calendar import open_time
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.market.source import Sources

KEPT_FOR = timedelta(hours=2)
"""How far behind the newest quote a bar may have ended and still take quotes. Heartbeats do not count: they overtake quotes."""

_OF_HOURS = (Granularity.H4, Granularity.D, Granularity.W, Granularity.M)
_OF_DAYS = (Granularity.W, Granularity.M)
_MOMENT = timedelta(microseconds=1)

_Key = tuple[Granularity, datetime]


class LiveBars:
    """The bars of one pair, those under construction and those that ended lately. ``late`` counts quotes too late for any bar.

    ``is_interrupted`` from a call of ``interrupt`` to that of ``rebase`` which should follow it.

    A quote belongs to the bar of its time, in whatever order quotes and heartbeats come: a bar that is closed already is
    corrected. Bars longer than an hour are made of the complete hours, weeks and months of the days, and the quotes since, so
    that bars fetched from elsewhere in the meantime count in them: see ``rebase``. They are never complete when something is
    missing. A bar holds either real quotes or invented ones, never both.
    """

    def __init__(self, pair: CurrencyPair, sources: Sources) -> None:
        """``sources`` tells which sources are invented."""
        self._pair = pair
        self._sources = sources
        self._bars: dict[Granularity, dict[datetime, Candle]] = {granularity: {} for granularity in Granularity}
        self._open: dict[_Key, datetime] = {}
        self._changed: dict[_Key, None] = {}
        self._bases: dict[_Key, tuple[timedelta, bool]] = {}
        self._hours: Sequence[Candle] = ()
        self._days: dict[datetime, Candle] = {}
        self._since: datetime | None = None
        self._newest: datetime | None = None
        self._reached: datetime | None = None
        self.late = 0
        self.is_interrupted = False

    @property
    def reached(self) -> datetime | None:
        """The time of the newest quote, or up to which bars have been closed; None before the first."""
        return self._reached

    def repeats(self, quote: Quote) -> bool:
        """True if this is the newest quote once more, as sources send it when they are connected to."""
        if quote.time != self._newest:
            return False
        bar = self._bars[Granularity.M1].get(Granularity.M1.start(quote.time))
        return bar is not None and (bar.bid.close, bar.ask.close) == (quote.bid, quote.ask)

    @property
    def newest(self) -> datetime | None:
        """The time of the newest quote; None before the first."""
        return self._newest

    def resume(self, bars: Iterable[Candle]) -> None:
        """Continue bars as ``changes`` gave them: the newest of each length, and those that ended in the last ``KEPT_FOR``."""
        for bar in bars:
            self._bars[bar.granularity][bar.time] = bar
            last = bar.made.last_time or bar.time
            self._newest = last if self._newest is None else max(self._newest, last)
            reached = bar.end if bar.complete else last
            self._reached = reached if self._reached is None else max(self._reached, reached)
            if bar.made.since is not None:
                self._since = bar.made.since if self._since is None else max(self._since, bar.made.since)
        for granularity, of_length in self._bars.items():
            for start, bar in of_length.items():
                if self._reached is not None and bar.end > self._reached:
                    self._open[granularity, start] = bar.end

    def listen(self, since: datetime) -> None:
        """Declare that quotes are recorded from this time on, unless they are already. Bars that began before are partial."""
        if self._since is None:
            self._since = since

    def interrupt(self, until: datetime) -> None:
        """Declare that quotes before this time may have been lost. Bars under construction that began before are partial."""
        self._since = until
        self._bases.clear()
        self.is_interrupted = True

    def rebase(self, hours: Sequence[Candle], days: Sequence[Candle] = ()) -> None:
        """Rebuild the bars longer than an hour on these complete hours and these days, those of the current week and month.

        Both are in order of time. The current hour is not among them: it is under construction here. Where hours and days
        differ, the better ones are used.
        """
        self.is_interrupted = False
        self._hours = hours
        self._days = {day.time: day for day in days}
        running = next((bar for start, bar in self._bars[Granularity.H1].items() if (Granularity.H1, start) in self._open), None)
        for granularity, start in [key for key in self._open if key[0] in _OF_HOURS]:
            bar = self._bars[granularity][start]
            part = running if running is not None and start <= running.time < bar.end else None
            before = self._stored(granularity, start, part.time if part is not None else bar.end, bar)
            if before is not None:
                self._bars[granularity][start] = before if part is None else self._merge(before, part)
                self._changed[granularity, start] = None

    def add(self, quotes: Iterable[Quote]) -> None:
        """Add quotes of the pair in the order they came. Those whose minute ended too long ago are left out and counted."""
        taken = []
        for quote in quotes:
            if self._newest is not None and Granularity.M1.end(quote.time) <= self._newest - KEPT_FOR:
                self.late += 1
                continue
            self._newest = quote.time if self._newest is None else max(self._newest, quote.time)
            taken.append(quote)
        for (start, _), minute in groupby(taken, self._minute_and_kind):
            # Sorting keeps the order of quotes of the same time, in which the later one closes the bar.
            self._take(_bar(self._pair, start, sorted(minute, key=lambda quote: quote.time)))

    def advance(self, moment: datetime) -> None:
        """Close the bars that end by ``moment``, an aware time. Quotes that come for them nevertheless correct them."""
        if self._reached is None or moment > self._reached:
            self._reached = moment
        for key in [key for key, end in self._open.items() if end <= self._reached]:
            self._close(key)

    def changes(self) -> list[Candle]:
        """Return the bars that were closed, corrected or changed since the last call, and forget those that are final."""
        changed = [self._published(key) for key in self._changed]
        self._changed = {}
        if self._newest is not None:
            for granularity, bars in self._bars.items():
                final = [start for start, bar in bars.items() if bar.end <= self._newest - KEPT_FOR and start != max(bars)]
                for start in final:
                    del bars[start]
                    self._bases.pop((granularity, start), None)
        return changed

    def _minute_and_kind(self, quote: Quote) -> tuple[datetime, bool]:
        return Granularity.M1.start(quote.time), self._sources.is_invented(quote.source)

    def _take(self, piece: Candle) -> None:
        """Add the quotes of a minute, or of a part of one, to the bar of each length."""
        self.advance(_last(piece))
        for granularity in Granularity:
            start = granularity.start(piece.time)
            bar = self._bars[granularity].get(start)
            if bar is None or not self._is_alike(bar, piece):
                bar = replace(piece, granularity=granularity, time=start)
                before = self._stored(granularity, start, Granularity.H1.start(piece.time), piece)
                self._bars[granularity][start] = bar if before is None else self._merge(before, bar)
                self._open[granularity, start] = bar.end
            else:
                self._bars[granularity][start] = self._merge(bar, piece)
            self._changed[granularity, start] = None
        self.advance(_last(piece))

    def _merge(self, bar: Candle, piece: Candle) -> Candle:
        """Return the bar with quotes added, which may lie anywhere in it. Of quotes of the same time the last added is later."""
        earlier, later = (bar, piece) if _first(bar) <= _first(piece) else (piece, bar)
        merged = join(earlier, later, self._sources)
        closing = piece if _last(piece) >= _last(bar) else bar
        sides = ((merged.bid, closing.bid), (merged.mid, closing.mid), (merged.ask, closing.ask))
        bid, mid, ask = (Ohlc(side.open, side.high, side.low, last.close) for side, last in sides)
        made = replace(bar.made, first_time=_first(earlier), last_time=_last(closing))
        return Candle(bar.pair, bar.granularity, bar.time, bid, mid, ask, merged.volume, bar.complete, closing.source, made)

    def _is_alike(self, bar: Candle, other: Candle) -> bool:
        """True if both are real or both invented."""
        return self._sources.is_invented(bar.source) == self._sources.is_invented(other.source)

    def _stored(self, granularity: Granularity, start: datetime, end: datetime, like: Candle) -> Candle | None:
        """Combine the stored bars in ``[start, end)`` that are real or invented ``like`` another bar; None if there are none."""
        if granularity not in _OF_HOURS:
            return None
        parts = [hour for hour in self._hours if start <= hour.time < end and self._is_alike(hour, like)]
        if granularity in _OF_DAYS:
            parts = self._with_days(parts, start, end, like)
        self._bases[granularity, start] = self._base(parts, start)
        if not parts:
            return None
        whole = aggregate(parts, granularity, sources=self._sources)[0]
        first = parts[0].made.first_time or parts[0].time
        last = parts[-1].made.last_time or parts[-1].end - _MOMENT
        return replace(whole, complete=False, made=Made(LIVE, len(parts), first_time=first, last_time=last))

    def _with_days(self, hours: Sequence[Candle], start: datetime, end: datetime, like: Candle) -> list[Candle]:
        """Return these hours, each day of them replaced by the stored day where that is as good."""
        of_days = {day: list(part) for day, part in groupby(hours, lambda hour: Granularity.D.start(hour.time))}
        for time, day in self._days.items():
            if start <= time and day.end <= end and self._is_alike(day, like):
                known = of_days.get(time)
                made = aggregate(known, Granularity.D, end, self._sources)[0] if known else None
                if made is None or goodness(day) >= goodness(made):
                    of_days[time] = [day]
        return [part for time in sorted(of_days) for part in of_days[time]]

    def _base(self, parts: Sequence[Candle], start: datetime) -> tuple[timedelta, bool]:
        """Return the time before ``since`` that these parts of a bar cover, and whether that is all of the open market.

        Quiet and closed hours between them count as covered, as they do where they were listened to.
        """
        if self._since is None or self._since <= start:
            return timedelta(), True
        reached, covered, whole = start, timedelta(), True
        for part in parts:
            if part.time >= self._since:
                break
            is_hour = part.granularity is Granularity.H1
            sound = part.made.whole if part.made.of == LIVE else is_hour or (part.made.whole and part.complete)
            is_quiet = open_time(reached, part.time) <= LARGEST_GAP_OF_HOURS
            whole = whole and sound and is_quiet
            covered += part.covered + (max(timedelta(), part.time - reached) if is_quiet else timedelta())
            reached = part.end
        unheard = open_time(reached, self._since)
        return covered + (timedelta() if unheard else max(timedelta(), self._since - reached)), whole and not unheard

    def _close(self, key: _Key) -> None:
        granularity, start = key
        bar = self._bars[granularity][start]
        del self._open[key]
        covered, whole = self._coverage(bar)
        complete = whole or granularity not in _OF_HOURS
        self._bars[granularity][start] = replace(bar, complete=complete, made=replace(bar.made, covered=covered, whole=whole))
        self._changed[key] = None

    def _published(self, key: _Key) -> Candle:
        """Return a bar with what it is made of."""
        bar = self._bars[key[0]][key[1]]
        made = replace(bar.made, of=LIVE, since=self._since)
        if key in self._open:
            made = replace(made, covered=self._coverage(bar)[0], whole=False)
        return replace(bar, complete=bar.complete and key not in self._open, made=made)

    def _coverage(self, bar: Candle) -> tuple[timedelta, bool]:
        """Return the time of a bar for which quotes are known, and whether nothing is missing so far."""
        since = bar.time if self._since is None else max(bar.time, self._since)
        unheard = open_time(bar.time, since)
        covered, whole = self._bases.get((bar.granularity, bar.time), (timedelta(), not unheard))
        until = bar.end if self._reached is None else min(bar.end, self._reached)
        return covered + max(timedelta(), until - since), whole


def _first(bar: Candle) -> datetime:
    return bar.made.first_time or bar.time


def _last(bar: Candle) -> datetime:
    return bar.made.last_time or bar.time


def _bar(pair: CurrencyPair, start: datetime, quotes: Sequence[Quote]) -> Candle:
    """Return an unfinished bar of quotes within one minute, in order of time."""
    sides = ([quote.bid for quote in quotes], [quote.mid for quote in quotes], [quote.ask for quote in quotes])
    bid, mid, ask = (Ohlc(side[0], max(side), min(side), side[-1]) for side in sides)
    made = Made(LIVE, first_time=quotes[0].time, last_time=quotes[-1].time)
    return Candle(pair, Granularity.M1, start, bid, mid, ask, len(quotes), complete=False, source=quotes[-1].source, made=made)
