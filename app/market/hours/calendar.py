"""The trading calendar: Sunday 17:00 to Friday 17:00 in New York, without holidays, and what it means for the age of a price.

25 December and 1 January are closed as trading days, from 17:00 in New York on the day before to 17:00 on the day itself;
OANDA's hourly prices have had no such day since 2010. The days before them count as whole, although some brokers end them
early.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from app.market.source import SourceTraits

NEW_YORK = ZoneInfo("America/New_York")
"""The time zone of the trading day."""

_TURN = time(17)
_DAY = timedelta(days=1)
_SATURDAY = 5
_EARLY = timedelta(hours=3)
_HOLIDAYS = frozenset({(12, 25), (1, 1)})


@dataclass(frozen=True, slots=True)
class Hours:
    """A period in UTC; the opening is included, the closing is not."""

    opens_at: datetime
    closes_at: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.opens_at <= moment < self.closes_at


def is_open(moment: datetime) -> bool:
    """Return True within the trading week, without holidays. ``moment`` is aware."""
    return moment in trading_hours(trading_day(moment))


def is_quoting(source: SourceTraits, moment: datetime) -> bool:
    """Return True if the market of the source is open at ``moment``, an aware time."""
    return source.always_open or moment in _quoting_hours(source, moment)


def trading_day(moment: datetime) -> date:
    """Return the date on which the current trading day ends or, while the market is closed, the next. ``moment`` is aware."""
    local = moment.astimezone(NEW_YORK)
    day = local.date() if local.time() < _TURN else local.date() + _DAY
    while not is_business_day(day):
        day += _DAY
    return day


def trading_hours(day: date) -> Hours:
    """Return the hours of a trading day: from 17:00 in New York on the day before to 17:00 on the day."""
    return Hours(_turn(day - _DAY), _turn(day))


def open_time(start: datetime, end: datetime) -> timedelta:
    """Return how long the market is surely open from ``start`` to ``end``, both aware; zero when ``end`` is not after ``start``.

    The days before holidays count to 14:00 in New York, when some brokers end them.
    """
    total, moment = timedelta(), start
    while moment < end:
        day = trading_day(moment)
        hours = trading_hours(day)
        closes_at = hours.closes_at - _EARLY if _is_holiday(day + _DAY) else hours.closes_at
        total += max(timedelta(), min(closes_at, end) - max(hours.opens_at, moment))
        moment = hours.closes_at
    return total


def is_business_day(day: date) -> bool:
    """Return True from Monday to Friday, without holidays."""
    return day.weekday() < _SATURDAY and not _is_holiday(day)


def previous_business_day(day: date) -> date:
    """Return the last business day before a date."""
    day -= _DAY
    while not is_business_day(day):
        day -= _DAY
    return day


def stale_from(price_time: datetime, source: SourceTraits, stale_after: float) -> datetime:
    """Return the time, in UTC, up to which a price is fresh: ``stale_after`` seconds of open market after ``price_time``, aware.

    For a source that is always open that is the clock. For the others closed hours do not count: a price from just before the
    close stays fresh over the weekend, and has its full time again once the market opens.
    """
    moment, left = price_time.astimezone(UTC), timedelta(seconds=stale_after)
    if source.always_open:
        return moment + left
    while True:
        hours = _quoting_hours(source, moment)
        moment = max(moment, hours.opens_at)
        if moment + left < hours.closes_at:
            return moment + left
        left -= hours.closes_at - moment
        moment = hours.closes_at


def is_stale(price_time: datetime, source: SourceTraits, now: datetime, stale_after: float) -> bool:
    """Return True if a price is past the time that ``stale_from`` gives. Times are aware."""
    return now > stale_from(price_time, source, stale_after)


def _is_holiday(day: date) -> bool:
    return (day.month, day.day) in _HOLIDAYS


def _quoting_hours(source: SourceTraits, moment: datetime) -> Hours:
    """Return the hours, within one trading day, in which the source is quoting or will quote next."""
    before, after = source.pause_before_turn, source.pause_after_turn
    # A moment in the break before the turn belongs to the next trading day already.
    hours = trading_hours(trading_day(moment + before))
    return Hours(hours.opens_at + after, hours.closes_at - before)


def _turn(day: date) -> datetime:
    return datetime.combine(day, _TURN, NEW_YORK).astimezone(UTC)
