"""The trading week of interbank FX: Sunday 17:00 to Friday 17:00 in New York, and what it means for a price's age."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from app.market.source import ALWAYS_OPEN

_NEW_YORK = ZoneInfo("America/New_York")
_TURN = time(17)
_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6


def is_open(moment: datetime) -> bool:
    """True from the open on Sunday, included, to the close on Friday, excluded. ``moment`` is aware."""
    local = moment.astimezone(_NEW_YORK)
    day = local.weekday()
    if day == _FRIDAY:
        return local.time() < _TURN
    if day == _SUNDAY:
        return local.time() >= _TURN
    return day != _SATURDAY


def last_open_moment(moment: datetime) -> datetime:
    """The moment itself while the market is open, else the close before it, in UTC. ``moment`` is aware."""
    if is_open(moment):
        return moment.astimezone(UTC)
    local = moment.astimezone(_NEW_YORK)
    friday = local.date() - timedelta(days=local.weekday() - _FRIDAY)
    return datetime.combine(friday, _TURN, _NEW_YORK).astimezone(UTC)


def is_stale(price_time: datetime, source: str, now: datetime, stale_after_seconds: float) -> bool:
    """True where the market has been open for more than ``stale_after_seconds`` since a price, the times aware.

    For the sources in ``ALWAYS_OPEN`` it always is. For every other, closed hours do not count: a price from just before
    the close stays good over the weekend, and has its time anew once the market opens.
    """
    age = now - price_time
    if source not in ALWAYS_OPEN:
        age -= _closed_between(price_time, now)
    return age > timedelta(seconds=stale_after_seconds)


def _closed_between(start: datetime, end: datetime) -> timedelta:
    """How long the market was closed between two moments."""
    closed = timedelta()
    moment = end
    while moment > start:
        close = last_open_moment(moment)
        closed += moment - max(close, start) if close < moment else timedelta()
        # Back over the open hours of this week, to its opening on Sunday.
        local = close.astimezone(_NEW_YORK)
        sunday = local.date() - timedelta(days=(local.weekday() + 1) % 7)
        moment = datetime.combine(sunday, _TURN, _NEW_YORK).astimezone(UTC) - timedelta(microseconds=1)
    return closed
