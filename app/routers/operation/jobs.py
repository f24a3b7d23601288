"""``/api/v1/jobs``: what the jobs did last."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from app.http.gateway import CurrentGateway
from app.http.problems import responses
from app.market.clock import rfc3339
from app.realtime.contract.messages import Message, TimeText
from app.storage.job_runs import JobRun, JobStatus

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])


class Run(Message):
    """A run of a job."""

    id: int = Field(description="The number of the run", examples=[42])
    job: str = Field(description="The name of the job", examples=["hourly"])
    started: TimeText
    ended: TimeText | None = Field(description="Null while it runs")
    status: JobStatus = Field(description="`partial` where some of it failed")
    records: int = Field(description="How many things it made", examples=[20])
    error: str | None = Field(description="What went wrong")


class Runs(Message):
    """The last runs, the newest first."""

    count: int = Field(description="How many runs these are", examples=[1])
    runs: list[Run] = Field(description="The newest first")


@router.get("", operation_id="get_jobs", summary="Last runs of the jobs", responses=responses(400, 429, 503))
async def get_jobs(
    gateway: CurrentGateway,
    job: Annotated[
        str | None, Query(description="Of this job; without it, of all", examples=["hourly"], pattern="^[a-z0-9_-]{1,40}$")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="At most so many runs")] = 20,
) -> Runs:
    """When jobs ran, how they ended, and what they made."""
    runs = await gateway.from_database(gateway.job_runs.newest(limit, job))
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
