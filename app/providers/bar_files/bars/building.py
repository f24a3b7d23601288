"""Turning frames into bars: rows are checked against the calendar, sorted and, if requested, aggregated."""

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from app.market.bars.candle import Granularity
from app.market.blocks.block import BarBlock, Prices, joined
from app.market.blocks.starts import TradingDays, micros_of, moment_of, starts
from app.market.clock import utc_now
from app.market.pair import CurrencyPair
from app.providers.bar_files.bars.days import placed
from app.providers.bar_files.bars.frame import Frame, sides_of
from app.providers.bar_files.bars.steps import series_of
from app.providers.bar_files.bars.weeks import closed, is_intraday
from app.providers.bar_files.tally import Tally
from app.providers.bar_files.text.rows import Flags, Ints
from app.providers.bar_files.values.moments import DAY

_LONGEST_BAR = 32 * DAY
_UNFINISHED = "in the bar that the file ends within"


@dataclass(frozen=True, slots=True)
class Plan:
    """How to turn the rows of a file into bars.

    ``granularity`` is None if each row names its own; ``wanted`` then selects the rows of one. Ticks are always ``aggregated``,
    bars only when they are shorter than the bars to make. ``holds_until`` is the time up to which the file is known to be
    complete.
    """

    granularity: Granularity | None
    wanted: Granularity | None
    source: str
    aggregated: bool
    ticks: bool
    keeps_closed: bool
    holds_until: datetime | None = None


@dataclass(slots=True)
class Built:
    """The bars of a file; ``how`` says how timestamps of days were interpreted."""

    blocks: list[BarBlock] = field(default_factory=list)
    how: list[str] = field(default_factory=list)


def build(frame: Frame, plan: Plan, tally: Tally) -> Built:
    """Return the bars of a file, a block per pair and granularity, in order of first appearance."""
    built = Built()
    now = micros_of(utc_now())
    series = sorted(series_of(frame), key=lambda rows: int(frame.line[rows[0]]))
    for rows in series:
        part = frame if len(rows) == len(frame) else frame.take(rows)
        pair = part.pairs[int(part.pair[0])]
        granularity = plan.granularity or part.granularities[int(part.granularity[0])]
        assert granularity is not None  # where the plan has none, every row does
        if plan.wanted is not None and granularity is not plan.wanted:
            tally.reject(part.line, "another granularity")
            continue
        block = _Series(part, pair, granularity, plan, tally, now, built.how).block()
        if block is not None:
            built.blocks.append(block)
    return built


class _Series:
    """The rows of one pair and granularity, turned into bars step by step."""

    def __init__(
        self, frame: Frame, pair: CurrencyPair, granularity: Granularity, plan: Plan, tally: Tally, now: int, how: list[str]
    ) -> None:
        self._frame = frame
        self._times = frame.time
        self._pair = pair
        self._granularity = granularity
        self._plan = plan
        self._tally = tally
        self._now = now
        self._how = how

    def block(self) -> BarBlock | None:
        """Return the bars, or None if no row is usable."""
        self._leave_out_closed()
        if self._plan.ticks:
            self._keep(self._times <= self._now, "in the future")
        elif not self._plan.aggregated:
            self._keep(starts(self._times, self._granularity) == self._times, f"not the start of a bar of {self._granularity}")
            self._keep(~self._not_over(self._times), "not over yet")
        self._sort()
        if self._plan.aggregated:
            return self._aggregated()
        return self._as_they_are()

    def _leave_out_closed(self) -> None:
        """Find the bar of each row, and reject rows of a closed market."""
        if is_intraday(self._granularity) or self._plan.aggregated:
            outside = closed(self._frame)
        else:
            self._times, outside, how = placed(self._frame, self._granularity)
            if self._granularity is Granularity.D and len(self._times):
                days = TradingDays(self._times)
                outside |= days.in_holiday(days.of(self._times)) & self._frame.flat
            if how and how not in self._how:
                self._how.append(how)
        if not self._plan.keeps_closed:
            self._keep(~outside, "market closed")

    def _sort(self) -> None:
        if len(self._times) and (np.diff(self._times) < 0).any():
            order = np.argsort(self._times, kind="stable")
            self._frame, self._times = self._frame.take(order), self._times[order]

    def _as_they_are(self) -> BarBlock | None:
        """Return a bar per row; a Sunday row and the following Monday are merged."""
        again = np.append(False, np.diff(self._times) == 0) if len(self._times) else np.zeros(0, bool)
        if again.any():
            joins = np.zeros(len(again), bool)
            if self._granularity is Granularity.D:
                joins = again & np.append(False, np.diff(self._frame.local) == DAY)
            self._keep(~again | joins, "repeated time")
        if not len(self._times):
            return None
        self._tally.accepted += len(self._times)
        return self._bars(self._times)

    def _aggregated(self) -> BarBlock | None:
        """Return aggregated bars, without the bar that is unfinished at the end of the file."""
        if not len(self._times):
            return None
        begins = starts(self._times, self._granularity)
        last = self._granularity.end(moment_of(begins[-1]))
        until = self._plan.holds_until
        if until is None or micros_of(until) > self._now or until < last:
            ends = micros_of(last)
            if self._plan.ticks or ends > self._now or self._times[-1] + _shortest_step(self._times) < ends:
                first = int(np.searchsorted(begins, begins[-1]))
                lines = self._frame.line[first:]
                self._tally.reject(lines[:1], _UNFINISHED, rows=len(lines))
                rows = np.arange(first)
                self._frame, self._times, begins = self._frame.take(rows), self._times[:first], begins[:first]
                if not first:
                    return None
        self._tally.accepted += len(self._times)
        return self._bars(begins)

    def _bars(self, begins: Ints) -> BarBlock:
        """Merge rows with the same start into bars; there is at least one row."""
        bid, mid, ask = sides_of(self._frame)
        volumes = np.ones(len(begins), np.int64) if self._plan.ticks else self._frame.volume
        first = np.flatnonzero(np.append(True, begins[1:] != begins[:-1]))
        if self._plan.ticks:
            bid, mid, ask = (np.repeat(prices, 4, axis=0) for prices in (bid, mid, ask))
        if len(first) < len(begins) or self._plan.ticks:
            bid, mid, ask = (joined(prices, first) for prices in (bid, mid, ask))
            volumes = np.add.reduceat(volumes, first)
        bid, mid, ask, decimals = _tidy(bid, mid, ask, self._frame.decimals + 1, self._pair.precision + 1)
        source = self._plan.source
        return BarBlock(self._pair, self._granularity, source, begins[first], bid, mid, ask, decimals, volumes)

    def _not_over(self, begins: Ints) -> Flags:
        """Return True for bars that end after now."""
        late = begins > self._now - _LONGEST_BAR
        for row in np.flatnonzero(late):
            late[row] = micros_of(self._granularity.end(moment_of(begins[row]))) > self._now
        return late

    def _keep(self, rows: Flags, reason: str) -> None:
        """Keep these rows and reject the others with this reason."""
        if not rows.all():
            self._tally.reject(self._frame.line[~rows], reason)
            self._frame, self._times = self._frame.take(rows), self._times[rows]


def _shortest_step(times: Ints) -> int:
    """Return the shortest step between different times; 0 if there is none."""
    steps = np.diff(times)
    return int(steps[steps > 0].min(initial=DAY)) if (steps > 0).any() else 0


def _tidy(bid: Prices, mid: Prices, ask: Prices, decimals: int, wanted: int) -> tuple[Prices, Prices, Prices, int]:
    """Return the prices with the decimals of the pair, or more if needed, so that equal prices are stored as equal text."""
    sides = [bid] if bid is mid is ask else [bid, mid, ask]
    while decimals > wanted and all(not (prices % 10).any() for prices in sides):
        sides = [prices // 10 for prices in sides]
        decimals -= 1
    if decimals < wanted:
        sides = [prices * 10 ** (wanted - decimals) for prices in sides]
        decimals = wanted
    return sides[0], sides[len(sides) // 2], sides[-1], decimals
