"""Stored ticks: in the order of the log, with their spreads, page by page and as files."""

import json

import pytest

from app.routers.history import ticks as router
from app.routers.history.ticks import StoredTicks
from app.sources import SOURCES
from app.storage.recording import Batch, Recording
from tests.routers.running import Query, Rest, assert_problem, assert_refused
from tests.storage.market.test_ticks import ticks

PATH = "/api/v1/ticks"


async def recorded(api: Rest, count: int = 20) -> list[str]:
    """Store ticks; return their ids."""
    stored = ticks(count)
    await Recording(api.database, SOURCES).write(Batch(stored[-1].id, count, ticks=stored))
    return [tick.id for tick in stored]


async def test_a_tick_has_its_spread(api: Rest) -> None:
    await recorded(api, 1)
    body = (await api.get(PATH, pairs="EUR_USD")).json()
    StoredTicks.model_validate(body)
    assert body["ticks"] == [
        {"id": body["next"], "time": "2026-01-05T00:00:00.000000Z", "instrument": "EUR_USD", "bid": "1.0945", "ask": "1.09458",
         "spread": "0.00008", "source": "oanda", "kind": "quoted"}
    ]  # fmt: skip


async def test_following_next_gives_every_tick_once(api: Rest) -> None:
    ids = await recorded(api)
    found: list[str] = []
    query = {"start_time": "2026-01-05"}
    while (body := (await api.get(PATH, pairs="*", limit=7, **query)).json())["count"]:
        found += [tick["id"] for tick in body["ticks"]]
        query = {"since": body["next"]}
    assert found == ids
    assert body["next"] == ids[-1]
    last = (await api.get(PATH, pairs="USD_JPY", limit=2)).json()
    assert [tick["id"] for tick in last["ticks"]] == [ids[-3], ids[-1]]
    assert (await api.get(PATH, pairs="*", end_time="2026-01-05")).json() == {"count": 0, "ticks": [], "next": None}


async def test_a_file_has_all_ticks_in_batches(api: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "BATCH", 3)
    ids = await recorded(api)
    lines = [json.loads(line) for line in (await api.get(PATH, pairs="*", format="ndjson")).text.splitlines()]
    assert [line["id"] for line in lines] == ids
    assert (lines[0]["bid"], lines[0]["spread"]) == (1.0945, 0.00008)
    csv = (await api.get(PATH, pairs="*", format="csv", limit=4)).text.splitlines()
    assert [line.rpartition(",")[2] for line in csv] == ["id", *ids[-4:]]


async def test_what_cannot_be_asked(api: Rest) -> None:
    wrong: list[tuple[dict[str, Query], str]] = [({}, "pairs"), ({"pairs": "*", "limit": 5001}, "limit")]
    await assert_refused(api, PATH, [*wrong, ({"pairs": "*", "format": "x"}, "format")])
    assert_problem(await api.get(PATH, pairs="XXX"), 400, "Invalid pair")
    assert_problem(await api.get(PATH, pairs="*", since="x"), 400, "Invalid cursor")
