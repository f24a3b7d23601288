"""Runs of jobs, as they were noted."""

from datetime import timedelta

from app.routers.operation.jobs import Runs
from tests.routers.running import FIRST, Query, Rest, assert_problem, assert_refused, rest, without_database

PATH = "/api/v1/jobs"


async def runs(api: Rest, **query: Query) -> Runs:
    response = await api.get(PATH, **query)
    assert response.status_code == 200, response.text
    answer = Runs.model_validate(response.json())
    assert answer.count == len(answer.runs)
    return answer


async def test_runs_come_newest_first(api: Rest) -> None:
    assert await runs(api) == Runs(count=0, runs=[])
    of = api.gateway.stores.job_runs
    first = await of.start("hourly", FIRST)
    await of.finish(first, FIRST + timedelta(seconds=3), "partial", 19, "EUR_USD: no bars")
    await of.start("daily-correlation", FIRST + timedelta(hours=1))
    running, partial = (await runs(api)).runs
    assert (running.job, running.started, running.ended, running.status) == (
        "daily-correlation", "2026-01-05T01:00:00.000000Z", None, "running"
    )  # fmt: skip
    assert partial.model_dump() == {
        "id": first, "job": "hourly", "started": "2026-01-05T00:00:00.000000Z", "ended": "2026-01-05T00:00:03.000000Z",
        "status": "partial", "records": 19, "error": "EUR_USD: no bars",
    }  # fmt: skip
    assert (await runs(api, job="hourly")).runs == [partial]
    assert (await runs(api, limit=1)).runs == [running]
    assert (await runs(api, job="weekly")).count == 0


async def test_twenty_runs_unless_more_are_asked_for(api: Rest) -> None:
    for number in range(25):
        await api.gateway.stores.job_runs.start("hourly", FIRST + timedelta(hours=number))
    assert (await runs(api)).count == 20
    assert (await runs(api, limit=500)).count == 25


async def test_values_that_cannot_be_used(api: Rest) -> None:
    table: list[tuple[dict[str, Query], str]] = [
        ({"limit": 0}, "limit"),
        ({"limit": 501}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"job": ""}, "job"),
        ({"job": "a b"}, "job"),
        ({"job": "x\0"}, "job"),
        ({"job": "hourly\n"}, "job"),
        ({"job": "x" * 41}, "job"),
    ]
    await assert_refused(api, PATH, table)


async def test_without_the_database(valkey_url: str) -> None:
    async with without_database() as stores, rest(valkey_url, stores=stores) as api:
        assert_problem(await api.get(PATH), 503, "Database unavailable")
