from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest

from app.market.bars.candle import Granularity
from app.market.clock import rfc3339
from app.market.measures.correlation import matrix, pearson, rank
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.figures import BestPairs, CorrelationMatrix
from app.sources import SOURCES
from app.storage.alerts.states import AlertStates
from app.storage.job_runs import JobRuns
from app.storage.market.candles import Candles
from app.storage.market.correlations import Correlations, StoredCorrelation
from jobs.daily_correlation_job import CORRELATION_WINDOW, run_daily_correlation
from tests.jobs.bars import EUR_USD, GBP_USD, HOUR, USD_JPY, events, hours, job_context

_ENDED = datetime(2026, 6, 17, 21, tzinfo=UTC)
_NOW = _ENDED + timedelta(minutes=1)
_DAY = timedelta(days=1)


async def test_computes_the_matrix_and_keeps_it_where_it_is_asked_for(database_url: str, valkey_url: str) -> None:
    bars = {
        EUR_USD: hours(EUR_USD, _ENDED, 120, seed=1),
        GBP_USD: hours(GBP_USD, _ENDED - HOUR, 120, seed=2, like=1),
        USD_JPY: hours(USD_JPY, _ENDED, 40, seed=3),
    }
    async with job_context(database_url, valkey_url) as context:
        await Candles(context.database, SOURCES).write([bar for of_pair in bars.values() for bar in of_pair])
        report = await run_daily_correlation(context, _NOW)
        closes = {pair: {bar.time: float(bar.mid.close) for bar in of_pair} for pair, of_pair in bars.items()}
        cells = matrix(closes, window=CORRELATION_WINDOW)
        assert cells[EUR_USD][GBP_USD].observations == 99
        assert cells[EUR_USD][USD_JPY].value is None
        assert (report.status, report.records) == ("success", 1)
        cached = await context.cache.matrix()
        assert cached == CorrelationMatrix.of(
            cells, computed=_NOW, end=_ENDED, granularity=Granularity.H1, window=CORRELATION_WINDOW, simulated=False
        )
        assert await context.cache.best_pairs() == BestPairs.of(rank(cells), _NOW, simulated=False)
        correlations = Correlations(context.database)
        stored = {(cell.pair1, cell.pair2): cell for cell in await correlations.newest()}
        assert set(stored) == {(first.name, second.name) for first, second in combinations(bars, 2)}
        for first, second in combinations(bars, 2):
            cell = stored[first.name, second.name]
            assert (cell.correlation, cell.observations) == tuple(cells[first][second])
            assert (cell.time, cell.granularity, cell.window) == (_ENDED, "H1", CORRELATION_WINDOW)
        [best] = await correlations.best()
        [ranked] = rank(cells)
        assert (best.pair1, best.pair2, best.category, best.rank) == ("EUR_USD", "GBP_USD", ranked.category, 1)
        assert best.reason == ranked.reason
        [ready] = await events(context.log, *EventType)
        assert (ready["type"], ready["data_type"], ready["count"]) == ("data_ready", "correlations", 1)
        [run] = await JobRuns(context.database).newest(10)
        assert (run.job, run.started, run.status, run.records) == ("daily-correlation", _NOW, "success", 1)


async def test_the_window_is_the_last_hours_that_both_pairs_have(database_url: str, valkey_url: str) -> None:
    bars = {
        EUR_USD: hours(EUR_USD, _ENDED, 120, seed=1),
        GBP_USD: hours(GBP_USD, _ENDED, 120, seed=2, like=1),
        USD_JPY: hours(USD_JPY, _ENDED, 400, seed=3)[::3],
    }
    del bars[GBP_USD][40:55]
    async with job_context(database_url, valkey_url) as context:
        await Candles(context.database, SOURCES).write([bar for of_pair in bars.values() for bar in of_pair])
        await run_daily_correlation(context, _NOW)
        stored = {(cell.pair1, cell.pair2): cell for cell in await Correlations(context.database).newest()}
    for first, second in combinations(bars, 2):
        one, other = ({bar.time: float(bar.mid.close) for bar in bars[pair]} for pair in (first, second))
        times = sorted(one.keys() & other.keys())[-CORRELATION_WINDOW:]
        expected = pearson({time: one[time] for time in times}, {time: other[time] for time in times})
        assert (stored[first.name, second.name].correlation, stored[first.name, second.name].observations) == expected
    assert stored["EUR_USD", "GBP_USD"].observations == 99


@pytest.mark.parametrize("pairs", [0, 1])
async def test_without_two_pairs_there_is_nothing_to_compare(database_url: str, valkey_url: str, pairs: int) -> None:
    async with job_context(database_url, valkey_url) as context:
        await Candles(context.database, SOURCES).write(hours(EUR_USD, _ENDED, 120 * pairs))
        report = await run_daily_correlation(context, _NOW)
        assert (report.status, report.records) == ("success", 0)
        assert await context.cache.matrix() is None
        assert await events(context.log, *EventType) == []


async def test_a_change_since_the_matrix_before_is_told_once(database_url: str, valkey_url: str) -> None:
    async with job_context(database_url, valkey_url) as context:
        correlations = Correlations(context.database)
        await correlations.write([_cell("EUR_USD", "GBP_USD", -0.2), _cell("EUR_USD", "USD_JPY", None)], [])
        bars = [hours(EUR_USD, _ENDED, 100, seed=1), hours(GBP_USD, _ENDED, 100, seed=2, like=1)]
        await Candles(context.database, SOURCES).write([*bars[0], *bars[1], *hours(USD_JPY, _ENDED, 100, seed=3, like=1)])
        for minutes in range(3):
            await run_daily_correlation(context, _NOW + timedelta(minutes=minutes))
        alerts = await events(context.log, EventType.CORRELATION_ALERT)
        [cell] = [cell for cell in await correlations.newest() if (cell.pair1, cell.pair2) == ("EUR_USD", "GBP_USD")]
        assert await context.cache.matrix() is not None
        states = await AlertStates(context.database).load("correlation:")
    # A correlation that was not known before is where things begin.
    [alert] = alerts
    assert (alert["pair1"], alert["pair2"], alert["severity"]) == ("EUR_USD", "GBP_USD", "critical")
    assert alert["correlation"] == cell.correlation
    assert alert["message"].startswith("Correlation between EUR_USD and GBP_USD ")
    assert alert["timestamp"] == rfc3339(_NOW)
    assert set(states) == {f"correlation:{names}" for names in ("EUR_USD:GBP_USD", "EUR_USD:USD_JPY", "GBP_USD:USD_JPY")}


async def test_an_alert_is_told_once_where_a_run_died_before_it_was_remembered(database_url: str, valkey_url: str) -> None:
    async with job_context(database_url, valkey_url) as context:
        await Correlations(context.database).write([_cell("EUR_USD", "GBP_USD", -0.2)], [])
        bars = [*hours(EUR_USD, _ENDED, 100, seed=1), *hours(GBP_USD, _ENDED, 100, seed=2, like=1)]
        await Candles(context.database, SOURCES).write(bars)
        await run_daily_correlation(context, _NOW)
        states = AlertStates(context.database)
        remembered = await states.load("correlation:")
        before = b'{"last":-0.2,"level":{"standing":null,"told":null},"change":{"standing":null,"told":null}}'
        await states.save(dict.fromkeys(remembered, before))
        await run_daily_correlation(context, _NOW + timedelta(minutes=1))
        assert len(await events(context.log, EventType.CORRELATION_ALERT)) == 1
        assert await states.load("correlation:") == remembered


async def test_a_correlation_that_stays_is_no_news_the_day_after(database_url: str, valkey_url: str) -> None:
    async with job_context(database_url, valkey_url, correlation_thresholds="*=/0.5/,change *=0.01//") as context:
        bars = [*hours(EUR_USD, _ENDED, 90, seed=1), *hours(GBP_USD, _ENDED, 90, seed=2, like=1)]
        await Correlations(context.database).write([_cell("GBP_USD", "EUR_USD", 0.1)], [])
        await Candles(context.database, SOURCES).write(bars)
        await run_daily_correlation(context, _NOW)
        [alert] = await events(context.log, EventType.CORRELATION_ALERT)
        assert (alert["severity"], alert["threshold"]) == ("warning", 0.5)
        # Nobody has quoted since: the matrix is that of the day before, of which all is known.
        await run_daily_correlation(context, _NOW + _DAY)
        assert len(await events(context.log, EventType.CORRELATION_ALERT)) == 1
        assert len(await Correlations(context.database).before(_ENDED)) == 1


async def test_what_lies_far_back_is_computed_but_no_news(database_url: str, valkey_url: str) -> None:
    async with job_context(database_url, valkey_url) as context:
        await Correlations(context.database).write([_cell("EUR_USD", "GBP_USD", -0.2)], [])
        bars = [*hours(EUR_USD, _ENDED, 100, seed=1), *hours(GBP_USD, _ENDED, 100, seed=2, like=1)]
        await Candles(context.database, SOURCES).write(bars)
        assert (await run_daily_correlation(context, _NOW + 30 * _DAY)).records == 1
        assert [event["type"] for event in await events(context.log, *EventType)] == ["data_ready"]


async def test_invented_bars_are_left_out_where_prices_are_real(database_url: str, valkey_url: str) -> None:
    bars = [*hours(EUR_USD, _ENDED, 100), *hours(GBP_USD, _ENDED, 100, seed=2, source="simulated")]
    async with job_context(database_url, valkey_url) as context:
        await Candles(context.database, SOURCES).write(bars)
        assert (await run_daily_correlation(context, _NOW)).records == 0
    async with job_context(database_url, valkey_url, source="simulated") as context:
        assert (await run_daily_correlation(context, _NOW)).records == 1
        cached = await context.cache.matrix()
        assert cached is not None
        assert cached.simulated


def _cell(first: str, second: str, correlation: float | None) -> StoredCorrelation:
    """A cell of the matrix of the day before."""
    return StoredCorrelation(first, second, _ENDED - _DAY, "H1", CORRELATION_WINDOW, correlation, 99)
