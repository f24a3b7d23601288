"""The contract of the REST interface, endpoint by endpoint: the members of each answer, and each refusal."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.furnished import TOKEN
from tests.gateways import gateway
from tests.project import PROJECT
from tests.routers.running import assert_problem

_DESCRIPTION = PROJECT / "openapi" / "openapi.json"
_BEARER = {"Authorization": f"Bearer {TOKEN}"}
_EVENTS = "/api/v1/events"
# Streams do not end; a level is asked for in tests/routers/alerts/test_price_levels.py.
_ASKED_ELSEWHERE = {"/stream", "/stream/{pair}", "/api/v1/alerts/levels/{id}"}

# Of each path the members of its answer, those inside of another after a dot; * stands for every member or item.
_ANSWERS: Mapping[str, str] = {
    "/health": "status service timestamp active_clients max_clients services.redis services.database services.feed",
    "/health/live": "status reasons",
    "/health/ready": "status reasons",
    "/api/v1/info": "api_version service tracked_pairs pair_count cache_ttls.prices cache_ttls.metrics cache_ttls.correlation"
    " data_retention source sources endpoints",
    "/api/v1/prices/current?instrument=EUR_USD": "instrument price.bid price.ask price.mid price.time age_ms stale id",
    "/api/v1/prices/all": "timestamp pair_count prices.*.bid prices.*.ask prices.*.mid prices.*.time prices.*.age_ms"
    " prices.*.stale cursor",
    "/api/v1/candles/EUR_USD": "instrument granularity count candles.*.time candles.*.granularity candles.*.complete"
    " candles.*.bid.o candles.*.bid.h candles.*.bid.l candles.*.bid.c candles.*.ask.c candles.*.mid.c candles.*.volume next",
    "/api/v1/candles/EURUSD?granularity=D&limit=3&start_time=0&end_time=2199-01-01T00:00:00Z&price=M": "candles.*.mid.c"
    " candles.*.trading_day",
    "/api/v1/candles?pairs=EUR_USD,USDJPY&limit=2": "granularity count pairs.*.instrument pairs.*.candles.*.bid.o",
    "/api/v1/ticks?pairs=*&start_time=2026-01-30&limit=2": "count ticks next",
    "/api/v1/metrics/history/EUR_USD?measure=atr&start_time=0": "instrument granularity annualization simulated count history",
    "/api/v1/correlation/rolling?pair1=EUR_USD&pair2=GBP_USD&start_time=0": "window method count correlations",
    "/api/v1/calendar": "start end open_hours count trading_days.*.trading_day trading_days.*.opens_at holidays",
    "/api/v1/metrics/volatility/EUR_USD?granularity=H4&bars=60&end_time=2199-01-01T00:00:00Z": "metrics.atr metrics.end",
    "/api/v1/correlation/matrix?window=50&end_time=2199-01-01T00:00:00Z": "matrix.*.* end",
    "/api/v1/correlation/pairs?pair1=EUR_USD&pair2=GBP_USD&granularity=H4&method=ewma": "correlation",
    "/api/v1/best-pairs?category=hedging": "count",
    "/api/v1/alerts?pair=gbpusd,EUR_USD&type=correlation_alert&severity=info&start_time=0&end_time=7000000000": "alerts.*.pair2",
    "/api/v1/alerts/levels?pair=EUR_USD": "levels.*.level",
    "/api/v1/jobs?job=hourly&limit=1": "runs.*.ended",
    "/api/v1/metrics/volatility": "timestamp pair_count metrics.*.volatility_20 metrics.*.volatility_50 metrics.*.sma_15"
    " metrics.*.sma_30 metrics.*.sma_50 metrics.*.bb_upper metrics.*.bb_middle metrics.*.bb_lower metrics.*.atr"
    " metrics.*.annualization metrics.*.cached_at",
    "/api/v1/metrics/volatility/EUR_USD": "instrument metrics.volatility_20 metrics.atr metrics.cached_at",
    "/api/v1/correlation/matrix": "timestamp pair_count window matrix.*.* observations.*.*",
    "/api/v1/correlation/pairs?pair1=EUR_USD&pair2=GBP_USD": "pair1 pair2 correlation observations",
    "/api/v1/best-pairs": "timestamp count pairs.*.pair1 pairs.*.pair2 pairs.*.category pairs.*.correlation pairs.*.reason"
    " pairs.*.rank",
    "/api/v1/sessions": "timestamp count market_open sessions.*.name sessions.*.timezone sessions.*.start_time"
    " sessions.*.end_time sessions.*.opens_at sessions.*.closes_at sessions.*.is_open sessions.*.description overlaps.*.sessions",
    "/api/v1/cache/stats": "timestamp cache.redis.host cache.redis.port cache.redis.db cache.redis.connected cache.memory"
    " cache.stats cache.keys.price_keys cache.keys.metric_keys cache.keys.correlation_keys cache.keys.best_pairs_keys"
    " cache.keys.total_keys",
    _EVENTS: "events.*.id events.*.type events.*.data next",
    "/api/v1/alerts": "count alerts.*.id alerts.*.type alerts.*.severity alerts.*.message next",
    "/api/v1/alerts/levels": "count levels.*.id levels.*.instrument levels.*.direction levels.*.level",
    "/admin/state": "timestamp gateway.version gateway.workers.*.reports clients.total clients.by_transport.sse laggards"
    " subscriptions.EUR_USD log.cursor log.length recorder feed.status jobs.runs.*.job jobs.due.hourly totals.*",
    "/api/v1/jobs": "count runs.*.job runs.*.started runs.*.ended runs.*.status runs.*.records runs.*.error",
}  # fmt: skip


@cache
def _paths_of_others() -> list[str]:
    """What else only reads, as a path with the examples of the parameters that it needs."""
    asked = {re.sub("EUR_?USD", "{instrument}", path.partition("?")[0]) for path in _ANSWERS}
    return [_example(path) for path, item in _paths().items() if "get" in item and path not in asked | _ASKED_ELSEWHERE]


def _example(path: str) -> str:
    """The path of an operation that reads, with the examples of the parameters that it needs."""
    needed = [parameter for parameter in _paths()[path]["get"].get("parameters", []) if parameter["required"]]
    examples = {
        place: {each["name"]: each["schema"]["examples"][0] for each in needed if each["in"] == place}
        for place in ("path", "query")
    }
    return str(httpx.URL(path.format(**examples["path"]), params=examples["query"] or None))


def test_a_new_endpoint_is_asked_with_the_examples_of_its_parameters() -> None:
    assert _example("/api/v1/correlation/pairs") == "/api/v1/correlation/pairs?pair1=EUR_USD&pair2=GBP_USD"
    assert _example("/api/v1/candles/{instrument}") == "/api/v1/candles/EUR_USD"
    assert _example("/health") == "/health"


def test_every_other_operation_that_only_reads_answers(furnished_url: str) -> None:
    for path in _paths_of_others():
        response = httpx.get(f"{furnished_url}{path}", headers=_BEARER)
        assert response.status_code == 200, (path, response.text)
        assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", _ANSWERS)
def test_an_answer_has_the_members_of_the_contract(path: str, each_furnished_url: str) -> None:
    response = httpx.get(f"{each_furnished_url}{path}", headers=_BEARER)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    for member in _ANSWERS[path].split():
        assert list(_found(response.json(), member.split("."))), f"{member} holds nothing"


def _found(part: Any, steps: list[str]) -> Iterator[object]:
    """What lies at the end of the steps; every part has to have the member that a step names."""
    if not steps:
        yield part
        return
    step, *rest = steps
    inner = [part[step]] if step != "*" else part if isinstance(part, list) else part.values()
    for each in inner:
        yield from _found(each, rest)


# ---------------------------------------------------------------- refusals


async def test_what_is_not_there_yet_is_a_404(valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path, admin_tokens=(TOKEN,)) as running,
        httpx.AsyncClient(base_url=running.url, headers=_BEARER) as client,
    ):
        empty = {path for path in _ANSWERS if (await client.get(path)).status_code != 200}
        assert empty == {
            path
            for path in _ANSWERS
            if "start_time" not in path  # an interval without bars is an empty list
            and any(word in path for word in ("/prices/current", "/candles/", "/metrics/", "/correlation/", "/best-pairs"))
        }
        for path in empty:
            title = "No price yet" if "/prices/" in path else "No data"
            assert_problem(await client.get(path), 404, title)


@pytest.mark.parametrize(
    ("path", "status", "title"),
    [
        ("/api/v1/prices/current", 400, "Invalid request"),
        ("/api/v1/prices/current?instrument=XXX_YYY", 400, "Invalid pair"),
        ("/api/v1/prices/current?instrument=AUD_USD", 400, "Invalid pair"),  # a pair, but not one that is tracked
        ("/api/v1/candles/XXX_YYY", 400, "Invalid pair"),
        ("/api/v1/metrics/volatility/XXX_YYY", 400, "Invalid pair"),
        ("/api/v1/correlation/pairs?pair1=EUR_USD", 400, "Invalid request"),
        ("/api/v1/correlation/pairs?pair1=EUR_USD&pair2=EURUSD", 400, "Invalid pair"),
        ("/api/v1/events?since=1-1", 410, "Cursor expired"),
        ("/api/v1/events?since=99999999999999-0", 410, "Cursor expired"),
        ("/api/v1/alerts/levels/none", 404, "Not found"),
        ("/api/v1/nowhere", 404, "Not Found"),
    ],
)
def test_a_question_that_is_refused(path: str, status: int, title: str, furnished_url: str) -> None:
    assert_problem(httpx.get(f"{furnished_url}{path}"), status, title)


@pytest.mark.parametrize(
    ("headers", "content", "status", "title"),
    [
        ({}, b"{}", 401, "Unauthorized"),
        ({"Authorization": "Bearer unknown"}, b"{}", 401, "Unauthorized"),
        (_BEARER, b" " * (1024 * 1024 + 1), 413, "Payload too large"),
        (_BEARER, b"{", 422, "Invalid body"),
        (_BEARER, b'{"type":"price_update","data":{}}', 422, "Invalid body"),
    ],
)
def test_a_publication_that_is_refused(
    headers: dict[str, str], content: bytes, status: int, title: str, furnished_url: str
) -> None:
    assert_problem(httpx.post(f"{furnished_url}{_EVENTS}", headers=headers, content=content), status, title)


async def test_without_tokens_nobody_may_publish(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, httpx.AsyncClient(base_url=running.url) as client:
        assert_problem(await client.post(_EVENTS, headers=_BEARER, content=b"{}"), 403, "Forbidden")


# ---------------------------------------------------------------- parameters


@cache
def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = json.loads(_DESCRIPTION.read_text(encoding="utf-8"))["paths"]
    return paths


def _parameters() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every parameter of a question: the path, the name of the parameter and its schema."""
    for path, item in _paths().items():
        for parameter in item.get("get", {}).get("parameters", ()):
            if parameter["in"] == "query":
                yield path, parameter["name"], parameter["schema"]


def _unusable(schema: Mapping[str, Any]) -> set[str]:
    """Values that do not keep to the schema of a parameter."""
    values = {"", "?", "٣", "\0"}
    for one in schema.get("anyOf", [schema]):
        if one.get("type") in ("integer", "number"):
            values |= {"x", "1e", "NaN"}
            values |= {str(one["minimum"] - 1)} if "minimum" in one else set()
            values |= {str(one["exclusiveMinimum"])} if "exclusiveMinimum" in one else set()
            values |= {str(one["maximum"] + 1)} if "maximum" in one else set()
        if one.get("type") == "integer":
            values.add("2.5")
    return values


_NEEDED = {"instrument": "EUR_USD", "pair1": "EUR_USD", "pair2": "GBP_USD", "pairs": "EUR_USD"}


@pytest.mark.parametrize(
    ("path", "name", "schema"), list(_parameters()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_unusable_value_is_refused_and_never_taken_for_another(
    path: str, name: str, schema: dict[str, Any], furnished_url: str
) -> None:
    needed = {each: value for where, each, _ in _parameters() if where == path and (value := _NEEDED.get(each))}
    with httpx.Client(base_url=furnished_url) as client:
        for value in _unusable(schema):
            response = client.get(path.format(instrument="EUR_USD", pair="EUR_USD"), params={**needed, name: value})
            assert response.status_code == 400, (value, response.text)
            assert response.json()["title"] in ("Invalid request", "Invalid pair", "Invalid cursor")
