"""The runs of jobs: when they ran, how they ended and what they did."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import desc, func, insert, select, update

from app.storage.database.database import Database
from app.storage.database.limit import positive
from app.storage.database.tables import JobRunRow, table_of

_RUNS = table_of(JobRunRow)

JobStatus = Literal["running", "success", "partial", "failed"]


@dataclass(frozen=True, slots=True)
class JobRun:
    """A run of a job. ``ended`` is None while it runs; ``records`` counts what it produced; ``error`` says what went wrong."""

    id: int
    job: str
    started: datetime
    ended: datetime | None
    status: JobStatus
    records: int
    error: str | None


class JobRuns:
    """The runs in the database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self, job: str, started: datetime) -> int:
        """Record that a job has started, and return the id of the run."""
        row = {"job": job, "started": started, "ended": None, "status": "running", "records": 0, "error": None}
        async with self._database.begin() as connection:
            id: int = (await connection.execute(insert(_RUNS).values(row).returning(_RUNS.c.id))).scalar_one()
        return id

    async def finish(self, id: int, ended: datetime, status: JobStatus, records: int, error: str | None) -> None:
        """Record how a run ended. Raises ValueError for an unknown status, or one that is no end."""
        if status not in get_args(JobStatus) or status == "running":
            raise ValueError(f"a run cannot end as {status!r}")
        end = update(_RUNS).where(_RUNS.c.id == id).values(ended=ended, status=status, records=records, error=error)
        async with self._database.begin() as connection:
            await connection.execute(end)

    async def newest(self, limit: int, job: str | None = None) -> list[JobRun]:
        """Return the last ``limit`` runs, of all jobs or of one, newest first."""
        query = select(_RUNS).order_by(desc(_RUNS.c.started), desc(_RUNS.c.id)).limit(positive(limit))
        if job is not None:
            query = query.where(_RUNS.c.job == job)
        async with self._database.read() as connection:
            return [JobRun(**row) for row in (await connection.execute(query)).mappings()]

    async def last_success(self, job: str) -> datetime | None:
        """Return when the last run started that ended with success or partial success; None if none did."""
        query = select(func.max(_RUNS.c.started)).where(_RUNS.c.job == job, _RUNS.c.status.in_(["success", "partial"]))
        async with self._database.read() as connection:
            started: datetime | None = (await connection.execute(query)).scalar_one()
        return started

    async def abandon(self, job: str, now: datetime) -> int:
        """Mark as failed the runs of a job that a process left running when it died, and return their number.

        Only for the one process that runs this job: it must be certain that none of them is running any more.
        """
        left = update(_RUNS).where(_RUNS.c.job == job, _RUNS.c.status == "running")
        end = left.values(ended=now, status="failed", error="The process that ran it ended")
        async with self._database.begin() as connection:
            return (await connection.execute(end)).rowcount
