import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-untyped]

from app.config import load_settings
from app.errors import ConfigurationError
from app.market.clock import utc_now
from app.schedule import DueTimes
from app.storage.database.database import open_database
from app.storage.job_runs import JobRuns
from jobs.catalogue import JOBS
from jobs.running.context import JobContext
from jobs.running.once import Job
from jobs.running.report import JobReport, recorded
from jobs.running.scheduled import ScheduledJob
from jobs.scheduler import Scheduler, run, scheduled_jobs
from tests.jobs.bars import job_context
from tests.postgres import PrivatePostgres
from tests.private_valkey import PrivateValkey
from tests.waiting import wait_until

_EACH_SECOND = DueTimes(CronTrigger(second="*", timezone=UTC))


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "now", "due"),
    [
        ("hourly", "2026-06-17 12:00:09", "2026-06-17 12:00:10"),
        ("hourly", "2026-06-17 12:00:10", "2026-06-17 12:00:10"),
        ("hourly", "2026-06-17 12:00:11", "2026-06-17 13:00:10"),
        ("daily-correlation", "2026-01-15 12:00", "2026-01-15 22:01"),
        ("daily-correlation", "2026-07-15 12:00", "2026-07-15 21:01"),
        ("daily-correlation", "2026-03-06 22:02", "2026-03-07 22:01"),
        ("daily-correlation", "2026-03-07 22:02", "2026-03-08 21:01"),  # New York has gone to summer time
        ("daily-correlation", "2026-10-31 21:02", "2026-11-01 22:01"),  # and back
        ("retention", "2026-07-15 12:00", "2026-07-15 21:06"),
    ],
)
def test_a_job_is_due_by_the_hour_or_by_the_clocks_of_new_york(name: str, now: str, due: str) -> None:
    [job] = [job for job in scheduled_jobs(load_settings()) if job.name == name]
    assert job.due.next(_utc(now)) == _utc(due)
    assert job.due.last(_utc(due)) == _utc(due)
    assert job.due.last(_utc(due) - timedelta(microseconds=1)) < _utc(due) - timedelta(minutes=59)


def test_a_job_was_last_due_within_the_day() -> None:
    hourly, daily, _ = scheduled_jobs(load_settings(hourly_job_delay=90.5, daily_job_delay=3600))
    assert hourly.due.last(_utc("2026-06-17 12:01:29")) == _utc("2026-06-17 11:01:30")
    assert hourly.due.last(_utc("2026-06-17 12:01:31")) == _utc("2026-06-17 12:01:30")
    assert daily.due.last(_utc("2026-06-17 21:59")) == _utc("2026-06-16 22:00")
    # The day on which New York goes back to winter time has 25 hours.
    assert daily.due.last(_utc("2026-11-01 22:59")) == _utc("2026-10-31 22:00")


async def test_on_a_new_database_every_job_runs_at_once_the_hourly_one_first(database_url: str, valkey_url: str) -> None:
    async with job_context(database_url, valkey_url) as context, _scheduling(Scheduler(context)) as scheduler:
        await wait_until(lambda: scheduler.runs >= 3, "the three jobs have run", 30)
        runs = (await JobRuns(context.database).newest(10))[::-1]
    assert [(run.job, run.status) for run in runs][:3] == [(name, "success") for name in JOBS]


async def test_only_what_was_missed_runs_at_the_start(database_url: str, valkey_url: str) -> None:
    # Due each day twelve hours from now, so that nothing falls due while this runs.
    far = DueTimes(CronTrigger(hour=(utc_now().hour + 12) % 24, timezone=UTC))
    async with job_context(database_url, valkey_url) as context:
        runs = JobRuns(context.database)
        for name, status, hours in (("done", "success", 1), ("missed", "partial", 30), ("failed", "failed", 1)):
            begun = utc_now() - timedelta(hours=hours)
            await runs.finish(await runs.start(name, begun), begun, status, 0, None)  # type: ignore[arg-type]
        jobs = [ScheduledJob(name, _noting(name), far) for name in ("done", "missed", "failed", "new")]
        async with _scheduling(Scheduler(context, jobs)) as scheduler:
            await wait_until(lambda: scheduler.runs >= 3, "what was missed has run", 30)
            assert await _names(context) == ["missed", "failed", "new"]


async def test_runs_that_a_dead_process_left_are_marked(database_url: str, valkey_url: str) -> None:
    async with job_context(database_url, valkey_url) as context:
        runs = JobRuns(context.database)
        await runs.start("each-second", utc_now())
        async with _scheduling(
            Scheduler(context, [ScheduledJob("each-second", _noting("each-second"), _EACH_SECOND)])
        ) as scheduler:
            await wait_until(lambda: scheduler.runs >= 1, "the job has run", 30)
            *_, left = await runs.newest(100)
    assert (left.status, left.error) == ("failed", "The process that ran it ended")


async def test_a_job_that_raises_is_noted_and_runs_again(
    sqlite_url: str, valkey_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    async def fails_once(context: JobContext, now: datetime) -> JobReport:
        async def work() -> JobReport:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise ZeroDivisionError("a fault with a secret in it")
            return JobReport(calls)

        return await recorded(context.database, "fails-once", now, work)

    async with job_context(sqlite_url, valkey_url) as context:
        scheduler = Scheduler(context, [ScheduledJob("fails-once", fails_once, _EACH_SECOND)])
        async with _scheduling(scheduler):
            await wait_until(lambda: scheduler.runs >= 2, "it has run again", 30)
        *_, second, first = await JobRuns(context.database).newest(100)
    assert (first.status, first.error) == ("failed", "ZeroDivisionError")
    assert (second.status, second.records) == ("success", 2)
    assert [bool(record.exc_info) for record in caplog.records if record.getMessage() == "job fails-once failed"] == [True]


async def test_jobs_never_overlap_and_the_first_goes_first(sqlite_url: str, valkey_url: str) -> None:
    at_work: list[str] = []
    begun: list[str] = []

    def slow(name: str) -> Job:
        async def job(context: JobContext, now: datetime) -> JobReport:
            at_work.append(name)
            begun.append("+".join(at_work))
            await asyncio.sleep(0.6)
            at_work.remove(name)
            return JobReport(1)

        return job

    async with job_context(sqlite_url, valkey_url) as context:
        jobs = [ScheduledJob(name, slow(name), _EACH_SECOND) for name in ("first", "second")]
        async with _scheduling(Scheduler(context, jobs)):
            await wait_until(lambda: len(begun) >= 4, "both have run twice", 30)
    assert begun[0] == "first"
    assert set(begun) == {"first", "second"}


async def test_a_job_waits_for_redis(sqlite_url: str, valkey: PrivateValkey, caplog: pytest.LogCaptureFixture) -> None:
    async with job_context(sqlite_url, valkey.url) as context:
        valkey.kill()
        async with _scheduling(Scheduler(context, [ScheduledJob("new", _noting("new"), _EACH_SECOND)])) as scheduler:
            await wait_until(lambda: "job new waits: Redis does not answer" in caplog.text, "it waits", 30)
            valkey.start()
            await wait_until(lambda: scheduler.runs >= 1, "it has run", 60)
        assert {run.status for run in await JobRuns(context.database).newest(100)} == {"success"}


async def test_the_program_waits_for_its_database(
    postgres: PrivatePostgres, valkey_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    postgres.stop()
    settings = load_settings(database_url=postgres.url)
    running = asyncio.create_task(run(settings, valkey_url))
    await wait_until(lambda: "the scheduler waits: The database does not answer" in caplog.text, "it waits", 30)
    postgres.start()

    async def all_have_run() -> bool:
        async with open_database(postgres.url) as database:
            await database.migrate()
            return {run.job for run in await JobRuns(database).newest(100) if run.status == "success"} == set(JOBS)

    await wait_until(all_have_run, "all jobs have run", 90)
    await _stop(running)


async def test_a_setting_that_cannot_work_ends_the_program(sqlite_url: str, valkey_url: str) -> None:
    settings = load_settings(database_url=sqlite_url, source="oanda", oanda_token_file="no-such-file")
    with pytest.raises(ConfigurationError, match="OANDA_TOKEN_FILE"):
        await run(settings, valkey_url)


async def test_the_timer_says_nothing_of_its_own(sqlite_url: str, valkey_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    jobs = [ScheduledJob("new", _noting("new"), _EACH_SECOND)]
    async with job_context(sqlite_url, valkey_url) as context, _scheduling(Scheduler(context, jobs)) as scheduler:
        await wait_until(lambda: scheduler.runs >= 2, "it has run twice", 30)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("apscheduler")] == []


def _noting(name: str) -> Job:
    """A job that only notes that it ran."""

    async def job(context: JobContext, now: datetime) -> JobReport:
        async def work() -> JobReport:
            return JobReport(1)

        return await recorded(context.database, name, now, work)

    return job


@asynccontextmanager
async def _scheduling(scheduler: Scheduler) -> AsyncIterator[Scheduler]:
    running = asyncio.create_task(scheduler.run())
    try:
        yield scheduler
        assert not running.done()
    finally:
        await _stop(running)


async def _stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _names(context: JobContext) -> list[str]:
    """The jobs that ran within the last half hour, in their order."""
    runs = await JobRuns(context.database).newest(100)
    return [run.job for run in runs[::-1] if run.started > utc_now() - timedelta(minutes=30)]
