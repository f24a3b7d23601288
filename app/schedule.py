"""When the jobs are due. The jobs themselves are elsewhere, so that the gateway can show the times without importing them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-untyped]

from app.config import Settings
from app.market.hours.calendar import NEW_YORK

HOURLY = "hourly"
DAILY_CORRELATION = "daily-correlation"
RETENTION = "retention"
"""The names of the jobs in the records of their runs."""

_LONGEST_PERIOD = timedelta(hours=26)
"""Every job is due at least once in this time, also on a day of 25 hours."""

_RETENTION_DELAY = 300.0
"""Seconds from the daily job to the retention job, which can wait."""

_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class DueTimes:
    """The times at which a job is due."""

    trigger: CronTrigger

    def next(self, now: datetime) -> datetime:
        """The due time at ``now`` or the next after it; both are aware."""
        due: datetime = self.trigger.get_next_fire_time(None, now)
        return due

    def last(self, now: datetime) -> datetime:
        """The last due time up to and including ``now``; both are aware."""
        due = self.next(now - _LONGEST_PERIOD)
        while (following := self.next(due + _MOMENT)) <= now:
            due = following
        return due


def schedule_of(settings: Settings) -> Mapping[str, DueTimes]:
    """The due times of each job by name: hourly, or after the end of the trading day at 17:00 in New York."""
    return {
        HOURLY: _each_hour(settings.hourly_job_delay),
        DAILY_CORRELATION: _each_trading_day(settings.daily_job_delay),
        RETENTION: _each_trading_day(settings.daily_job_delay + _RETENTION_DELAY),
    }


def _each_hour(delay: float) -> DueTimes:
    minute, second = divmod(int(delay), 60)
    return DueTimes(CronTrigger(minute=minute, second=second, timezone=UTC))


def _each_trading_day(delay: float) -> DueTimes:
    """Local time of New York, where clocks never change between 17:00 and midnight."""
    hours, seconds = divmod(int(delay), 3600)
    minute, second = divmod(seconds, 60)
    return DueTimes(CronTrigger(hour=17 + hours, minute=minute, second=second, timezone=NEW_YORK))
