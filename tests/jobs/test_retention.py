from datetime import UTC, datetime, timedelta

from app.market.hours.session import SESSIONS
from app.market.quote import Quote
from app.sources import SOURCES
from app.storage.job_runs import JobRuns
from app.storage.market.candles import Candles
from app.storage.market.correlations import Correlations
from app.storage.market.metrics import Metrics, StoredMetrics
from app.storage.market.sessions import MarketSessions
from app.storage.recording import Batch, Recording, StoredEvent, Tick
from jobs.daily_correlation_job import run_daily_correlation
from jobs.hourly_job import run_hourly
from jobs.retention import run_retention
from tests.jobs.bars import EUR_USD, GBP_USD, HOUR, hours, job_context

_NOW = datetime(2026, 6, 17, 21, 6, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def test_forgets_what_was_kept_as_long_as_the_settings_say(database_url: str, valkey_url: str) -> None:
    bars = hours(EUR_USD, _NOW - timedelta(days=3000), 3)
    ages = [HOUR, 5 * HOUR, 7 * HOUR, timedelta(days=9), timedelta(days=11)]
    async with job_context(database_url, valkey_url, tick_retention_hours=6, event_retention_days=10) as context:
        await Candles(context.database, SOURCES).write(bars)
        ticks = [Tick(_id(age), Quote(EUR_USD, bars[0].bid.open, bars[0].ask.open, _NOW - age, "kraken")) for age in ages]
        stored = [StoredEvent(_id(age), "data_ready", (), b"{}", _NOW - age) for age in ages]
        await Recording(context.database, SOURCES).write(Batch("1-0", 1, ticks, stored))
        metrics = Metrics(context.database)
        await metrics.write([StoredMetrics("EUR_USD", "H1", _NOW - age, b"{}", 0.1, simulated=False) for age in ages])
        runs = JobRuns(context.database)
        for age in ages:
            await runs.finish(await runs.start("hourly", _NOW - age), _NOW - age, "success", 1, None)

        report = await run_retention(context, _NOW)
        # Three prices older than six hours; an event, a measure and a run older than ten days.
        assert (report.status, report.records) == ("success", 6)
        assert [row.time for row in await metrics.history("EUR_USD", "H1", _NOW, 9)] == [_NOW - age for age in ages[:4]]
        assert await Candles(context.database, SOURCES).newest([EUR_USD], bars[0].granularity, 9) == {EUR_USD: bars}
        assert sorted(session.name for session in SESSIONS) == [
            session.name for session in await MarketSessions(context.database).all()
        ]
        [run, *earlier] = await runs.newest(9)
        assert (run.job, run.started, run.status, run.records) == ("retention", _NOW, "success", 6)
        assert [run.started for run in earlier] == [_NOW - age for age in ages[:4]]
        assert (await run_retention(context, _NOW)).records == 0


def _id(age: timedelta) -> str:
    """The id of an entry that the log got so long ago."""
    return f"{(_NOW - age - _EPOCH) // timedelta(milliseconds=1)}-0"


async def test_figures_that_the_jobs_have_just_computed_from_old_bars_stay(database_url: str, valkey_url: str) -> None:
    ended = _NOW.replace(minute=0) - timedelta(days=3000)
    bars = [*hours(EUR_USD, ended, 120), *hours(GBP_USD, ended, 120, seed=2)]
    async with job_context(database_url, valkey_url) as context:
        await Candles(context.database, SOURCES).write(bars)
        await run_hourly(context, _NOW)
        await run_daily_correlation(context, _NOW)
        assert (await run_retention(context, _NOW + timedelta(seconds=1))).records == 0
        assert set(await Metrics(context.database).newest(["EUR_USD", "GBP_USD"])) == {"EUR_USD", "GBP_USD"}
        assert len(await Correlations(context.database).newest()) == len(await Correlations(context.database).best()) == 1
        assert (await run_retention(context, _NOW + timedelta(days=400))).records > 0
        assert await Metrics(context.database).newest(["EUR_USD", "GBP_USD"]) == {}
        assert await Correlations(context.database).newest() == []
