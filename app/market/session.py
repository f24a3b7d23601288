"""The sessions of a trading day: business hours in Sydney, Tokyo, London and New York, and where they overlap.

Hours are local, so that they move in UTC whenever a zone changes its clocks. A session takes place on the business days
of its own zone, and only while the market is open: on a Sunday in January Sydney opens with the market, two hours after
business does.

25 December and 1 January are closed as trading days are counted, from 17:00 in New York on the day before to 17:00 on
the day itself; nor is there a session on these dates in its own zone. In OANDA's hourly prices no such day has any since
2010. The days before them are taken as whole, though some brokers end them early.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import combinations, count
from zoneinfo import ZoneInfo

_NEW_YORK = ZoneInfo("America/New_York")
_TURN = time(17)
_DAY = timedelta(days=1)
_SATURDAY = 5
_HOLIDAYS = frozenset({(12, 25), (1, 1)})


@dataclass(frozen=True, slots=True)
class Session:
    """A centre of the market and its business hours, which begin and end on the same local day."""

    name: str
    zone: ZoneInfo
    opening: time
    closing: time
    description: str


SESSIONS = (
    Session("Sydney", ZoneInfo("Australia/Sydney"), time(7), time(16), "The first to open in a week; AUD and NZD"),
    Session("Tokyo", ZoneInfo("Asia/Tokyo"), time(9), time(18), "The first of Asia to open; JPY"),
    Session("London", ZoneInfo("Europe/London"), time(8), time(17), "The largest centre of all; EUR, GBP and CHF"),
    Session("New York", _NEW_YORK, time(8), time(17), "Its close ends the trading day; USD and CAD"),
)


@dataclass(frozen=True, slots=True)
class Hours:
    """A stretch of time in UTC, its opening included and its closing not."""

    opens_at: datetime
    closes_at: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.opens_at <= moment < self.closes_at


@dataclass(frozen=True, slots=True)
class Overlap:
    """Hours that two sessions share."""

    sessions: tuple[Session, Session]
    hours: Hours


def market_is_open(moment: datetime) -> bool:
    """True in the trading week but for holidays, of which ``calendar.is_open`` knows nothing. ``moment`` is aware."""
    return moment in _trading_hours(_trading_day(moment))


def session_hours(session: Session, moment: datetime) -> Hours:
    """The hours that the session is in or, while it is closed, its next. ``moment`` is aware."""
    today = moment.astimezone(session.zone).date()
    from_today_on = (today + days * _DAY for days in count())
    return next(hours for hours in _hours_on(session, from_today_on) if moment < hours.closes_at)


def overlaps(moment: datetime, sessions: Iterable[Session] = SESSIONS) -> list[Overlap]:
    """What any two sessions share of the trading day or, while the market is closed, of the next, by time."""
    day = _trading_day(moment)
    trading = _trading_hours(day)
    # Hours of three local dates may fall in a trading day: in the east the next begin in it, in the west the last end in it.
    dates = (day - _DAY, day, day + _DAY)
    hours = [(session, hours) for session in sessions for hours in _hours_on(session, dates)]
    found = [
        Overlap((one, other), shared)
        for (one, its_hours), (other, other_hours) in combinations(hours, 2)
        if (shared := _shared(trading, its_hours, other_hours)) is not None
    ]
    return sorted(found, key=lambda overlap: overlap.hours.opens_at)


def _hours_on(session: Session, dates: Iterable[date]) -> Iterator[Hours]:
    """The session's hours on these local dates, as far as the market is open in them."""
    for day in dates:
        if _is_business_day(day):
            opening = datetime.combine(day, session.opening, session.zone).astimezone(UTC)
            closing = datetime.combine(day, session.closing, session.zone).astimezone(UTC)
            hours = _shared(Hours(opening, closing), _open_market_from(opening))
            if hours is not None:
                yield hours


def _open_market_from(moment: datetime) -> Hours:
    """From the start of the current or next trading day to the end of the last before a weekend or holiday."""
    first = last = _trading_day(moment)
    while _is_business_day(last + _DAY):
        last += _DAY
    return Hours(_trading_hours(first).opens_at, _trading_hours(last).closes_at)


def _trading_day(moment: datetime) -> date:
    """The date on which the current trading day ends or, while the market is closed, the next."""
    local = moment.astimezone(_NEW_YORK)
    day = local.date() if local.time() < _TURN else local.date() + _DAY
    while not _is_business_day(day):
        day += _DAY
    return day


def _trading_hours(day: date) -> Hours:
    return Hours(_turn(day - _DAY), _turn(day))


def _turn(day: date) -> datetime:
    return datetime.combine(day, _TURN, _NEW_YORK).astimezone(UTC)


def _is_business_day(day: date) -> bool:
    return day.weekday() < _SATURDAY and (day.month, day.day) not in _HOLIDAYS


def _shared(*stretches: Hours) -> Hours | None:
    """What is common to all of these; None where nothing is."""
    opens_at = max(hours.opens_at for hours in stretches)
    closes_at = min(hours.closes_at for hours in stretches)
    return Hours(opens_at, closes_at) if opens_at < closes_at else None
