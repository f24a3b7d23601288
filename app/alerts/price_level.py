"""Watching prices for the levels that users wait for."""

import heapq
from bisect import insort
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from app.alerts.alert import Alert, Severity
from app.market.pair import CurrencyPair
from app.market.price_level import Direction, PriceLevel

_Entry = tuple[Decimal, str]
"""A level, its sign turned so that the nearest to be met comes last, and the id of whose it is."""


class PriceWatch:
    """Price levels, and what each price does to them.

    A level is reached when the mid is at it or beyond it, in its direction. One that the price is beyond already when it is
    set is reached by the first price. A level that does not repeat is then done. One that repeats is armed again by the first
    price that is back on the near side by a pip at least, once the cooldown is over; what happens within the cooldown is not
    made up for.

    A price costs O(log n) for each level that it changes, and next to nothing where it changes none.
    """

    def __init__(self, levels: Iterable[PriceLevel]) -> None:
        """Raises ValueError for a level that is no positive number."""
        self._levels: dict[str, PriceLevel] = {}
        self._of_pair: dict[str, _PairLevels] = {}
        self._rearmed: set[str] = set()
        self.replace(levels)

    def __len__(self) -> int:
        return len(self._levels)

    def replace(self, levels: Iterable[PriceLevel]) -> None:
        """Watch these levels and no others.

        A level that was watched before keeps how far it has come here, where the one given is behind. Raises ValueError for
        one that is no positive number, and then changes nothing.
        """
        merged = {level.id: _newer(self._levels.get(level.id), level) for level in levels}
        for level in merged.values():
            if not level.level.is_finite() or level.level <= 0:
                raise ValueError(f"a price level is a positive number, not {level.level}")
        self._levels = merged
        self._of_pair = {}
        for level in merged.values():
            self._of_pair.setdefault(level.pair.name, _PairLevels(level.pair.pip)).put(level)
        self._rearmed &= merged.keys()

    def see(self, pair: str, mid: Decimal, time: datetime) -> list[PriceLevel]:
        """The levels that this price reaches, as they are afterwards, the nearest first.

        The time, aware UTC, is what cooldowns run by: that of the own clock, which a source with a wrong one cannot move.
        """
        watched = self._of_pair.get(pair)
        if watched is None:
            return []
        for id in watched.take_returned(mid, time):
            self._levels[id] = level = replace(self._levels[id], armed=True)
            self._rearmed.add(id)
            watched.put(level)
        reached = []
        for id in watched.take_reached(mid):
            level = self._levels[id]
            self._levels[id] = level = replace(level, armed=False, triggered=level.triggered + 1, last_triggered=time)
            self._rearmed.discard(id)
            watched.put(level)
            reached.append(level)
        return reached

    def take_rearmed(self) -> list[PriceLevel]:
        """The levels that were armed again since this was last asked and are so still, to be kept for after a restart."""
        rearmed = [self._levels[id] for id in sorted(self._rearmed)]
        self._rearmed.clear()
        return rearmed


class _PairLevels:
    """The ids of one pair's levels, where the next price finds them: armed, cooling down, or waiting for the price's return."""

    def __init__(self, pip: Decimal) -> None:
        self._pip = pip
        self._armed: dict[Direction, list[_Entry]] = {direction: [] for direction in Direction}
        self._away: dict[Direction, list[_Entry]] = {direction: [] for direction in Direction}
        self._cooling: list[tuple[datetime, Direction, _Entry]] = []

    def put(self, level: PriceLevel) -> None:
        """Take in a level as it is now."""
        above = level.direction is Direction.ABOVE
        if level.armed:
            insort(self._armed[level.direction], (-level.level if above else level.level, level.id))
        elif level.repeat:
            back = level.level - self._pip if above else -(level.level + self._pip)
            entry = (back, level.id)
            if level.last_triggered is None:
                insort(self._away[level.direction], entry)
            else:
                over = level.last_triggered + timedelta(seconds=level.cooldown_seconds)
                heapq.heappush(self._cooling, (over, level.direction, entry))

    def take_reached(self, mid: Decimal) -> list[str]:
        """The armed levels that the price is at or beyond, the nearest first, taken out."""
        reached = _pop_from(self._armed[Direction.ABOVE], -mid)
        return reached + _pop_from(self._armed[Direction.BELOW], mid)

    def take_returned(self, mid: Decimal, time: datetime) -> list[str]:
        """The levels whose cooldown is over and from which the price is back, taken out."""
        while self._cooling and self._cooling[0][0] <= time:
            _, direction, entry = heapq.heappop(self._cooling)
            insort(self._away[direction], entry)
        returned = _pop_from(self._away[Direction.ABOVE], mid)
        return returned + _pop_from(self._away[Direction.BELOW], -mid)


def price_alert(level: PriceLevel, mid: Decimal, time: datetime) -> Alert:
    """The alert of a level that this mid reached at ``time``, aware UTC. Raises ValueError for an unknown severity."""
    pair = level.pair
    if level.direction is Direction.ABOVE:
        reached = "rose above" if mid > level.level else "rose to"
    else:
        reached = "fell below" if mid < level.level else "fell to"
    message = f"{pair} {reached} {_price(pair, level.level)}: {_price(pair, mid)}"
    if level.message:
        message = f"{message} ({level.message})"
    return Alert("price_alert", (pair.name,), mid, level.level, Severity(level.severity), message, time)


def _pop_from(entries: list[_Entry], bound: Decimal) -> list[str]:
    """The ids of the entries at ``bound`` or above, taken from the end of the list, which is sorted."""
    popped = []
    while entries and entries[-1][0] >= bound:
        popped.append(entries.pop()[1])
    return popped


def _newer(watched: PriceLevel | None, given: PriceLevel) -> PriceLevel:
    """The level as given, with what has happened to it by both accounts.

    Whoever keeps the levels may not have been told of the last alert, or of its being armed again.
    """
    if watched is None or watched.triggered < given.triggered:
        return given
    armed = watched.armed if watched.triggered > given.triggered else watched.armed or given.armed
    return replace(given, armed=armed, triggered=watched.triggered, last_triggered=watched.last_triggered)


def _price(pair: CurrencyPair, price: Decimal) -> str:
    """With as many decimals as the pair is quoted with, or more where the price has more: rounding could hide the difference."""
    rounded = pair.round(price)
    return f"{rounded if rounded == price else price:f}"
