from datetime import timedelta
from itertools import groupby
from pathlib import Path

import pytest

from app.config import Settings, load_settings
from app.market.bars.candle import Candle, Granularity, aggregate
from app.market.clock import utc_now
from app.market.hours.calendar import is_open
from app.market.pair import CurrencyPair, TrackedPairs
from app.sources import SOURCES
from app.storage.database.database import Database
from app.storage.market.candles import Candles
from app.storage.recording import Recording
from jobs.daily_correlation_job import CORRELATION_WINDOW, run_daily_correlation
from jobs.history.demonstration import fill
from jobs.hourly_job import run_hourly
from tests.jobs.bars import EUR_USD, GBP_USD, HOUR, USD_JPY, hours, job_context

_H1 = Granularity.H1


def _settings(source: str = "simulated", **others: str) -> Settings:
    return load_settings(**{"source": source, "tracked_pairs": "EUR_USD,GBP_USD,USD_JPY", **others})


async def _stored(database: Database, pair: CurrencyPair, granularity: Granularity = _H1) -> list[Candle]:
    return await Candles(database, SOURCES).page(pair, granularity, start=None, end=None, limit=10_000)


async def test_every_length_of_every_pair_is_stored_and_adds_up(database: Database) -> None:
    before = utc_now()
    made = await fill(_settings(), database)
    counted = 0
    for pair in (EUR_USD, GBP_USD, USD_JPY):
        bars = {length: await _stored(database, pair, length) for length in Granularity}
        assert min(len(of_length) for of_length in bars.values()) >= 120
        assert bars[Granularity.M1][0].time < before - timedelta(days=2)
        assert bars[Granularity.M][0].time < before - timedelta(days=3650)
        for length, of_length in bars.items():
            assert {bar.source for bar in of_length} == {"simulated"}
            assert all(bar.complete == (bar.end <= utc_now()) for bar in of_length)
            counted += len(of_length)
            if length is not Granularity.M1:
                shorter = Granularity.D if length is Granularity.M else list(Granularity)[list(Granularity).index(length) - 1]
                begins = length.end(bars[shorter][0].time - timedelta(microseconds=1))
                parts = [bar for bar in bars[shorter] if bar.time >= begins]
                assert aggregate(parts, length, utc_now()) == [bar for bar in of_length if bar.time >= begins]
        assert all(is_open(bar.time) for bar in bars[_H1])
    assert made == counted


async def test_the_recorder_continues_the_bars_that_are_not_over_at_a_first_start(database: Database) -> None:
    await fill(_settings(), database)
    continued = {(bar.pair, bar.granularity): bar for bar in await Recording(database, SOURCES).unfinished()}
    for pair in (EUR_USD, GBP_USD, USD_JPY):
        for length in Granularity:
            last = (await _stored(database, pair, length))[-1]
            assert continued.get((pair, length)) == (None if last.complete else last)


async def test_it_is_made_once(database: Database) -> None:
    await fill(_settings(), database)
    before = {pair: await _stored(database, pair) for pair in (EUR_USD, GBP_USD)}
    assert await fill(_settings(simulated_seed="7"), database) == 0
    assert {pair: await _stored(database, pair) for pair in before} == before


async def test_only_pairs_without_bars_of_the_last_month_get_some(database: Database) -> None:
    now = _H1.start(utc_now())
    recorded, past = hours(EUR_USD, now, 3, source="simulated"), hours(GBP_USD, now - timedelta(days=40), 3)
    await Candles(database, SOURCES).write([*recorded, *past])
    assert await fill(_settings(), database) > 0
    assert await _stored(database, EUR_USD) == recorded
    of_pound = await _stored(database, GBP_USD)
    assert of_pound[:3] == past
    assert [source for source, _ in groupby(bar.source for bar in of_pound)] == ["kraken", "simulated"]
    assert len(await _stored(database, USD_JPY)) > 400


@pytest.mark.parametrize("source", ["kraken", "kraken,simulated", "replay,simulated"])
async def test_nothing_is_made_up_where_prices_may_be_real(database: Database, source: str) -> None:
    assert await fill(_settings(source, replay_files="elsewhere.zip"), database) == 0
    assert await _stored(database, EUR_USD) == []


async def test_measures_and_the_matrix_can_be_computed_of_it(database_url: str, valkey_url: str) -> None:
    async with job_context(database_url, valkey_url, source=("simulated",)) as context:
        await fill(context.settings, context.database)
        now = utc_now()
        # Later than bars are waited for, so that the job need not wait for one of a running hour.
        hourly = await run_hourly(context, max(now, _H1.start(now) + timedelta(minutes=2)))
        assert (hourly.status, hourly.records) == ("success", 3)
        measures = await context.cache.metrics(context.pairs.names)
        assert {pair: of_pair.simulated for pair, of_pair in measures.items()} == dict.fromkeys(context.pairs.names, True)
        assert all(of_pair.volatility_50 for of_pair in measures.values())
        daily = await run_daily_correlation(context, now)
        assert (daily.status, daily.records) == ("success", 3)
        matrix = await context.cache.matrix()
        assert matrix is not None
        assert (matrix.simulated, matrix.window) == (True, CORRELATION_WINDOW)


@pytest.mark.usefixtures("untraced_test")
async def test_the_pairs_of_the_default_list_have_history_of_every_length(database: Database, tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    made = await fill(settings, database)
    assert made > len(TrackedPairs(settings.tracked_pairs)) * 10_000
    candles, pairs = Candles(database, SOURCES), list(TrackedPairs(settings.tracked_pairs))
    for length in Granularity:
        assert len(await candles.newest(pairs, length, 1)) == 20
    newest = await candles.newest(pairs, _H1, 1)
    assert all(bar.end > utc_now() - 4 * 24 * HOUR for [bar] in newest.values())
