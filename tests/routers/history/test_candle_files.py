"""Bars as files, and bars of several pairs."""

import csv
import gzip
import io
import json
import sys
from dataclasses import replace
from datetime import datetime, timedelta

import httpx
import pyarrow.ipc
import pyarrow.parquet
import pytest

from app.http.files.exports import BATCH
from app.market.bars.candle import Candle, Granularity
from app.market.clock import rfc3339
from app.routers.history.candles import BarsOfPairs
from tests.routers.running import FIRST, Rest, assert_problem, assert_refused, bars

PATH = "/api/v1/candles/EUR_USD"
SIDES = ("bid", "mid", "ask")


def row_of(bar: Candle) -> list[object]:
    """The row of a bar in a file."""
    prices = [float(price) for ohlc in (bar.bid, bar.mid, bar.ask) for price in (ohlc.open, ohlc.high, ohlc.low, ohlc.close)]
    return [bar.time, *prices, bar.volume, bar.complete, bar.source == "simulated"]


def read_csv(response: httpx.Response) -> tuple[list[str], list[list[object]]]:
    """The header and the rows of a CSV, as a data frame of floats with an index of times would hold them."""
    header, *lines = csv.reader(io.StringIO(response.text))
    return header, [[datetime.fromisoformat(line[0]), *map(float, line[1:])] for line in lines]


async def test_csv_is_numbers_under_a_column_of_times(api: Rest) -> None:
    hours = bars(count=30, unfinished=True)
    hours[3] = replace(hours[3], source="simulated", time=hours[3].time)
    await api.gateway.stores.candles.write(hours)
    response = await api.get(PATH, format="csv")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="EUR_USD_H1.csv"'
    header, rows = read_csv(response)
    prices = [f"{side}_{name}" for side in SIDES for name in ("open", "high", "low", "close")]
    assert header == ["time", *prices, "volume", "complete", "simulated"]
    assert rows == [row_of(bar) for bar in hours]  # every bar that is stored, not only 24


@pytest.mark.parametrize("format", ["csv", "ndjson", "parquet", "arrow"])
async def test_every_form_holds_every_bar_of_an_interval(api: Rest, format: str) -> None:
    minutes = bars(count=BATCH + 10, granularity=Granularity.M1)
    await api.gateway.stores.candles.write(minutes)
    response = await api.get(PATH, format=format, granularity="M1", start_time=rfc3339(minutes[3].time))
    content = response.content
    match format:
        case "csv":
            _, rows = read_csv(response)
        case "ndjson":
            lines = [list(json.loads(line).values()) for line in content.splitlines()]
            rows = [[datetime.fromisoformat(line[0]), *line[1:]] for line in lines]
        case "parquet":
            rows = [list(row.values()) for row in pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()]
        case _:
            rows = [list(row.values()) for row in pyarrow.ipc.open_stream(content).read_all().to_pylist()]
    assert rows == [row_of(bar) for bar in minutes[3:]]


async def test_limits_and_ends_hold_in_files(api: Rest) -> None:
    hours = bars(count=30)
    await api.gateway.stores.candles.write(hours)
    for query, expected in (
        ({"limit": 5}, hours[-5:]),
        ({"limit": 5, "start_time": "2026-01-05"}, hours[:5]),
        ({"start_time": "2026-01-05", "end_time": "2026-01-05T02:00:00Z"}, hours[:2]),
        ({"end_time": "2026-01-05T02:00:00Z"}, hours[:2]),
        ({"end_time": "2026-01-04"}, []),
    ):
        _, rows = read_csv(await api.get(PATH, format="csv", **query))
        assert [row[0] for row in rows] == [bar.time for bar in expected]


async def test_the_form_may_be_asked_for_with_accept(api: Rest) -> None:
    await api.gateway.stores.candles.write(bars())
    for accept, expected in (
        ("text/csv", "text/csv; charset=utf-8"),
        ("application/json;q=0.5, application/x-ndjson", "application/x-ndjson"),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
        ("text/html,*/*;q=0.8", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("text/csv;q=x", "application/json"),
    ):
        response = await api.client.get(PATH, headers={"Accept": accept})
        assert (response.status_code, response.headers["content-type"]) == (200, expected)
    response = await api.client.get(PATH, params={"format": "json"}, headers={"Accept": "text/csv"})
    assert response.headers["content-type"] == "application/json"


async def test_files_are_compressed_for_clients_that_allow_it(api: Rest) -> None:
    await api.gateway.stores.candles.write(bars(count=500))
    for accepted, compressed in (("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("identity", False), ("", False)):
        async with api.client.stream("GET", PATH, params={"format": "csv"}, headers={"Accept-Encoding": accepted}) as response:
            raw = b"".join([part async for part in response.aiter_raw()])
        assert (response.headers.get("content-encoding") == "gzip") is compressed
        text = gzip.decompress(raw) if compressed else raw
        assert (text[:5], text.count(b"\n")) == (b"time,", 501)
        assert response.headers["vary"] == "Accept, Accept-Encoding"


async def test_without_pyarrow_the_columnar_forms_are_refused(api: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for format in ("parquet", "arrow"):
        body = assert_problem(await api.get(PATH, format=format), 406, "Not acceptable")
        assert "pip install 'fx-gateway[arrow]'" in body["detail"]


# ---------------------------------------------------------------- several pairs


async def test_bars_of_several_pairs(api: Rest) -> None:
    await api.gateway.stores.candles.write([*bars(count=30), *bars("USD_JPY", count=3)])
    response = await api.get("/api/v1/candles", pairs="usdjpy,EUR/USD", limit=5)
    body = response.json()
    BarsOfPairs.model_validate(body)
    alone = [(await api.get(f"/api/v1/candles/{name}", limit=5)).json() for name in ("EUR_USD", "USD_JPY")]
    assert body == {"granularity": "H1", "count": 8, "pairs": alone}


async def test_a_file_of_several_pairs_names_them(api: Rest) -> None:
    await api.gateway.stores.candles.write([*bars(count=2), *bars("USD_JPY", count=1)])
    response = await api.get("/api/v1/candles", pairs="EUR_USD,USD_JPY", format="csv", price="M")
    assert [line.split(",")[:2] for line in response.text.splitlines()] == [
        ["time", "pair"],
        [rfc3339(FIRST), "EUR_USD"],
        [rfc3339(FIRST + timedelta(hours=1)), "EUR_USD"],
        [rfc3339(FIRST), "USD_JPY"],
    ]


async def test_what_cannot_be_asked_of_several_pairs(api: Rest) -> None:
    await assert_refused(api, "/api/v1/candles", [({}, "pairs"), ({"pairs": "*", "limit": 5000}, "limit")])
    assert_problem(await api.get("/api/v1/candles", pairs="EUR_USD,XXX"), 400, "Invalid pair")
    empty = (await api.get("/api/v1/candles", pairs="EUR_USD")).json()
    assert (empty["count"], empty["pairs"][0]["candles"]) == (0, [])
