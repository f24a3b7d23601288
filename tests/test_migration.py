"""A gateway whose database is not as it should be when it starts."""

import logging
import sqlite3
from pathlib import Path

import httpx
import pytest

from app.config import Settings
from app.errors import ConfigurationError
from app.main import create_app
from app.market.bars.candle import Granularity
from app.storage.database.database import open_database
from tests.gateways import QUIET, gateway
from tests.routers.running import assert_problem, bars
from tests.waiting import wait_until


async def test_a_gateway_makes_the_tables_it_needs(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, httpx.AsyncClient(base_url=running.url) as http:
        assert (await http.get("/health/ready")).status_code == 200
        assert_problem(await http.get("/api/v1/candles/EUR_USD"), 404, "No data")
        await running.app.state.gateway.stores.candles.write(bars())
        assert (await http.get("/api/v1/candles/EUR_USD")).json()["count"] == 1


async def test_a_gateway_starts_without_its_database_and_makes_the_tables_when_it_answers(
    valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    place = tmp_path / "gateway.db"
    place.mkdir()  # a folder where the file should be: SQLite cannot open it
    settings = {"database_url": f"sqlite:///{place}"}
    async with gateway(valkey_url, tmp_path, **settings) as running, httpx.AsyncClient(base_url=running.url) as http:
        assert "not ready: The database does not answer" in caplog.text
        ready = await http.get("/health/ready")
        assert (ready.status_code, ready.json()["reasons"]) == (503, ["the database does not answer"])
        assert_problem(await http.get("/api/v1/candles/EUR_USD"), 503, "Database unavailable")
        assert (await http.get("/api/v1/prices/all")).status_code == 200
        place.rmdir()

        async def is_ready() -> bool:
            return (await http.get("/health/ready")).status_code == 200

        await wait_until(is_ready, "the gateway has made its tables", 40)
        assert_problem(await http.get("/api/v1/candles/EUR_USD"), 404, "No data")
    assert "has failed" not in caplog.text


async def test_a_gateway_does_not_start_on_a_database_of_a_newer_one(valkey_url: str, tmp_path: Path) -> None:
    async with open_database(f"sqlite:///{tmp_path / 'gateway.db'}") as database:
        await database.migrate()
    with sqlite3.connect(tmp_path / "gateway.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    app = create_app(Settings(**{**QUIET, "data_dir": tmp_path}), valkey_url)
    with pytest.raises(ConfigurationError, match="a newer one has migrated it"):
        async with app.router.lifespan_context(app):
            raise AssertionError("the gateway has started")


async def test_bars_a_year_follow_the_setting(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path, annualization=6048) as running:
        year = running.app.state.gateway.annualization
        assert (year[Granularity.H1], year[Granularity.M1], year[Granularity.D]) == (6048, 6048 * 60, pytest.approx(252))
        assert (year[Granularity.W], year[Granularity.M]) == (52, 12)
