"""The growing bars of a pair: every length at once, from live quotes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby

from app.market.bars.candle import Candle, Granularity, Ohlc, aggregate, join
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.market.source import Sources

_OF_HOURS = (Granularity.H4, Granularity.D, Granularity.W, Granularity.M)


class LiveBars:
    """The unfinished bars of one pair. ``late`` counts quotes that came too late to be in any bar.

    Bars longer than an hour are made of the complete hours and the current one, so that hours fetched from elsewhere in the
    meantime count in them: see ``rebase``. A bar holds either real quotes or invented ones, never both.
    """

    def __init__(self, pair: CurrencyPair, sources: Sources) -> None:
        """``sources`` tells which sources are invented."""
        self._pair = pair
        self._sources = sources
        self._bars: dict[Granularity, Candle] = {}
        self._ends: dict[Granularity, datetime] = {}
        self._hours: Sequence[Candle] = ()
        self._newest: datetime | None = None
        self._closed: list[Candle] = []
        self._changed: set[Granularity] = set()
        self.late = 0

    def resume(self, unfinished: Iterable[Candle]) -> None:
        """Continue bars that were left unfinished, at most one per length."""
        for bar in unfinished:
            self._put(bar)
            self._newest = bar.time if self._newest is None else max(self._newest, bar.time)

    def rebase(self, hours: Sequence[Candle]) -> None:
        """Rebuild the bars longer than an hour on these complete hours, in order of time, at least those of the current month.

        The current hour is not among them: it is under construction here.
        """
        self._hours = hours
        running = self._bars.get(Granularity.H1)
        for granularity in _OF_HOURS:
            bar = self._bars.get(granularity)
            if bar is not None:
                part = running if running is not None and running.time >= bar.time else None
                before = self._whole_hours(granularity, bar.time, part.time if part is not None else self._ends[granularity], bar)
                if before is not None:
                    self._put(before if part is None else join(before, replace(part, complete=False), self._sources))
                    self._changed.add(granularity)

    def add(self, quotes: Iterable[Quote]) -> None:
        """Add quotes of the pair in the order they came. One that is older than its predecessor is left out and counted."""
        in_order = []
        for quote in quotes:
            if self._newest is not None and quote.time < self._newest:
                self.late += 1
                continue
            self._newest = quote.time
            in_order.append(quote)
        for (start, _), minute in groupby(
            in_order, lambda quote: (Granularity.M1.start(quote.time), self._sources.is_invented(quote.source))
        ):
            self._take(_bar(self._pair, start, list(minute)))

    def advance(self, moment: datetime) -> None:
        """Declare that no quote before ``moment``, an aware time, will follow, and close the bars that end by then."""
        if self._newest is None or moment > self._newest:
            self._newest = moment
            for granularity in list(self._bars):
                if self._ends[granularity] <= moment:
                    self._close(granularity)

    def changes(self) -> list[Candle]:
        """Return the bars that closed since the last call, complete, and those that changed and are unfinished."""
        changed = [*self._closed, *(self._bars[granularity] for granularity in self._changed if granularity in self._bars)]
        self._closed, self._changed = [], set()
        return changed

    def _minute_and_kind(self, quote: Quote) -> tuple[datetime, bool]:
        return Granularity.M1.start(quote.time), self._sources.is_invented(quote.source)

    def _take(self, piece: Candle) -> None:
        """Add the quotes of a minute, or of a part of one, to the bar of each length."""
        for granularity in Granularity:
            bar = self._bars.get(granularity)
            if bar is not None and piece.time >= self._ends[granularity]:
                self._close(granularity)
                bar = None
            if bar is None or self._sources.is_invented(bar.source) != self._sources.is_invented(piece.source):
                start = granularity.start(piece.time)
                begun = replace(piece, granularity=granularity, time=start)
                before = self._whole_hours(granularity, start, Granularity.H1.start(piece.time), piece)
                self._put(begun if before is None else join(before, begun, self._sources))
            else:
                self._put(join(bar, piece, self._sources))
            self._changed.add(granularity)

    def _whole_hours(self, granularity: Granularity, start: datetime, end: datetime, like: Candle) -> Candle | None:
        """Combine the complete hours from ``start`` up to ``end``, those that are real or invented ``like`` another bar."""
        if granularity not in _OF_HOURS:
            return None
        invented = self._sources.is_invented(like.source)
        hours = [hour for hour in self._hours if start <= hour.time < end and self._sources.is_invented(hour.source) == invented]
        whole = aggregate(hours, granularity, sources=self._sources)
        return replace(whole[0], complete=False) if whole else None

    def _put(self, bar: Candle) -> None:
        known = self._bars.get(bar.granularity)
        if known is None or known.time != bar.time:
            self._ends[bar.granularity] = bar.end
        self._bars[bar.granularity] = bar

    def _close(self, granularity: Granularity) -> None:
        self._closed.append(replace(self._bars.pop(granularity), complete=True))


def _bar(pair: CurrencyPair, start: datetime, quotes: Sequence[Quote]) -> Candle:
    """Return an unfinished bar of quotes within one minute."""
    sides = ([quote.bid for quote in quotes], [quote.mid for quote in quotes], [quote.ask for quote in quotes])
    bid, mid, ask = (Ohlc(side[0], max(side), min(side), side[-1]) for side in sides)
    return Candle(pair, Granularity.M1, start, bid, mid, ask, len(quotes), complete=False, source=quotes[-1].source)
