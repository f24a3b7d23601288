"""Price levels: who may set them, what is taken, and that no more are kept than can be watched."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from app.http.gateway import Tokens
from app.market.clock import parse_time, utc_now
from app.market.price_level import Direction, PriceLevel
from app.routers.alerts.price_levels import MOST_LEVELS, ListedLevel, ListedLevels
from app.storage.database.tables import PriceLevelRow, table_of
from tests.gateways import gateway
from tests.routers.running import Rest, assert_problem, rest, rest_for_examples, without_database

PATH = "/api/v1/alerts/levels"
LEVEL = {"instrument": "EUR_USD", "direction": "above", "level": "1.1"}
TOKENS = ("the first token here", "the sécond token here")


async def post(api: Rest, content: object, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """POST a level, or the bytes of one."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    sent = {"Content-Type": "application/json", **(headers or {})}
    return await api.client.post(PATH, content=body, headers={name.encode(): value.encode() for name, value in sent.items()})


async def created(api: Rest, **changed: object) -> ListedLevel:
    response = await post(api, {**LEVEL, **changed})
    assert response.status_code == 201, response.text
    level = ListedLevel.model_validate(response.json())
    assert response.headers["location"] == f"{PATH}/{level.id}"
    return level


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# ---------------------------------------------------------------- what is taken


async def test_a_level_is_kept_until_it_is_deleted(api: Rest) -> None:
    before = utc_now()
    level = await created(api)
    assert before <= parse_time(level.created) <= utc_now()
    assert level.model_dump(exclude={"id", "created"}) == {
        "instrument": "EUR_USD", "direction": "above", "level": "1.10000", "severity": "info", "message": None,
        "repeat": False, "cooldown_seconds": 3600, "armed": True, "triggered": 0, "last_triggered": None,
    }  # fmt: skip
    other = await created(
        api, instrument="usd/jpy", direction="below", level=151.25, severity="critical", message="Sell! ☃",
        repeat=True, cooldown_seconds=0,
    )  # fmt: skip
    assert (other.instrument, other.direction, other.level, other.message) == ("USD_JPY", "below", "151.250", "Sell! ☃")
    listed = ListedLevels.model_validate((await api.get(PATH)).json())
    assert listed == ListedLevels(count=2, levels=[level, other])
    assert ListedLevels.model_validate((await api.get(PATH, pair="eurusd")).json()).levels == [level]
    assert (await api.get(f"{PATH}/{other.id}")).json() == other.model_dump(mode="json")
    deleted = await api.client.delete(f"{PATH}/{level.id}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await api.get(PATH)).json()["count"] == 1
    assert_problem(await api.get(f"{PATH}/{level.id}"), 404, "Not found")
    assert_problem(await api.client.delete(f"{PATH}/{level.id}"), 404, "Not found")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('"1.09450"', "1.09450"),
        ("1.0945", "1.09450"),
        ("1", "1.00000"),
        ('"2."', "2.00000"),
        ("1.094500000000000000000", "1.09450"),
        ("109450e-5", "1.09450"),
        ('"999999999.99999"', "999999999.99999"),
    ],
)
async def test_a_level_is_taken_by_its_digits(api: Rest, written: str, shown: str) -> None:
    response = await post(api, f'{{"instrument":"EUR_USD","direction":"above","level":{written}}}'.encode())
    assert response.status_code == 201, response.text
    [kept] = await api.gateway.stores.price_levels.all()
    assert (response.json()["level"], str(kept.level)) == (shown, shown)


async def test_a_cooldown_is_taken_by_its_value(api: Rest) -> None:
    for written in ("60", "60.0", "6e1"):
        body = f'{{"instrument":"EUR_USD","direction":"above","level":"1.1","cooldown_seconds":{written}}}'
        response = await post(api, body.encode())
        assert response.status_code == 201, response.text
        assert response.json()["cooldown_seconds"] == 60


WRONG: list[tuple[object, str]] = [
    (b"", "The body is not JSON"),
    (b"{", "The body is not JSON"),
    (b"\xff", "The body is not JSON"),
    (b'{"level":NaN}', "The body is not JSON"),
    (b"[" * 8000, "The body is not JSON"),
    (b'{"level":1e99999999999999999999}', "The body is not JSON"),
    ([LEVEL], "An object with"),
    ("EUR_USD", "An object with"),
    ({}, "instrument: "),
    ({**LEVEL, "instrument": "XXX_YYY"}, "instrument: "),
    ({**LEVEL, "instrument": 5}, "instrument: "),
    ({**LEVEL, "direction": "over"}, "direction: "),
    ({**LEVEL, "level": "1.094501"}, "level: "),
    ({**LEVEL, "instrument": "USD_JPY", "level": "151.2455"}, "level: "),
    (b'{"instrument":"EUR_USD","direction":"above","level":1.0945000000000000001}', "level: "),
    ({**LEVEL, "level": "0"}, "level: "),
    ({**LEVEL, "level": -1}, "level: "),
    ({**LEVEL, "level": "-1.1"}, "level: "),
    ({**LEVEL, "level": "1000000000"}, "level: "),
    (b'{"instrument":"EUR_USD","direction":"above","level":1e999999}', "level: "),
    (b'{"instrument":"EUR_USD","direction":"above","level":1e-999999}', "level: "),
    ({**LEVEL, "level": "1_0"}, "level: "),
    ({**LEVEL, "level": "١.١"}, "level: "),
    ({**LEVEL, "level": "1e0"}, "level: "),
    ({**LEVEL, "level": "."}, "level: "),
    ({**LEVEL, "level": " 1.1"}, "level: "),
    ({**LEVEL, "level": "NaN"}, "level: "),
    ({**LEVEL, "level": True}, "level: "),
    ({**LEVEL, "level": None}, "level: "),
    ({**LEVEL, "severity": "high"}, "severity: "),
    ({**LEVEL, "message": ""}, "message: "),
    ({**LEVEL, "message": "x" * 201}, "message: "),
    ({**LEVEL, "message": "a\0b"}, "message: "),
    ({**LEVEL, "message": "\x1b[2J"}, "message: "),
    ({**LEVEL, "message": "a\x9bb"}, "message: "),
    ({**LEVEL, "message": "\ud800"}, "message: "),
    ({**LEVEL, "repeat": "yes"}, "repeat: "),
    ({**LEVEL, "repeat": 1}, "repeat: "),
    ({**LEVEL, "cooldown_seconds": -1}, "cooldown_seconds: "),
    ({**LEVEL, "cooldown_seconds": 604_801}, "cooldown_seconds: "),
    ({**LEVEL, "cooldown_seconds": 1.5}, "cooldown_seconds: "),
    ({**LEVEL, "cooldown_seconds": "60"}, "cooldown_seconds: "),
    ({**LEVEL, "cooldown_seconds": True}, "cooldown_seconds: "),
    (b'{"instrument":"EUR_USD","direction":"above","level":1,"cooldown_seconds":1e999999}', "cooldown_seconds: "),
    ({**LEVEL, "cooldown": 5}, "cooldown: "),
]


async def test_what_cannot_be_taken(api: Rest) -> None:
    for content, told in WRONG:
        body = assert_problem(await post(api, content), 422, "Invalid body")
        assert body["error"].startswith(told), (content, body)
    assert await api.gateway.stores.price_levels.count() == 0


async def test_a_body_that_is_too_large_or_of_another_type(api: Rest) -> None:
    assert_problem(await post(api, {**LEVEL, "message": "x" * 9000}), 413, "Payload too large")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"):
        response = await post(api, LEVEL, {"Content-Type": kind})
        assert_problem(response, 415, "Unsupported Media Type")
    assert (await post(api, LEVEL, {"Content-Type": "Application/JSON; charset=utf-8"})).status_code == 201


def test_no_body_is_an_internal_error(valkey_url: str) -> None:
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["EUR_USD", "above"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    )
    objects = st.dictionaries(st.sampled_from(sorted({*LEVEL, "message", "repeat", "severity", "cooldown_seconds"})), values)
    with rest_for_examples(valkey_url) as (api, run):

        @settings(max_examples=150)
        @given(content=objects.map(lambda changed: {**LEVEL, **changed}) | values | st.binary(max_size=30))
        def check(content: Any) -> None:
            assert run(post(api, content)).status_code in (201, 422)

        check()


# ---------------------------------------------------------------- which one


async def test_an_id_that_is_none(api: Rest) -> None:
    for id in ("x", "5e0e8a6c4f5b4b0f9d1c2a3b4c5d6e7f", "5E0E8A6C4F5B4B0F9D1C2A3B4C5D6E7F", "%00", "%ff", "a" * 4000):
        assert_problem_at(await api.get(f"{PATH}/{id}"))
        assert_problem_at(await api.client.delete(f"{PATH}/{id}"))
    assert_problem(await api.get(PATH, pair="XXX_YYY"), 400, "Invalid pair")


def assert_problem_at(response: httpx.Response) -> None:
    """Check that there is no such level, whatever way the path is written."""
    assert (response.status_code, response.json()["title"]) == (404, "Not found")


async def test_a_level_that_was_reached_is_shown_so(api: Rest) -> None:
    pair = api.on.hub.pairs.find("EUR_USD")
    [created_at, reached_at] = [parse_time("2026-01-05T00:00:00Z"), parse_time("2026-01-05T01:00:00Z")]
    kept = PriceLevel("0" * 32, pair, Direction.BELOW, pair.pip, "warning", None, True, 60, created_at, False, 3, reached_at)
    await api.gateway.stores.price_levels.add(kept)
    body = (await api.get(f"{PATH}/{kept.id}")).json()
    assert (body["armed"], body["triggered"], body["last_triggered"]) == (False, 3, "2026-01-05T01:00:00.000000Z")


# ---------------------------------------------------------------- who may, and how many


async def test_with_tokens_only_who_has_one_may_set_and_delete(valkey_url: str) -> None:
    async with rest(valkey_url, tokens=Tokens(alerts=tuple(token.encode() for token in TOKENS))) as api:
        for headers, told in (
            ({}, "A bearer token is needed"),
            ({"Authorization": TOKENS[0]}, "A bearer token is needed"),
            (bearer("x"), "The bearer token is not known"),
            (bearer(TOKENS[0][:-1]), "The bearer token is not known"),
        ):
            response = await post(api, LEVEL, headers)
            assert_problem(response, 401, "Unauthorized", detail=told)
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert_problem(await api.client.delete(f"{PATH}/{'0' * 32}", headers=headers), 401, "Unauthorized", detail=told)
        assert (await api.get(PATH)).json()["count"] == 0
        for token in TOKENS:
            response = await post(api, LEVEL, bearer(token))
            assert response.status_code == 201
            encoded = {b"Authorization": bearer(token)["Authorization"].encode()}
            assert (await api.client.delete(response.headers["location"], headers=encoded)).status_code == 204
    assert TOKENS[0] not in repr(api.gateway)


async def test_the_tokens_are_those_of_the_settings_and_allowed_pages_may_delete(valkey_url: str, tmp_path: Path) -> None:
    running_gateway = gateway(valkey_url, tmp_path, alert_tokens=TOKENS[0])
    async with running_gateway as running, httpx.AsyncClient(base_url=running.url) as http:
        assert (await http.post(PATH, json=LEVEL)).status_code == 401
        assert (await http.post(PATH, json=LEVEL, headers=bearer(TOKENS[0]))).status_code == 201
        asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "DELETE"}
        assert (await http.options(f"{PATH}/x", headers=asked)).status_code == 204
        refused = await http.options(f"{PATH}/x", headers={**asked, "Origin": "https://elsewhere.example"})
        assert refused.status_code == 403


async def test_there_are_never_more_levels_than_are_kept(api: Rest) -> None:
    await created(api)
    levels = table_of(PriceLevelRow)
    async with api.database.begin() as connection:
        [row] = (await connection.execute(select(levels))).mappings()
        copies = [{**row, "id": f"{number:032x}"} for number in range(1, MOST_LEVELS - 2)]
        await connection.execute(insert(levels), copies)
    answers = await asyncio.gather(*(post(api, LEVEL) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 422, 422, 422, 422]
    body = assert_problem(await post(api, LEVEL), 422, "Invalid body")
    assert body["error"] == "The limit of 1000 price levels is reached: delete some first"
    assert (await api.client.delete(f"{PATH}/{1:032x}")).status_code == 204
    assert (await post(api, LEVEL)).status_code == 201


async def test_without_the_database(valkey_url: str) -> None:
    async with without_database() as stores, rest(valkey_url, stores=stores) as api:
        for response in (
            await api.get(PATH), await post(api, LEVEL), await api.get(f"{PATH}/{'0' * 32}"),
            await api.client.delete(f"{PATH}/{'0' * 32}"),
        ):  # fmt: skip
            assert_problem(response, 503, "Database unavailable")
