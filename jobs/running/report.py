"""What came of a run of a job, and the note of it in the database."""

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
    """How many ``records`` a run made, and its ``problems`` in words that may be shown: no secrets are in them."""

    records: int
    problems: tuple[str, ...] = ()

    @property
    def status(self) -> Literal["success", "partial", "failed"]:
        """``failed`` where there were problems and nothing was made, ``partial`` where only some of it was."""
        if not self.problems:
            return "success"
        return "partial" if self.records else "failed"

    @property
    def error(self) -> str | None:
        """The problems in one text, cut where it grows long; None without any."""
        text = "; ".join(self.problems)
        return (text if len(text) <= _LONGEST_ERROR else f"{text[: _LONGEST_ERROR - 1]}…") or None

    def __str__(self) -> str:
        return f"{self.status}, {self.records} records" + (f": {self.error}" if self.problems else "")


async def recorded(database: Database, job: str, started: datetime, work: Callable[[], Awaitable[JobReport]]) -> JobReport:
    """Do the work and note in the database that the job runs, and how it ended. What the work raises is passed on.

    Raises DatabaseUnavailable. A run whose end could not be noted stays as one that runs: see ``JobRuns.abandon``.
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
    """What went wrong. Only the texts of our own errors are known to hold no secrets."""
    if isinstance(error, asyncio.CancelledError):
        return "It was stopped"
    return str(error)[:_LONGEST_ERROR] if isinstance(error, GatewayError) else type(error).__name__
