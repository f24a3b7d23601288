"""The sessions of a trading day: business hours in Sydney, Tokyo, London and New York, and their overlaps.

Hours are local, so they move in UTC when a zone changes its clocks. A session takes place on the business days of its own
zone, and only while the market is open: on a Sunday in January Sydney opens with the market, two hours after business does.

There are no sessions on 25 December and 1 January, by their local dates.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import combinations, count
from zoneinfo import ZoneInfo

from app.market.hours.calendar import NEW_YORK, Hours, is_business_day, trading_day, trading_hours

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Session:
    """A market centre and its business hours, which begin and end on the same local day."""

    name: str
    zone: ZoneInfo
    opening: time
    closing: time
    description: str


SESSIONS = (
    Session("Sydney", ZoneInfo("Australia/Sydney"), time(7), time(16), "The first to open in a week; AUD and NZD"),
    Session("Tokyo", ZoneInfo("Asia/Tokyo"), time(9), time(18), "The first of Asia to open; JPY"),
    Session("London", ZoneInfo("Europe/London"), time(8), time(17), "The largest centre of all; EUR, GBP and CHF"),
    Session("New York", NEW_YORK, time(8), time(17), "Its close ends the trading day; USD and CAD"),
)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Hours that two sessions share."""

    sessions: tuple[Session, Session]
    hours: Hours


def session_hours(session: Session, moment: datetime) -> Hours:
    """Return the current hours of the session or, while it is closed, the next. ``moment`` is aware."""
    today = moment.astimezone(session.zone).date()
    from_today_on = (today + days * _DAY for days in count())
    return next(hours for hours in _hours_on(session, from_today_on) if moment < hours.closes_at)


def overlaps(moment: datetime, sessions: Iterable[Session] = SESSIONS) -> list[Overlap]:
    """Return what any two sessions share of the current trading day or, while the market is closed, of the next, by time."""
    day = trading_day(moment)
    trading = trading_hours(day)
    # A trading day may contain hours of three local dates: in the east the next date begins in it, in the west the last ends.
    dates = (day - _DAY, day, day + _DAY)
    hours = [(session, hours) for session in sessions for hours in _hours_on(session, dates)]
    found = [
        Overlap((one, other), shared)
        for (one, its_hours), (other, other_hours) in combinations(hours, 2)
        if (shared := _shared(trading, its_hours, other_hours)) is not None
    ]
    return sorted(found, key=lambda overlap: overlap.hours.opens_at)


def _hours_on(session: Session, dates: Iterable[date]) -> Iterator[Hours]:
    """Yield the hours of the session on these local dates, as far as the market is open."""
    for day in dates:
        if is_business_day(day):
            opening = datetime.combine(day, session.opening, session.zone).astimezone(UTC)
            closing = datetime.combine(day, session.closing, session.zone).astimezone(UTC)
            hours = _shared(Hours(opening, closing), _open_market_from(opening))
            if hours is not None:
                yield hours


def _open_market_from(moment: datetime) -> Hours:
    """Return the period from the start of the current or next trading day to the end of the last before a weekend or holiday."""
    first = last = trading_day(moment)
    while is_business_day(last + _DAY):
        last += _DAY
    return Hours(trading_hours(first).opens_at, trading_hours(last).closes_at)


def _shared(*stretches: Hours) -> Hours | None:
    """Return the intersection of the periods; None if it is empty."""
    opens_at = max(hours.opens_at for hours in stretches)
    closes_at = min(hours.closes_at for hours in stretches)
    return Hours(opens_at, closes_at) if opens_at < closes_at else None
