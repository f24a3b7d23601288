"""Measures and correlations over time, and the matrix as a file."""

import json
from datetime import timedelta

import pytest

from app.market.clock import rfc3339
from app.market.measures.rolling import ROLLING
from app.routers.history.correlations import RollingCorrelation
from app.routers.history.metrics import MetricsHistory
from tests.routers.running import Rest, assert_problem, assert_refused, bars

METRICS = "/api/v1/metrics/history/EUR_USD"
ROLLING_PATH = "/api/v1/correlation/rolling"
PAIRS = {"pair1": "EUR_USD", "pair2": "USD_JPY"}


async def test_measures_over_time_are_those_of_each_time(api: Rest) -> None:
    hours = bars(count=80, unfinished=True)
    await api.gateway.stores.candles.write(hours)
    body = (await api.get(METRICS, limit=5)).json()
    MetricsHistory.model_validate(body)
    assert [row["time"] for row in body["history"]] == [rfc3339(bar.end) for bar in hours[-6:-1]]
    for row in body["history"]:
        then = (await api.get("/api/v1/metrics/volatility/EUR_USD", end_time=row["time"])).json()["metrics"]
        assert row == {"time": then["end"]} | {name: pytest.approx(then[name], rel=1e-9) for name in ROLLING}
    assert (body["annualization"], body["simulated"], body["count"]) == (6240, False, 5)


async def test_a_history_within_an_interval_and_as_a_file(api: Rest) -> None:
    hours = bars(count=80)
    await api.gateway.stores.candles.write(hours)
    query = {"start_time": rfc3339(hours[30].end), "end_time": rfc3339(hours[40].end), "measure": "atr,realized"}
    body = (await api.get(METRICS, **query)).json()
    assert [row["time"] for row in body["history"]] == [rfc3339(bar.end) for bar in hours[30:40]]
    assert [list(row) for row in body["history"]] == [["time", "atr", "realized"]] * 10
    lines = (await api.get(METRICS, format="ndjson", **query)).text.splitlines()
    assert [json.loads(line) for line in lines] == body["history"]
    header, first, *_ = (await api.get(METRICS, format="csv", measure="sma_50")).text.splitlines()
    assert (header, first) == ("time,sma_50", f"{rfc3339(hours[0].end)},")
    assert (await api.get("/api/v1/metrics/history/USD_JPY")).json()["history"] == []


async def test_a_correlation_over_time_is_that_of_each_time(api: Rest) -> None:
    first, second = bars(count=60), bars("USD_JPY", count=60, seed=2)
    await api.gateway.stores.candles.write([*first, *second])
    body = (await api.get(ROLLING_PATH, window=40, limit=3, **PAIRS)).json()
    RollingCorrelation.model_validate(body)
    assert [row["time"] for row in body["correlations"]] == [rfc3339(bar.end) for bar in first[-3:]]
    for row in body["correlations"]:
        then = (await api.get("/api/v1/correlation/pairs", window=40, end_time=row["time"], **PAIRS)).json()
        assert row["correlation"] == pytest.approx(then["correlation"], rel=1e-12)
    stretch = {"start_time": rfc3339(first[50].end), "end_time": rfc3339(first[52].end)}
    csv = (await api.get(ROLLING_PATH, window=40, format="csv", **stretch, **PAIRS)).text.splitlines()
    assert [line.split(",")[0] for line in csv] == ["time", *(rfc3339(bar.end) for bar in first[50:52])]
    assert (await api.get(ROLLING_PATH, pair1="EUR_USD", pair2="GBP_USD")).json()["correlations"] == []


async def test_the_matrix_as_a_file_has_every_two_pairs_once(api: Rest) -> None:
    await api.gateway.stores.candles.write([*bars(count=99), *bars("USD_JPY", count=99, seed=2)])
    end = rfc3339(bars(count=99)[-1].time + timedelta(hours=1))
    matrix = (await api.get("/api/v1/correlation/matrix", window=90)).json()["matrix"]
    [line] = (await api.get("/api/v1/correlation/matrix", window=90, format="ndjson")).text.splitlines()
    assert json.loads(line) == {
        "time": end, "pair1": "EUR_USD", "pair2": "USD_JPY", "correlation": matrix["EUR_USD"]["USD_JPY"], "observations": 89
    }  # fmt: skip


async def test_what_cannot_be_asked(api: Rest) -> None:
    await assert_refused(api, METRICS, [({"measure": "sigma"}, "measure"), ({"limit": 5001}, "limit")])
    await assert_refused(api, ROLLING_PATH, [({"window": 20, **PAIRS}, "window"), ({"pair1": "EUR_USD"}, "pair2")])
    assert_problem(await api.get(ROLLING_PATH, pair1="EUR_USD", pair2="eurusd"), 400, "Invalid pair")
