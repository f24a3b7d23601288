"""The sessions of the market over REST."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.http import problems
from app.market.clock import parse_time, utc_now
from app.routers import catalogue
from app.routers.history.sessions import Sessions, sessions_at
from tests.routers.running import Rest, assert_problem, assert_refused, client

_PATH = "/api/v1/sessions"


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    catalogue.include(app, operator=False)
    problems.register(app)
    return app


@pytest_asyncio.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app) as http:
        yield http


async def test_the_answer_is_that_of_its_timestamp(http: httpx.AsyncClient) -> None:
    before = utc_now()
    response = await http.get(_PATH)
    assert response.status_code == 200
    answered_at = parse_time(response.json()["timestamp"])
    assert before <= answered_at <= utc_now()
    assert Sessions.model_validate(response.json()) == sessions_at(answered_at)


async def test_nothing_can_be_posted(http: httpx.AsyncClient) -> None:
    assert_problem(await http.post(_PATH), 405, "Method Not Allowed")


def test_a_winter_day_while_london_and_new_york_are_open() -> None:
    body = sessions_at(parse_time("2026-01-14T15:00:00Z")).model_dump()
    descriptions = [session.pop("description") for session in body["sessions"]]
    assert all(descriptions)
    assert body == {
        "timestamp": "2026-01-14T15:00:00.000000Z",
        "count": 4,
        "market_open": True,
        "sessions": [
            {
                "name": "Sydney",
                "timezone": "Australia/Sydney",
                "start_time": "07:00",
                "end_time": "16:00",
                "opens_at": "2026-01-14T20:00:00.000000Z",
                "closes_at": "2026-01-15T05:00:00.000000Z",
                "is_open": False,
            },
            {
                "name": "Tokyo",
                "timezone": "Asia/Tokyo",
                "start_time": "09:00",
                "end_time": "18:00",
                "opens_at": "2026-01-15T00:00:00.000000Z",
                "closes_at": "2026-01-15T09:00:00.000000Z",
                "is_open": False,
            },
            {
                "name": "London",
                "timezone": "Europe/London",
                "start_time": "08:00",
                "end_time": "17:00",
                "opens_at": "2026-01-14T08:00:00.000000Z",
                "closes_at": "2026-01-14T17:00:00.000000Z",
                "is_open": True,
            },
            {
                "name": "New York",
                "timezone": "America/New_York",
                "start_time": "08:00",
                "end_time": "17:00",
                "opens_at": "2026-01-14T13:00:00.000000Z",
                "closes_at": "2026-01-14T22:00:00.000000Z",
                "is_open": True,
            },
        ],
        "overlaps": [
            {
                "sessions": ["Sydney", "Tokyo"],
                "starts_at": "2026-01-14T00:00:00.000000Z",
                "ends_at": "2026-01-14T05:00:00.000000Z",
                "is_open": False,
            },
            {
                "sessions": ["Tokyo", "London"],
                "starts_at": "2026-01-14T08:00:00.000000Z",
                "ends_at": "2026-01-14T09:00:00.000000Z",
                "is_open": False,
            },
            {
                "sessions": ["London", "New York"],
                "starts_at": "2026-01-14T13:00:00.000000Z",
                "ends_at": "2026-01-14T17:00:00.000000Z",
                "is_open": True,
            },
            {
                "sessions": ["Sydney", "New York"],
                "starts_at": "2026-01-14T20:00:00.000000Z",
                "ends_at": "2026-01-14T22:00:00.000000Z",
                "is_open": False,
            },
        ],
    }


def test_in_summer_local_times_stay_and_utc_moves() -> None:
    winter, summer = (sessions_at(parse_time(f"2026-{day}T12:30:00Z")).sessions[2] for day in ("01-14", "07-15"))
    assert (winter.start_time, winter.end_time) == (summer.start_time, summer.end_time) == ("08:00", "17:00")
    assert (winter.opens_at[11:16], winter.closes_at[11:16]) == ("08:00", "17:00")
    assert (summer.opens_at[11:16], summer.closes_at[11:16]) == ("07:00", "16:00")


@pytest.mark.parametrize("moment", ["2026-01-17T12:00:00Z", "2026-01-18T21:59:59Z", "2025-12-25T15:00:00Z"])
def test_while_the_market_is_closed_nothing_is_open(moment: str) -> None:
    answer = sessions_at(parse_time(moment))
    assert answer.market_open is False
    assert (answer.count, len(answer.sessions)) == (4, 4)
    assert answer.overlaps
    assert not any(session.is_open for session in answer.sessions)
    assert not any(overlap.is_open for overlap in answer.overlaps)


def test_the_operation_is_described(app: FastAPI) -> None:
    document = app.openapi()
    OpenAPIV31SpecValidator(document).validate()
    operation = document["paths"][_PATH]["get"]
    assert operation["operationId"] == "get_sessions"
    assert [parameter["name"] for parameter in operation["parameters"]] == ["time"]
    assert operation["responses"].keys() == {"200", "400", "429", "default"}


async def test_the_sessions_of_another_time(api: Rest) -> None:
    body = (await api.get("/api/v1/sessions", time="2026-01-07T13:00:00Z")).json()
    assert body == sessions_at(datetime(2026, 1, 7, 13, tzinfo=UTC)).model_dump(mode="json")
    assert [session["name"] for session in body["sessions"] if session["is_open"]] == ["London", "New York"]
    assert (await api.get("/api/v1/sessions", time="2026-12-25")).json()["market_open"] is False
    await assert_refused(api, "/api/v1/sessions", [({"time": "now"}, "time")])
