"""Everything in one process, from inside."""

import asyncio
import gzip
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.config import Settings
from app.errors import SourceRefused
from app.realtime.log.log import open_redis
from fx_gateway.standalone import run_everything
from tests.waiting import wait_until


def _settings(tmp_path: Path, **others: Any) -> Settings:
    quiet = {"_env_file": None, "rate_limit_requests": 0, "websocket_port": 0, "shutdown_timeout": 1}
    return Settings(**{**quiet, "data_dir": tmp_path / "data", **others})


@asynccontextmanager
async def _everything(settings: Settings) -> AsyncGenerator[tuple[list[str], str, bool]]:
    """What is announced once it serves: the URLs of the server and of Redis, and whether prices are invented."""
    ready: asyncio.Future[tuple[list[str], str, bool]] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_everything(settings, lambda *announced: ready.set_result(announced)))
    try:
        await wait_until(lambda: task.done() or ready.done(), "it serves", 60)
        assert not task.done(), task
        yield await ready
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_redis_of_the_settings_is_used_and_history_is_there_when_it_serves(valkey_url: str, tmp_path: Path) -> None:
    async with _everything(_settings(tmp_path, redis_url=valkey_url, simulated_rate=200)) as ([url], redis_url, simulated):
        assert (redis_url, simulated) == (valkey_url, True)
        assert not (tmp_path / "data" / "valkey").exists()
        async with httpx.AsyncClient(base_url=url) as client, open_redis(valkey_url) as redis:
            candles = await client.get("/api/v1/candles/EUR_USD", params={"granularity": "D"})
            assert len(candles.json()["candles"]) > 15

            async def has_prices() -> bool:
                return bool(await redis.xlen("fx:events") > 20)

            await wait_until(has_prices, "the feed writes to this Redis", 30)


async def test_a_database_that_is_away_is_no_reason_not_to_serve(
    valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Nobody listens on port 1.
    away = _settings(tmp_path, redis_url=valkey_url, database_url="postgresql://nobody@127.0.0.1:1/none", simulated_rate=200)
    async with _everything(away) as ([url], _, _), httpx.AsyncClient(base_url=url) as client:
        assert "starting without history: The database does not answer" in caplog.text

        async def has_prices() -> bool:
            return bool((await client.get("/api/v1/prices/all")).json()["pair_count"])

        await wait_until(has_prices, "there are prices", 30)
        assert (await client.get("/api/v1/candles/EUR_USD", params={"granularity": "D"})).status_code == 503


async def test_a_source_that_cannot_deliver_for_good_ends_everything(valkey_url: str, tmp_path: Path) -> None:
    rows = [f"2014-05-05 00:00:00.{number:06},1.3{number % 9973:04},1.5" for number in range(20_000)]
    packed = gzip.compress("\n".join(rows).encode())
    damaged = tmp_path / "eurusd.csv.gz"
    damaged.write_bytes(packed[: len(packed) // 2])
    settings = _settings(tmp_path, redis_url=valkey_url, source="replay", replay_files=(damaged,), replay_speed=1_000_000)
    announced: list[bool] = []
    with pytest.RaisesGroup(pytest.RaisesExc(SourceRefused, match=r"eurusd\.csv\.gz cannot be read: .*; the replay ends there")):
        await run_everything(settings, lambda urls, redis_url, simulated: announced.append(simulated))
    assert announced == [False]
