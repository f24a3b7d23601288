"""``/api/v1/sessions``: whether the market is open, and in which centres."""

from datetime import datetime, time
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from app.errors import InvalidRequest
from app.http.parameters import MomentText, moment
from app.http.refusals import RATE_LIMITED, WRONG_TIME, refusals
from app.market.clock import rfc3339, utc_now
from app.market.hours.calendar import is_open
from app.market.hours.session import SESSIONS, Overlap, Session, overlaps, session_hours
from app.realtime.contract.fields import Message, TimeText

router = APIRouter(prefix="/api/v1/sessions", tags=["sessions"])

SessionName = Annotated[str, Field(description="The centre of the session", examples=["London"])]
LocalTime = Annotated[
    str,
    Field(
        description="Hour and minute in the session's own timezone",
        examples=["08:00"],
        pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$",
    ),
]


class ListedSession(Message):
    """The business hours of a centre."""

    name: SessionName
    timezone: str = Field(description="The IANA time zone of its hours", examples=["Europe/London"])
    start_time: LocalTime
    end_time: LocalTime
    opens_at: TimeText = Field(
        description="Start of the current hours or, while closed, of the next. Later than `start_time` if the "
        "market opens later, as for Sydney on some Mondays"
    )
    closes_at: TimeText = Field(description="End of the hours that start at `opens_at`, exclusive")
    is_open: bool = Field(description="True between `opens_at` and `closes_at`")
    description: str = Field(description="The session in words", examples=[SESSIONS[2].description])


class SessionOverlap(Message):
    """A part of the trading day in which two sessions are open."""

    sessions: list[SessionName] = Field(
        description="Two names, in the order of the sessions", examples=[["London", "New York"]], min_length=2, max_length=2
    )
    starts_at: TimeText
    ends_at: TimeText = Field(description="Exclusive")
    is_open: bool = Field(description="True between `starts_at` and `ends_at`")


class Sessions(Message):
    """Whether the market is open, and in which centres."""

    timestamp: TimeText
    count: int = Field(description="Number of sessions", examples=[len(SESSIONS)])
    market_open: bool = Field(
        description="True from Sunday 17:00 to Friday 17:00 in New York, except on the trading days that end on "
        "25 December and 1 January"
    )
    sessions: list[ListedSession] = Field(description="Every session, in the order of the day")
    overlaps: list[SessionOverlap] = Field(
        description="The overlaps of the current trading day or, while the market is closed, of the next; earliest first"
    )


@router.get(
    "",
    operation_id="get_sessions",
    summary="Sessions of the market",
    responses=refusals(InvalidRequest(WRONG_TIME.args[0].replace("end_time", "time")), RATE_LIMITED),
)
async def get_sessions(
    time: Annotated[
        MomentText | None,
        Query(
            description="The time; now by default: RFC 3339 with an offset, a date, which is its midnight in UTC, "
            "or seconds since 1970",
            examples=["2026-01-30T12:00:00Z"],
        ),
    ] = None,
) -> Sessions:
    """Return the local business hours of each centre, their current times in UTC, and their overlaps.

    Hours follow daylight saving in each zone, and do not extend past the close of the market.
    """
    return sessions_at(moment("time", time) or utc_now())


def sessions_at(at: datetime) -> Sessions:
    """The answer at an aware time."""
    return Sessions(
        timestamp=rfc3339(at),
        count=len(SESSIONS),
        market_open=is_open(at),
        sessions=[_listed(session, at) for session in SESSIONS],
        overlaps=[_listed_overlap(overlap, at) for overlap in overlaps(at)],
    )


def _listed(session: Session, at: datetime) -> ListedSession:
    hours = session_hours(session, at)
    return ListedSession(
        name=session.name,
        timezone=session.zone.key,
        start_time=_hour_and_minute(session.opening),
        end_time=_hour_and_minute(session.closing),
        opens_at=rfc3339(hours.opens_at),
        closes_at=rfc3339(hours.closes_at),
        is_open=at in hours,
        description=session.description,
    )


def _listed_overlap(overlap: Overlap, at: datetime) -> SessionOverlap:
    return SessionOverlap(
        sessions=[session.name for session in overlap.sessions],
        starts_at=rfc3339(overlap.hours.opens_at),
        ends_at=rfc3339(overlap.hours.closes_at),
        is_open=at in overlap.hours,
    )


def _hour_and_minute(local: time) -> str:
    return local.isoformat(timespec="minutes")
