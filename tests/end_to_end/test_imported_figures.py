"""Twelve years of OANDA's hours, imported by the command: REST gives the figures of an independent reckoning."""

import random
from bisect import bisect_left
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.market.bars.candle import Granularity
from app.market.hours.calendar import open_time
from tests.end_to_end.reckoning import ReckonedBar, correlation, days, ended_by, figures, read_hours, weeks
from tests.gateways import command, gateway
from tests.untraced import UNTRACED

SEEDS = (2010, 2011, 2012, 2013, 2014, 2015, 2016, 2017, 2018, 20140505)
FILES = {"EUR_USD": "eurusd.zip", "NZD_USD": "nzdusd.zip"}
ROWS = {"EUR_USD": 74_439, "NZD_USD": 74_451}

_FIRST, _LAST = datetime(2010, 1, 4, tzinfo=UTC), datetime(2018, 12, 31, tzinfo=UTC)
_MEASURED = 300

Hours = Mapping[str, Sequence[ReckonedBar]]


@pytest.mark.timeout(240)
async def test_figures_of_random_moments_and_all_days_and_weeks_are_those_of_the_files(
    database_url: str, valkey_url: str, fx_data: Path, tmp_path: Path
) -> None:
    files = [fx_data / "oanda" / "hour" / name for name in FILES.values()]
    async with command("import", *files, cwd=tmp_path, DATABASE_URL=database_url, **UNTRACED) as importing:
        assert await importing.wait(150) == 0, importing.text
    _check_account(importing.output)

    hours = {pair: read_hours(file) for pair, file in zip(FILES, files, strict=True)}
    async with _rest(valkey_url, tmp_path, database_url) as client:
        for seed in SEEDS:
            await _check_moment(client, hours, random.Random(seed))
        for pair, of_pair in hours.items():
            await _check_days_and_weeks(client, pair, of_pair)


@asynccontextmanager
async def _rest(valkey_url: str, folder: Path, database_url: str) -> AsyncGenerator[httpx.AsyncClient]:
    async with (
        gateway(valkey_url, folder, database_url=database_url) as running,
        httpx.AsyncClient(base_url=running.url, timeout=30) as client,
    ):
        yield client


def _check_account(lines: Sequence[str]) -> None:
    """Every row of both files is said to be in a bar."""
    said = " / ".join(" ".join(line.split()) for line in lines)
    for pair, count in ROWS.items():
        title = (
            f"{pair} H1 bars from {FILES[pair]} / {count:,} rows read / {count:,} of them in bars / {count:,} bars new or changed"
        )
        assert title in said
    assert "rejected" not in said
    assert "not stored" not in said


async def _check_moment(client: httpx.AsyncClient, hours: Hours, chance: random.Random) -> None:
    """Bars, measures and a correlation as of a moment by chance."""
    moment = _FIRST + timedelta(seconds=chance.randrange(int((_LAST - _FIRST).total_seconds())))
    window = chance.randrange(100, 1500)
    for pair, of_pair in hours.items():
        bars = ended_by(of_pair, moment, _MEASURED)
        answer = await _get(client, f"/api/v1/metrics/volatility/{pair}", end_time=moment.isoformat())
        metrics = answer["metrics"]
        assert (metrics["bars"], metrics["annualization"], metrics["simulated"]) == (_MEASURED, 6240, False)
        assert datetime.fromisoformat(metrics["start"]) == bars[0].time
        assert datetime.fromisoformat(metrics["end"]) == bars[-1].time + timedelta(hours=1)
        expected = figures(bars)
        assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-9), f"{pair} at {moment}"

        # The bar that holds the moment began before it, and is listed among the bars of the time.
        shown = [hour for hour in of_pair if hour.time < moment][-window:]
        answer = await _get(client, f"/api/v1/candles/{pair}", end_time=moment.isoformat(), limit=window)
        _check_bars(answer["candles"], shown)

    answer = await _get(
        client, "/api/v1/correlation/pairs", pair1="EUR_USD", pair2="NZD_USD", end_time=moment.isoformat(), window=window
    )
    first, second = (ended_by(of_pair, moment, window) for of_pair in hours.values())
    value, returns = correlation(first, second)
    assert answer["observations"] == returns
    assert answer["correlation"] == pytest.approx(value, rel=1e-9), f"{window} hours up to {moment}"


async def _check_days_and_weeks(client: httpx.AsyncClient, pair: str, hours: Sequence[ReckonedBar]) -> None:
    """All the days and weeks there are."""
    expected = days(hours)
    answer = await _get(client, f"/api/v1/candles/{pair}", granularity="D", limit=5000)
    _check_bars(answer["candles"], [bar for _, bar in expected], _whole(Granularity.D, [bar for _, bar in expected], hours))
    assert [bar["trading_day"] for bar in answer["candles"]] == [day.isoformat() for day, _ in expected]
    answer = await _get(client, f"/api/v1/candles/{pair}", granularity="W", limit=5000)
    _check_bars(answer["candles"], weeks(hours), _whole(Granularity.W, weeks(hours), hours))


def _whole(length: Granularity, bars: Sequence[ReckonedBar], hours: Sequence[ReckonedBar]) -> list[bool]:
    """Of each of the bars, whether the file has all of its hours: no more than one hour of open market is missing in a row."""
    hour, times = timedelta(hours=1), [of_file.time for of_file in hours]

    def is_whole(start: datetime, end: datetime) -> bool:
        inside = times[bisect_left(times, start) : bisect_left(times, end)]
        edges = [start, *(edge for time in inside for edge in (time, time + hour)), end]
        return all(open_time(until, since) <= hour for until, since in zip(edges[::2], edges[1::2], strict=True))

    return [is_whole(bar.time, length.end(bar.time)) for bar in bars]


def _check_bars(shown: Sequence[Mapping[str, Any]], expected: Sequence[ReckonedBar], whole: Sequence[bool] | None = None) -> None:
    assert [datetime.fromisoformat(bar["time"]) for bar in shown] == [bar.time for bar in expected]
    for bar, reckoned, complete in zip(shown, expected, whole or [True] * len(expected), strict=True):
        assert {side: bar[side] for side in ("bid", "mid", "ask")} == {
            side: reckoned.texts(side) for side in ("bid", "mid", "ask")
        }, f"at {bar['time']}"
        assert (bar["complete"], bar["source"]) == (complete, "oanda"), f"at {bar['time']}"


async def _get(client: httpx.AsyncClient, path: str, **parameters: str | int) -> dict[str, Any]:
    answer = await client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body
