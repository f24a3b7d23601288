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
    """True where a price is older than ``stale_after_seconds``, the times aware.

    The sources in ``ALWAYS_OPEN`` are judged at ``now``, every other at the last moment the market was open: a price
    from just before the close stays good over the weekend, and is stale once the market opens without a newer one.
    """
    judged_at = now if source in ALWAYS_OPEN else last_open_moment(now)
    return judged_at - price_time > timedelta(seconds=stale_after_seconds)
