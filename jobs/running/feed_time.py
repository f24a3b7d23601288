"""The time of the feed: that of the wall, or the recorded time of a replay on its original clock.

The heartbeats of the feed carry it through the log. In a replay on its original clock, they are dated by the quotes.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from app.market.bars.candle import LARGEST_GAP_OF_HOURS, Granularity
from app.market.clock import parse_time
from app.market.hours.calendar import open_time
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import Event

_SET_BACK = timedelta(minutes=150)
"""How far the clock of another feed must be behind, for a replay that begins again. One that continues another, with the
recording of the next day, is behind by the hour that it begins before its first and the hour that the other ran on.
"""

_TO_SETTLE = timedelta(minutes=2)
"""How long a recording runs on, so that its bars are closed and its jobs due."""


class Beat(NamedTuple):
    """A heartbeat that is due at a time of the recording. ``begins`` where a stretch of it begins."""

    time: datetime
    begins: bool = False


class RecordedTime:
    """The clock of a replay, which its quotes drive.

    It beats before the first quote of each minute, so that the log is the same whatever the speed. Like an import, it takes
    a recording for whole hours, and an hour without a quote for a quiet market: a stretch begins an hour before that of its
    first quote, and ends an hour after that of its last. More than an hour of open market between hours with quotes is a
    hole, after which another stretch begins.
    """

    def __init__(self) -> None:
        self._now: datetime | None = None

    def advance(self, moment: datetime) -> list[Beat]:
        """Move on to a quote of this time, aware; return the heartbeats to publish before it."""
        before, self._now = self._now, moment if self._now is None else max(self._now, moment)
        if before is None:
            return [_beginning(moment)]
        if moment - before > LARGEST_GAP_OF_HOURS:
            end = Granularity.H1.end(before)
            if open_time(end, Granularity.H1.start(moment)) > LARGEST_GAP_OF_HOURS:
                # The second tells when the feed was heard last, and so how long it was away.
                return [*_ending(before), Beat(end), _beginning(moment)]
        return [Beat(moment)] if moment > before and Granularity.M1.start(moment) > before else []

    def end(self) -> list[Beat]:
        """Return the heartbeats to publish after the last quote."""
        return [] if self._now is None else _ending(self._now)


def _beginning(first: datetime) -> Beat:
    return Beat(Granularity.H1.start(first) - LARGEST_GAP_OF_HOURS, begins=True)


def _ending(last: datetime) -> list[Beat]:
    return [Beat(Granularity.H1.end(last) + LARGEST_GAP_OF_HOURS + _TO_SETTLE)]


def is_heartbeat_of_feed(event: Event) -> bool:
    """Return True for a heartbeat of a feed."""
    return event.type == EventType.HEARTBEAT and event.body.get("role") == "feed"


def moment_of(event: Event) -> datetime:
    """When the event was published, by the log's clock where that is behind: a forged time must not close future bars.

    Raises LookupError, TypeError or ValueError for an event that does not say.
    """
    return min(timestamp_of(event), event.time)


def timestamp_of(event: Event) -> datetime:
    """When the event was published, by its own account. Raises LookupError, TypeError or ValueError where it has none."""
    return parse_time(event.body["timestamp"])


def is_set_back(event: Event, node: str | None, heard: datetime | None) -> bool:
    """Return True for the heartbeat of another feed than ``node``, whose clock is far behind the time ``heard`` last.

    So is the one of a replay that is played again.
    """
    if heard is None or not is_heartbeat_of_feed(event) or event.body.get("node") == node:
        return False
    try:
        return moment_of(event) < heard - _SET_BACK
    except (LookupError, TypeError, ValueError):
        return False
