"""``/api/v1/jobs``: the last runs of the background jobs."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from app.http.fields import JobName, RecordCount, RunError
from app.http.gateway import CurrentGateway
from app.http.refusals import NO_DATABASE, RATE_LIMITED, WRONG_LIMIT, refusals
from app.market.clock import rfc3339
from app.realtime.contract.fields import Message, TimeText
from app.storage.job_runs import JobRun, JobStatus

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])


class Run(Message):
    """A run of a job."""

    id: int = Field(description="The number of the run", examples=[42])
    job: JobName
    started: TimeText
    ended: TimeText | None = Field(description="End of the run; null while it runs")
    status: JobStatus = Field(description="`partial` if a part of it failed")
    records: RecordCount
    error: RunError


class Runs(Message):
    """The last runs, newest first."""

    count: int = Field(description="Number of runs", examples=[1])
    runs: list[Run] = Field(description="The runs, newest first")


@router.get(
    "", operation_id="get_jobs", summary="Last runs of the jobs", responses=refusals(WRONG_LIMIT, RATE_LIMITED, NO_DATABASE)
)
async def get_jobs(
    gateway: CurrentGateway,
    job: Annotated[str | None, Query(description="Only this job", examples=["hourly"], pattern="^[a-z0-9_-]{1,40}$")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Maximum number of runs")] = 20,
) -> Runs:
    """Return when jobs ran, how the runs ended, and how many records they wrote."""
    runs = await gateway.from_database(gateway.stores.job_runs.newest(limit, job))
    return Runs(count=len(runs), runs=[_run(run) for run in runs])


def _run(run: JobRun) -> Run:
    return Run(
        id=run.id,
        job=run.job,
        started=rfc3339(run.started),
        ended=_text(run.ended),
        status=run.status,
        records=run.records,
        error=run.error,
    )


def _text(time: datetime | None) -> str | None:
    return None if time is None else rfc3339(time)
