from datetime import UTC, datetime, timedelta

import pytest

from app.storage.database.database import Database
from app.storage.job_runs import JobRun, JobRuns

_NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
_HOUR = timedelta(hours=1)


@pytest.fixture
def runs(database: Database) -> JobRuns:
    return JobRuns(database)


async def test_a_run_is_noted_when_it_starts_and_when_it_ends(runs: JobRuns) -> None:
    id = await runs.start("hourly", _NOON)
    assert await runs.newest(5) == [JobRun(id, "hourly", _NOON, None, "running", 0, None)]
    await runs.finish(id, _NOON + _HOUR, "partial", 2**40, "half\0 of it")
    assert await runs.newest(5) == [JobRun(id, "hourly", _NOON, _NOON + _HOUR, "partial", 2**40, "half\ufffd of it")]


async def test_runs_come_newest_first_of_all_jobs_or_of_one(runs: JobRuns) -> None:
    hourly = [await runs.start("hourly", _NOON + number * _HOUR) for number in (1, 0, 3)]
    daily = [await runs.start("daily", _NOON + 2 * _HOUR) for _ in range(2)]
    assert [run.id for run in await runs.newest(9)] == [hourly[2], daily[1], daily[0], hourly[0], hourly[1]]
    assert [run.id for run in await runs.newest(2, "hourly")] == [hourly[2], hourly[0]]
    assert await runs.newest(9, "nothing") == []
    with pytest.raises(ValueError, match="positive"):
        await runs.newest(0)


async def test_the_last_success_is_the_start_of_a_run_that_did_something(runs: JobRuns) -> None:
    assert await runs.last_success("hourly") is None
    for number, status in enumerate(("success", "partial", "failed", "running")):
        id = await runs.start("hourly", _NOON + number * _HOUR)
        if status != "running":
            await runs.finish(id, _NOON + 9 * _HOUR, status, 1, None)  # type: ignore[arg-type]
    assert await runs.last_success("hourly") == _NOON + _HOUR
    assert await runs.last_success("daily") is None


async def test_the_runs_that_a_dead_process_left_are_marked_failed(runs: JobRuns) -> None:
    done = await runs.start("hourly", _NOON)
    await runs.finish(done, _NOON, "success", 1, None)
    left = await runs.start("hourly", _NOON + _HOUR)
    other = await runs.start("daily", _NOON + 2 * _HOUR)
    assert await runs.abandon("hourly", _NOON + 3 * _HOUR) == 1
    assert await runs.abandon("hourly", _NOON + 4 * _HOUR) == 0
    found = {run.id: (run.status, run.ended, run.error) for run in await runs.newest(9)}
    assert found == {
        done: ("success", _NOON, None),
        left: ("failed", _NOON + 3 * _HOUR, "The process that ran it ended"),
        other: ("running", None, None),
    }


@pytest.mark.parametrize("status", ["running", "fine"])
async def test_a_run_cannot_end_as_anything_else(runs: JobRuns, status: str) -> None:
    id = await runs.start("hourly", _NOON)
    with pytest.raises(ValueError, match="cannot end as"):
        await runs.finish(id, _NOON, status, 0, None)  # type: ignore[arg-type]
