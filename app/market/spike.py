"""Spikes: single quotes far from the others of their pair, which come from a fault of the source and not from the market."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from app.market.pair import CurrencyPair
from app.market.quote import Quote, QuoteKind

DEFAULT_MULTIPLE = 50
"""The multiple of a usual move from which a quote is held."""

_WINDOW = 100
"""The number of moves whose median is the usual one."""

_FEWEST = 10
"""The number of moves from which their median is trusted."""

_LATEST = 5
"""The number of moves whose mean counts where it is larger: in the minutes after a jump the market is still wild."""

_FLOOR = 0.00002
"""The smallest usual move, as a fraction of the price: most quotes of a calm market repeat the last one."""

_FLOOR_AT_FIRST = 0.004
"""The usual move until there are enough to tell, enough for quotes that are an hour apart."""


@dataclass(slots=True)
class _Recent:
    """The newest quotes of a pair: twice the mid of the last one that passed, the moves before it, and the one that is held."""

    mid: float
    moves: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    held: Quote | None = None
    held_mid: float = 0.0

    @property
    def floor(self) -> float:
        return _FLOOR if len(self.moves) >= _FEWEST else _FLOOR_AT_FIRST

    @property
    def usual(self) -> float:
        """The usual move from one quote to the next."""
        if len(self.moves) < _FEWEST:
            return _FLOOR_AT_FIRST
        moves = list(self.moves)
        return max(_FLOOR, median(moves), fmean(moves[-_LATEST:]))

    def move_to(self, mid: float) -> None:
        self.moves.append(_move(self.mid, mid))
        self.mid = mid


class SpikeFilter:
    """Holds back a quote far from the last one of its pair until the next one confirms it. ``dropped`` counts the others.

    A quote is far when it moves the mid by more than ``multiple`` times the usual move: the median of the last hundred moves of
    the pair or, if that is larger, the mean of the last five. The next quote confirms it by lying near it or beyond it; then both
    pass. The market may jump as it likes, at the cost of one quote's delay, as from 1.20 to 0.85 in EUR_CHF on 15 January 2015.

    Daily rates are not judged: they are far apart, and nothing confirms them for a day.
    """

    def __init__(self, multiple: float = DEFAULT_MULTIPLE) -> None:
        """0 as ``multiple`` lets every quote pass."""
        self._multiple = multiple
        self._recent: dict[CurrencyPair, _Recent] = {}
        self.dropped = 0

    def take(self, quote: Quote) -> Sequence[Quote]:
        """Return the quotes that pass now, in order: none, the given one, or the held one and the given one.

        The quotes of a pair come in order of time, with positive prices.
        """
        if not self._multiple or quote.kind is QuoteKind.DAILY:
            return (quote,)
        mid = float(quote.bid) + float(quote.ask)
        recent = self._recent.get(quote.pair)
        if recent is None:
            self._recent[quote.pair] = _Recent(mid)
            return (quote,)
        move = _move(recent.mid, mid)
        # The median is not computed for a move that is small even for the calmest market.
        if move <= self._multiple * recent.floor or move <= self._multiple * recent.usual:
            if recent.held is not None:
                recent.held = None
                self.dropped += 1
            recent.move_to(mid)
            return (quote,)
        held = recent.held
        if held is not None and self._is_confirmed(recent, mid):
            recent.held = None
            recent.move_to(recent.held_mid)
            recent.move_to(mid)
            return held, quote
        if held is not None:
            self.dropped += 1
        recent.held, recent.held_mid = quote, mid
        return ()

    def _is_confirmed(self, recent: _Recent, mid: float) -> bool:
        """Return True if a mid lies beyond the held one, or nearer to it than half of the way there."""
        beyond = recent.mid < recent.held_mid <= mid or recent.mid > recent.held_mid >= mid
        near = max(_move(recent.mid, recent.held_mid) / 2, self._multiple * recent.usual)
        return beyond or _move(recent.held_mid, mid) <= near


def _move(before: float, after: float) -> float:
    """Return the size of a move, as a fraction of the price, the same up and down."""
    return abs(math.log(after / before))
