"""The report of a job's run, and its record in the database."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from app.errors import DatabaseUnavailable, GatewayError
from app.market.clock import utc_now
from app.storage.database.database import Database
from app.storage.job_runs import JobRuns

_LONGEST_ERROR = 500


@dataclass(frozen=True, slots=True)
class JobReport:
    """The number of ``records`` that a run wrote, and its ``problems`` in words, which contain no secrets."""

    records: int
    problems: tuple[str, ...] = ()

    @property
    def status(self) -> Literal["success", "partial", "failed"]:
        """``failed`` with problems and no records, ``partial`` with problems and some records."""
        if not self.problems:
            return "success"
        return "partial" if self.records else "failed"

    @property
    def error(self) -> str | None:
        """The problems in one text, cut at 500 characters; None without any."""
        text = "; ".join(self.problems)
        return (text if len(text) <= _LONGEST_ERROR else f"{text[: _LONGEST_ERROR - 1]}…") or None

    def __str__(self) -> str:
        return f"{self.status}, {self.records} records" + (f": {self.error}" if self.problems else "")


async def recorded(database: Database, job: str, started: datetime, work: Callable[[], Awaitable[JobReport]]) -> JobReport:
    """Do the work, and record in the database that the job is running and how it ended. Errors of the work are passed on.

    Raises DatabaseUnavailable. A run whose end could not be recorded remains as running: see ``JobRuns.abandon``.
    """
    runs = JobRuns(database)
    run = await runs.start(job, started)
    try:
        report = await work()
    except BaseException as error:
        with suppress(DatabaseUnavailable):
            await runs.finish(run, utc_now(), "failed", 0, _words(error))
        raise
    await runs.finish(run, utc_now(), report.status, report.records, report.error)
    return report


def _words(error: BaseException) -> str:
    """The error in words. Only our own messages are known to contain no secrets; of others, only the type is given."""
    if isinstance(error, asyncio.CancelledError):
        return "It was stopped"
    return str(error)[:_LONGEST_ERROR] if isinstance(error, GatewayError) else type(error).__name__
