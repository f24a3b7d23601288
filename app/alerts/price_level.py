"""Which price levels each price reaches."""

import heapq
from bisect import insort
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from app.market.alert import PriceAlert, Severity
from app.market.pair import CurrencyPair
from app.market.price_level import Direction, PriceLevel

_Entry = tuple[Decimal, str]
"""The price of a level, negated where needed so that the first to be reached sorts last, and the level's id."""


class PriceWatch:
    """The price levels of all pairs, and their state.

    A level is reached when the mid is at or beyond it, in its direction. If the price is already beyond a level when that is
    set, the first price reaches it. A level that does not repeat is then done. One that repeats is armed again by the first
    price that is back on the near side by at least a pip once the cooldown is over; crossings within the cooldown are ignored.

    A price costs O(log n) for each level whose state it changes, and a comparison or two where it changes none.
    """

    def __init__(self, levels: Iterable[PriceLevel]) -> None:
        """Watch these levels. Raises ValueError for a level that is not a positive number."""
        self._levels: dict[str, PriceLevel] = {}
        self._of_pair: dict[str, _PairLevels] = {}
        self._rearmed: set[str] = set()
        self.replace(levels)

    def __len__(self) -> int:
        return len(self._levels)

    def replace(self, levels: Iterable[PriceLevel]) -> None:
        """Watch these levels and no others.

        A level that was watched before keeps its state here if that is newer than the one given. Raises ValueError for a
        level that is not a positive number, and then changes nothing.
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
        """Return the levels that this price reaches, in their new state, the nearest first.

        Cooldowns are measured by ``time``, aware UTC: the gateway's own, so that a source with a wrong clock does no harm.
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
        """Return the levels armed again since the last call and still armed, so that they can be saved."""
        rearmed = [self._levels[id] for id in sorted(self._rearmed)]
        self._rearmed.clear()
        return rearmed


class _PairLevels:
    """The ids of one pair's levels by state: armed, cooling down, or waiting for the price to return."""

    def __init__(self, pip: Decimal) -> None:
        self._pip = pip
        self._armed: dict[Direction, list[_Entry]] = {direction: [] for direction in Direction}
        self._away: dict[Direction, list[_Entry]] = {direction: [] for direction in Direction}
        self._cooling: list[tuple[datetime, Direction, _Entry]] = []

    def put(self, level: PriceLevel) -> None:
        """File a level under its state."""
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
        """Remove and return the armed levels that the price is at or beyond, the nearest first."""
        reached = _pop_from(self._armed[Direction.ABOVE], -mid)
        return reached + _pop_from(self._armed[Direction.BELOW], mid)

    def take_returned(self, mid: Decimal, time: datetime) -> list[str]:
        """Remove and return the levels whose cooldown is over and from which the price has returned."""
        while self._cooling and self._cooling[0][0] <= time:
            _, direction, entry = heapq.heappop(self._cooling)
            insort(self._away[direction], entry)
        returned = _pop_from(self._away[Direction.ABOVE], mid)
        return returned + _pop_from(self._away[Direction.BELOW], -mid)


def price_alert(level: PriceLevel, mid: Decimal, time: datetime) -> PriceAlert:
    """Return the alert of a level that this mid reached at ``time``, aware UTC. Raises ValueError for an unknown severity."""
    pair = level.pair
    if level.direction is Direction.ABOVE:
        reached = "rose above" if mid > level.level else "rose to"
    else:
        reached = "fell below" if mid < level.level else "fell to"
    message = f"{pair} {reached} {_price(pair, level.level)}: {_price(pair, mid)}"
    if level.message:
        message = f"{message} ({level.message})"
    return PriceAlert(
        "price_alert", (pair.name,), mid, level.level, Severity(level.severity), message, time, level.id, level.direction
    )


def _pop_from(entries: list[_Entry], bound: Decimal) -> list[str]:
    """Pop the entries at or above ``bound`` from the end of a sorted list; return their ids."""
    popped = []
    while entries and entries[-1][0] >= bound:
        popped.append(entries.pop()[1])
    return popped


def _newer(watched: PriceLevel | None, given: PriceLevel) -> PriceLevel:
    """Return the level as given, with the newer of the two states.

    The database, from which it was given, may not know yet of the last alert or of the level being armed again.
    """
    if watched is None or watched.triggered < given.triggered:
        return given
    armed = watched.armed if watched.triggered > given.triggered else watched.armed or given.armed
    return replace(given, armed=armed, triggered=watched.triggered, last_triggered=watched.last_triggered)


def _price(pair: CurrencyPair, price: Decimal) -> str:
    """Format a price at the pair's precision, or with all its decimals where it has more: rounding could hide a difference."""
    rounded = pair.round(price)
    return f"{rounded if rounded == price else price:f}"
