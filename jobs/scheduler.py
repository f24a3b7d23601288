"""The scheduler: runs every job when it is due, and at once if its last run was missed."""

import asyncio
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC
from functools import partial

from apscheduler.schedulers.asyncio import AsyncIOScheduler  # type: ignore[import-untyped]

from app.backoff import Backoff
from app.config import Settings
from app.errors import DatabaseUnavailable, LogUnavailable
from app.market.clock import utc_now
from app.run.process import run_job
from app.schedule import RETENTION, schedule_of
from app.storage.job_runs import JobRuns
from jobs.catalogue import JOBS
from jobs.replay_schedule import ReplaySchedule
from jobs.running.context import JobContext, open_context
from jobs.running.persistence import persistently
from jobs.running.scheduled import ScheduledJob

_NAME = "the scheduler"
_LOOK = 10.0
"""Seconds between two checks of the wall clock: a timer does not notice that the machine slept or the clock was set."""

_logger = logging.getLogger(__name__)


def scheduled_jobs(settings: Settings) -> list[ScheduledJob]:
    """Return all jobs with their due times from the settings."""
    schedule = schedule_of(settings)
    return [ScheduledJob(name, job, schedule[name]) for name, job in JOBS.items()]


class Scheduler:
    """Runs due jobs one at a time, in their order. ``runs`` counts the runs that ended."""

    def __init__(self, context: JobContext, jobs: Sequence[ScheduledJob] | None = None) -> None:
        """Without ``jobs``, all jobs are scheduled as the settings of the context say."""
        self._context = context
        self._jobs = scheduled_jobs(context.settings) if jobs is None else list(jobs)
        self._runs = JobRuns(context.database)
        self._due: set[str] = set()
        self._woken = asyncio.Event()
        self.runs = 0

    async def run(self) -> None:
        """Run jobs until cancelled. A job that fails is logged, and runs again when it is next due.

        A job whose last successful run began before it was last due runs at once. A job that falls due while the database or
        Redis is unavailable waits for them, and then runs once. Raises ConfigurationError for settings that cannot work.
        """
        timer = AsyncIOScheduler(timezone=UTC)
        for job in self._jobs:
            # The timer only marks what is due: run by it, a job would fail unseen.
            timer.add_job(
                self._fall_due,
                job.due.trigger,
                args=[job.name],
                id=job.name,
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,
            )
        timer.start()
        try:
            for job in self._jobs:
                await persistently(partial(self._look_back, job), _NAME)
            while True:
                await self._run_due()
                self._woken.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK):
                        await self._woken.wait()
                timer.wakeup()
        finally:
            timer.shutdown(wait=False)
            await asyncio.sleep(0)  # the shutdown is a callback of the loop

    async def _fall_due(self, name: str) -> None:
        self._due.add(name)
        self._woken.set()

    async def _look_back(self, job: ScheduledJob) -> None:
        """Mark runs abandoned by a process that died; make the job due if its last run was missed."""
        await self._runs.abandon(job.name, utc_now())
        last = await self._runs.last_success(job.name)
        if last is None or last < job.due.last(utc_now()):
            self._due.add(job.name)

    async def _run_due(self) -> None:
        """Run jobs until none is due, including those that fall due meanwhile."""
        backoff, clock = Backoff(), asyncio.get_running_loop().time
        while self._due:
            job = next(job for job in self._jobs if job.name in self._due)
            started = clock()
            try:
                await self._run(job)
            except (DatabaseUnavailable, LogUnavailable) as error:
                self._due.add(job.name)
                _logger.warning("job %s waits: %s", job.name, error)
                await asyncio.sleep(backoff.pause_after(clock() - started))

    async def _run(self, job: ScheduledJob) -> None:
        """Run a job once. Raises DatabaseUnavailable, LogUnavailable and ConfigurationError; other errors are logged."""
        await self._context.log.ping()
        # Jobs run one at a time, so a run recorded as running is one whose end could not be recorded.
        await self._runs.abandon(job.name, utc_now())
        self._due.discard(job.name)
        await job.run_at(self._context, utc_now())
        self.runs += 1


async def run(settings: Settings, redis_url: str) -> None:
    """Run all jobs when they are due, on this Redis and the database of the settings, until cancelled.

    Beside a replay on its original clock they are due when the time has come in the replay.

    Raises ConfigurationError and SourceError for settings that cannot work.
    """

    async def schedule() -> None:
        async with open_context(settings, redis_url) as context:
            if settings.keeps_recorded_times:
                await _schedule_replay(context)
            else:
                await Scheduler(context).run()

    await persistently(schedule, _NAME)


async def _schedule_replay(context: JobContext) -> None:
    """Run the jobs when they are due in the replay, except retention, which deletes by the time on the wall."""
    jobs = scheduled_jobs(context.settings)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Scheduler(context, [job for job in jobs if job.name == RETENTION]).run(), name=_NAME)
        tasks.create_task(ReplaySchedule(context, [job for job in jobs if job.name != RETENTION]).run(), name="replay schedule")


if __name__ == "__main__":
    sys.exit(run_job("scheduler", run))
