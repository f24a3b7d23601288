"""One run of a job, as a process."""

import sys
from collections.abc import Awaitable, Callable
from datetime import datetime

from app.config import Settings, load_settings
from app.errors import ConfigurationError, DatabaseUnavailable, LogUnavailable, SourceError
from app.market.clock import utc_now
from app.run.process import WRONG_SETTING, named_redis, run_process
from jobs.running.context import JobContext, open_context
from jobs.running.report import JobReport

FAILED = 1
"""The exit code of a run that failed or was stopped."""

Job = Callable[[JobContext, datetime], Awaitable[JobReport]]
"""A job. It takes the moment it is given, aware UTC, for the present."""


def run_once(name: str, job: Job, settings: Settings | None = None) -> int:
    """Run the job on the Redis and the database of the settings, print its report in one line, and return the exit code.

    The code is 0 for a run that succeeded, even in part, 1 for one that failed or was stopped, and 2 for settings that
    cannot work.
    """
    reports: list[JobReport] = []

    async def work(settings: Settings, redis_url: str) -> None:
        async with open_context(settings, redis_url) as context:
            reports.append(await job(context, utc_now()))

    try:
        settings = settings or load_settings()
        run_process(work(settings, named_redis(settings)), settings)
    except (ConfigurationError, SourceError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        return WRONG_SETTING
    except (DatabaseUnavailable, LogUnavailable) as error:
        sys.stderr.write(f"{name}: {error}\n")
        return FAILED
    if not reports:
        sys.stderr.write(f"{name}: stopped\n")
        return FAILED
    sys.stdout.write(f"{name}: {reports[0]}\n")
    return FAILED if reports[0].status == "failed" else 0
