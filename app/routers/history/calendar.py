"""``/api/v1/calendar``: when the market is open, and its holidays."""

from datetime import date, datetime, timedelta

from fastapi import APIRouter
from pydantic import Field

from app.errors import InvalidRequest
from app.http.parameters import EndTime, StartTime, interval
from app.http.refusals import RATE_LIMITED, WRONG_TIME, refusals
from app.market.clock import rfc3339, utc_now
from app.market.hours.calendar import NEW_YORK, is_business_day, trading_hours
from app.realtime.contract.fields import Message, TimeText

router = APIRouter(prefix="/api/v1/calendar", tags=["sessions"])

_DAY = timedelta(days=1)
_BY_DEFAULT = timedelta(days=7)
_LONGEST = timedelta(days=3660)
_TOO_LONG = InvalidRequest("end_time: at most 3660 days after start_time")
_SATURDAY = 5


class TradingDayHours(Message):
    """The hours of a trading day."""

    trading_day: date = Field(description="The date in New York on which it ends")
    opens_at: TimeText
    closes_at: TimeText = Field(description="Exclusive")


class TradingCalendar(Message):
    """The open market within an interval."""

    start: TimeText
    end: TimeText
    open_hours: float = Field(description="Hours of open market within the interval", examples=[120.0])
    count: int = Field(description="Number of trading days", examples=[5])
    trading_days: list[TradingDayHours] = Field(description="Every trading day that is open within the interval, whole, in order")
    holidays: list[date] = Field(
        description="Dates from Monday to Friday that are no trading days; their hours are in the interval"
    )


@router.get(
    "",
    operation_id="get_calendar",
    summary="Open hours and holidays",
    responses=refusals(WRONG_TIME, _TOO_LONG, RATE_LIMITED),
)
async def get_calendar(start_time: StartTime = None, end_time: EndTime = None) -> TradingCalendar:
    """Return the trading days of an interval with their hours in UTC, and the holidays; by default of seven days from now.

    A trading day runs from 17:00 to 17:00 in New York. Sources may pause within it.
    """
    start, end = interval(start_time, end_time)
    if start is None:
        start = utc_now() if end is None else end - _BY_DEFAULT
    end = end or start + _BY_DEFAULT
    if end - start > _LONGEST:
        raise _TOO_LONG
    return calendar_of(start, end)


def calendar_of(start: datetime, end: datetime) -> TradingCalendar:
    """The answer for ``[start, end)``, aware times."""
    days, holidays, open_for = [], [], timedelta()
    day = start.astimezone(NEW_YORK).date()
    while (hours := trading_hours(day)).opens_at < end:
        if hours.closes_at > start:
            if is_business_day(day):
                times = {"opens_at": rfc3339(hours.opens_at), "closes_at": rfc3339(hours.closes_at)}
                days.append(TradingDayHours(trading_day=day, **times))
                open_for += min(hours.closes_at, end) - max(hours.opens_at, start)
            elif day.weekday() < _SATURDAY:
                holidays.append(day)
        day += _DAY
    return TradingCalendar(
        start=rfc3339(start),
        end=rfc3339(end),
        open_hours=open_for / timedelta(hours=1),
        count=len(days),
        trading_days=days,
        holidays=holidays,
    )
