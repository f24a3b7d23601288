from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import func, select

from app.market.quote import Quote
from app.sources import SOURCES
from app.storage.database.database import Database
from app.storage.database.tables import Row
from app.storage.job_runs import JobRuns
from app.storage.market.candles import Candles
from app.storage.market.correlations import Correlations, StoredBestPair, StoredCorrelation
from app.storage.market.metrics import Metrics, StoredMetrics
from app.storage.recording import Batch, Recording, RefusedEvent, StoredAlert, StoredEvent, Tick
from app.storage.retention import Retention
from tests.storage.bars import EUR_USD, bar

_NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
_DAY = timedelta(days=1)
_TABLES = ("ticks", "events", "alerts", "job_runs", "refused_events", "volatility_metrics", "correlations", "best_pairs")


async def write_one_of_each(database: Database, time: datetime) -> None:
    id = f"{int(time.timestamp() * 1000)}-0"
    tick = Tick(id, Quote(EUR_USD, Decimal("1.1"), Decimal("1.2"), time, "oanda"))
    event = StoredEvent(id, "data_ready", (), b"{}", time)
    alert = StoredAlert(id, "volatility_alert", ("EUR_USD",), "info", Decimal(1), Decimal(1), "", time, b"{}")
    refused = RefusedEvent(id, "data_ready", "{}", "DataError: no", time)
    await Recording(database, SOURCES, str(time)).write(Batch(id, 1, [tick], [event], [alert], [bar(time)], [refused]))
    await JobRuns(database).start("hourly", time)
    await Metrics(database).write([StoredMetrics("EUR_USD", "H1", time, b"{}", 0.1, False)])
    cell = StoredCorrelation("EUR_USD", "USD_JPY", time, "H1", 100, 0.1, 100)
    best = StoredBestPair("EUR_USD", "USD_JPY", time, "hedging", 0.1, 100, "", 1)
    await Correlations(database).write([cell], [best])


async def counts(database: Database) -> dict[str, int]:
    async with database.read() as connection:
        return {
            name: (await connection.execute(select(func.count()).select_from(Row.metadata.tables[name]))).scalar_one()
            for name in _TABLES
        }


async def test_what_is_older_than_it_is_kept_is_deleted(database: Database) -> None:
    kept = {
        "ticks": 1 * _DAY,
        "events": 2 * _DAY,
        "alerts": 3 * _DAY,
        "job_runs": 4 * _DAY,
        "metrics": 5 * _DAY,
        "correlations": 6 * _DAY,
    }
    for days in range(8):
        await write_one_of_each(database, _NOW - days * _DAY)
    retention = Retention(database, **kept)
    deleted = dict(zip(_TABLES, (6, 5, 4, 3, 5, 2, 1, 1), strict=True))
    assert await retention.run(_NOW) == deleted
    assert await counts(database) == {name: 8 - number for name, number in deleted.items()}
    assert await retention.run(_NOW) == dict.fromkeys(_TABLES, 0)
    assert len(await Candles(database, SOURCES).page(EUR_USD, bar(_NOW).granularity, start=None, end=None, limit=99)) == 8


async def test_figures_computed_just_now_from_old_bars_are_kept(database: Database) -> None:
    bars_ended = _NOW - 5000 * _DAY
    for computed in (_NOW - timedelta(seconds=1), _NOW - 366 * _DAY):
        time = bars_ended if computed > _NOW - _DAY else bars_ended - _DAY
        await Metrics(database).write([StoredMetrics("EUR_USD", "H1", time, b"{}", 0.1, False, computed)])
        await Correlations(database).write(
            [StoredCorrelation("EUR_USD", "USD_JPY", time, "H1", 100, 0.1, 100, computed)],
            [StoredBestPair("EUR_USD", "USD_JPY", time, "hedging", 0.1, 100, "", 1, computed)],
        )
    deleted = await Retention(database).run(_NOW)
    assert {table: count for table, count in deleted.items() if count} == dict.fromkeys(_TABLES[5:], 1)
    assert [row.time for row in await Metrics(database).history("EUR_USD", "H1", _NOW, 9)] == [bars_ended]
    assert [cell.time for cell in await Correlations(database).newest()] == [bars_ended]
    assert [pair.time for pair in await Correlations(database).best()] == [bars_ended]


async def test_ticks_are_kept_for_a_day_and_everything_else_for_a_year(database: Database) -> None:
    for age in (timedelta(), 2 * _DAY, 366 * _DAY):
        await write_one_of_each(database, _NOW - age)
    assert await Retention(database).run(_NOW) == {"ticks": 2} | dict.fromkeys(_TABLES[1:], 1)


@pytest.mark.parametrize("number", [4999, 5000])
async def test_any_number_of_rows_is_deleted_in_chunks(database: Database, number: int) -> None:
    long_ago = _NOW - 30 * _DAY
    milliseconds = int(long_ago.timestamp() * 1000)
    quote = Quote(EUR_USD, Decimal("1.1"), Decimal("1.2"), long_ago, "oanda")
    ticks = [Tick(f"{milliseconds}-{n}", quote) for n in range(number)]
    await Recording(database, SOURCES).write(Batch(ticks[-1].id, 1, ticks))
    assert (await Retention(database).run(_NOW))["ticks"] == number
    assert (await counts(database))["ticks"] == 0
