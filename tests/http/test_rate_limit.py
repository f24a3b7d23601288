"""The rate limit: whom it counts, what it answers, and what it tells."""

import time

import pytest

from tests.routers.running import Rest, application, assert_problem, client, status_of

INFO = "/api/v1/info"


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_beyond_the_limit_requests_are_refused_until_the_window_ends(api: Rest) -> None:
    clock = Clock()
    async with client(application(api.gateway, requests=2, clock=clock)) as http:
        assert [(await http.get(INFO)).status_code for _ in range(2)] == [200, 200]
        clock.now += 20.5
        refused = await http.get(INFO)
        assert_problem(
            refused, 429, "Too many requests", detail="Rate limit exceeded: 2 requests in 60 s", message="Try again in 40 s"
        )
        assert refused.headers["retry-after"] == "40"
        clock.now += 39.5
        assert (await http.get(INFO)).status_code == 200


async def test_every_answer_tells_the_limit(api: Rest) -> None:
    clock = Clock()
    async with client(application(api.gateway, requests=2, clock=clock)) as http:
        answers = [await http.get(INFO), await http.get("/api/v1/prices/current"), await http.get(INFO)]
    assert [answer.status_code for answer in answers] == [200, 400, 429]
    for answer, remaining in zip(answers, (1, 0, 0), strict=True):
        assert answer.headers["ratelimit-policy"] == '"default";q=2;w=60'
        assert answer.headers["ratelimit"] == f'"default";r={remaining};t=60'
        assert answer.headers["x-ratelimit-limit"] == "2"
        assert answer.headers["x-ratelimit-remaining"] == str(remaining)
        assert abs(int(answer.headers["x-ratelimit-reset"]) - (time.time() + 60)) < 10


async def test_each_address_has_a_limit_of_its_own(api: Rest) -> None:
    app = application(api.gateway, requests=1)
    for address in ("192.0.2.1", "2001:db8::1"):
        async with client(app, address=address) as http:
            assert [(await http.get(INFO)).status_code for _ in range(2)] == [200, 429]


async def test_only_so_many_addresses_are_remembered_and_the_most_silent_is_forgotten(api: Rest) -> None:
    app = application(api.gateway, requests=1)

    async def status(address: str) -> int:
        async with client(app, address=address) as http:
            return (await http.get(INFO)).status_code

    assert [await status("a"), await status("b"), await status("a")] == [200, 200, 429]
    assert await status("c") == 200  # the table holds two: b goes
    assert await status("a") == 429
    assert await status("b") == 200


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/nowhere"])
async def test_only_the_interface_itself_is_limited(api: Rest, path: str) -> None:
    async with client(application(api.gateway, requests=1)) as http:
        answers = [await http.get(path) for _ in range(3)]
    assert {answer.status_code for answer in answers} <= {200, 404}
    assert not any("ratelimit" in answer.headers for answer in answers)


async def test_no_requests_are_no_limit(api: Rest) -> None:
    async with client(application(api.gateway, requests=0)) as http:
        answers = [await http.get(INFO) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert not any("ratelimit" in answer.headers for answer in answers)


@pytest.mark.parametrize("changed", [{"path": INFO, "client": None}, {"root_path": "/fx", "path": "/fx/api/v1/info"}])
async def test_a_connection_without_an_address_and_a_mounted_gateway_are_limited(api: Rest, changed: dict[str, object]) -> None:
    app = application(api.gateway, requests=1)
    assert [await status_of(app, **changed) for _ in range(2)] == [200, 429]
