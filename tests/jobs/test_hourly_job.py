import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from app.errors import LogUnavailable, NotOffered, SourceRefused
from app.market.bars.candle import Candle, Granularity, aggregate
from app.market.clock import rfc3339
from app.market.measures.measures import MEASURE_BARS, measure
from app.market.quote import Quote, QuoteKind
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import Draft, cursor_at, data_ready, price_update
from app.realtime.contract.figures import PairMetrics
from app.realtime.log.log import open_redis
from app.sources import SOURCES
from app.storage.alerts.states import AlertStates
from app.storage.job_runs import JobRuns
from app.storage.market.candles import Candles
from app.storage.market.metrics import Metrics, StoredMetrics
from jobs.hourly_job import run_hourly
from tests.jobs.bars import EUR_USD, GBP_USD, HOUR, USD_JPY, Scripted, events, hours, job_context, source_error
from tests.private_valkey import PrivateValkey
from tests.waiting import wait_until

_ENDED = datetime(2026, 6, 17, 12, tzinfo=UTC)
_NOW = _ENDED + timedelta(minutes=2)  # so late that bars are not waited for
_CALM, _WILD = 0.0001, 0.01


async def test_measures_what_is_stored_and_keeps_it_where_it_is_asked_for(database_url: str, valkey_url: str) -> None:
    bars = [*hours(EUR_USD, _ENDED, 320, step=_CALM), *hours(GBP_USD, _ENDED - HOUR, 30, step=_CALM)]
    async with job_context(database_url, valkey_url) as context:
        await Candles(context.database, SOURCES).write(bars)
        report = await run_hourly(context, _NOW)
        expected = {
            "EUR_USD": PairMetrics.of(measure(bars[20:320]), _NOW),
            "GBP_USD": PairMetrics.of(measure(bars[320:]), _NOW),
        }
        assert (report.status, report.records) == ("success", 2)
        assert expected["EUR_USD"].bars == MEASURE_BARS
        assert await context.cache.metrics(context.pairs.names) == expected
        stored = await Metrics(context.database).newest(context.pairs.names)
        assert {pair: PairMetrics.model_validate_json(row.data) for pair, row in stored.items()} == expected
        euro = stored["EUR_USD"]
        assert (euro.time, euro.volatility, euro.simulated) == (_ENDED, expected["EUR_USD"].volatility_50, False)
        [ready] = await events(context.log, EventType.DATA_READY, EventType.VOLATILITY_ALERT)
        assert (ready["data_type"], ready["count"]) == ("metrics", 2)
        [run] = await JobRuns(context.database).newest(10)
        assert (run.job, run.started, run.status, run.records, run.error) == ("hourly", _NOW, "success", 2, None)


async def test_an_empty_database_is_no_failure(database_url: str, valkey_url: str) -> None:
    async with job_context(database_url, valkey_url) as context:
        report = await run_hourly(context, _NOW)
        assert (report.status, report.records) == ("success", 0)
        assert await events(context.log, *EventType) == []


async def test_volatilities_are_of_a_year_with_as_many_bars_as_the_settings_say(sqlite_url: str, valkey_url: str) -> None:
    bars = hours(EUR_USD, _ENDED, 60, step=_CALM)
    async with job_context(sqlite_url, valkey_url, annualization=6048) as context:
        await Candles(context.database, SOURCES).write(bars)
        await run_hourly(context, _NOW)
        assert await context.cache.metrics(["EUR_USD"]) == {"EUR_USD": PairMetrics.of(measure(bars, 6048), _NOW)}


@pytest.mark.parametrize(("source", "simulated"), [("kraken", False), ("simulated", True)])
async def test_invented_bars_are_measured_only_where_all_prices_are_invented(
    database_url: str, valkey_url: str, source: str, simulated: bool
) -> None:
    bars = [*hours(EUR_USD, _ENDED - HOUR, 60), *hours(EUR_USD, _ENDED, 1, source="simulated")]
    async with job_context(database_url, valkey_url, source=source) as context:
        await Candles(context.database, SOURCES).write(bars)
        await run_hourly(context, _NOW)
        figures = (await context.cache.metrics(["EUR_USD"]))["EUR_USD"]
    assert (figures.bars, figures.simulated) == ((61, True) if simulated else (60, False))


async def test_an_alert_is_told_once_however_often_the_job_runs(database_url: str, valkey_url: str) -> None:
    async with job_context(database_url, valkey_url) as context:
        await Candles(context.database, SOURCES).write(
            [*hours(EUR_USD, _ENDED, 60, step=_WILD), *hours(GBP_USD, _ENDED, 60, step=_CALM)]
        )
        await run_hourly(context, _NOW)
        await run_hourly(context, _NOW + timedelta(minutes=5))
        await Candles(context.database, SOURCES).write(hours(EUR_USD, _ENDED + HOUR, 61, step=_WILD))
        await run_hourly(context, _NOW + HOUR)
        [alert] = await events(context.log, EventType.VOLATILITY_ALERT)
        assert set(await AlertStates(context.database).load("volatility:")) == {"volatility:EUR_USD", "volatility:GBP_USD"}
        [first, *_] = await Metrics(context.database).history("EUR_USD", "H1", _ENDED + HOUR, 1)
    assert (alert["instrument"], alert["severity"], alert["threshold"]) == ("EUR_USD", "critical", 0.3)
    assert alert["volatility"] == first.volatility
    assert alert["message"].startswith("Volatility of EUR_USD (")
    assert alert["timestamp"] == rfc3339(_NOW)


async def test_an_alert_is_told_once_where_a_run_died_before_it_was_remembered(database_url: str, valkey_url: str) -> None:
    async with job_context(database_url, valkey_url) as context:
        await Candles(context.database, SOURCES).write(hours(EUR_USD, _ENDED, 60, step=_WILD))
        await run_hourly(context, _NOW)
        states = AlertStates(context.database)
        await states.save(dict.fromkeys(await states.load("volatility:"), b"{}"))
        await run_hourly(context, _NOW + timedelta(minutes=1))
        assert len(await events(context.log, EventType.VOLATILITY_ALERT)) == 1
        assert (await states.load("volatility:"))["volatility:EUR_USD"] != b"{}"


async def test_what_lies_far_back_is_measured_but_no_news(database_url: str, valkey_url: str) -> None:
    bars = hours(EUR_USD, _ENDED, 60, step=_WILD)
    async with job_context(database_url, valkey_url, Scripted(bars)) as context:
        await Candles(context.database, SOURCES).write(bars)
        report = await run_hourly(context, _NOW + timedelta(days=30))
        assert report.records == 1
        [ready] = await events(context.log, *EventType)
        assert ready["data_type"] == "metrics"
        assert await AlertStates(context.database).load("volatility:") == {}


async def test_multiples_are_of_the_volatilities_that_were_measured_before(database_url: str, valkey_url: str) -> None:
    def earlier(number: int, volatility: float, simulated: bool) -> StoredMetrics:
        return StoredMetrics("EUR_USD", "H1", _ENDED - number * HOUR, b"{}", volatility, simulated)

    async with job_context(database_url, valkey_url, volatility_thresholds="median *=/2/") as context:
        await Candles(context.database, SOURCES).write(hours(EUR_USD, _ENDED, 60))
        metrics = Metrics(context.database)
        await metrics.write([earlier(number, 0.01, simulated=True) for number in range(1, 100)])
        await run_hourly(context, _NOW)
        # Those of invented prices say nothing of real ones.
        assert await events(context.log, EventType.VOLATILITY_ALERT) == []
        await metrics.write([earlier(number, 0.03 + number / 10_000, simulated=False) for number in range(1, 32)])
        await run_hourly(context, _NOW)
        [alert] = await events(context.log, EventType.VOLATILITY_ALERT)
    assert (alert["severity"], alert["threshold"]) == ("warning", pytest.approx(2 * 0.0316))


async def test_fetches_what_is_missing_and_makes_larger_bars_of_it(database_url: str, valkey_url: str) -> None:
    bars = {pair: hours(pair, _ENDED, 24 * 20, seed=seed, step=_CALM) for seed, pair in enumerate((EUR_USD, GBP_USD, USD_JPY))}
    running = replace(bars[EUR_USD][-1], time=_ENDED, complete=False)
    history = Scripted([*bars[EUR_USD], running, *bars[GBP_USD], *bars[USD_JPY]])
    async with job_context(database_url, valkey_url, history, backfill_days=10) as context:
        candles = Candles(context.database, SOURCES)
        await candles.write(bars[GBP_USD][:-3])
        await candles.write(hours(USD_JPY, _ENDED, 48, source="simulated"))
        report = await run_hourly(context, _NOW)
        asked = {pair: start for pair, start, _ in history.asked}
        assert asked["EUR_USD"] == asked["USD_JPY"] == _ENDED - timedelta(days=10)
        assert asked["GBP_USD"] <= bars[GBP_USD][-4].time
        assert {end for *_, end in history.asked} == {_NOW}
        # All bars from then on: those of the other two, the running one, and three measures.
        assert report.records == 2 * 240 + 1 + 3 + 3
        assert (await candles.newest([USD_JPY], Granularity.H1, 5))[USD_JPY] == bars[USD_JPY][-5:]
        assert await candles.page(EUR_USD, Granularity.H1, start=_ENDED, end=None, limit=9) == [running]
        for granularity in (Granularity.H4, Granularity.D, Granularity.W):
            expected = aggregate([*bars[EUR_USD][-240:], running], granularity, _NOW)
            assert await candles.page(EUR_USD, granularity, start=None, end=None, limit=100) == expected
        ready = await events(context.log, EventType.DATA_READY)
        assert [(event["data_type"], event["count"]) for event in ready] == [("candles", 484), ("metrics", 3)]
        assert (await run_hourly(context, _NOW)).records == 3


async def test_a_pair_whose_bars_cannot_be_fetched_does_not_stop_the_others(database_url: str, valkey_url: str) -> None:
    bars = [*hours(EUR_USD, _ENDED, 30, step=_CALM), *hours(GBP_USD, _ENDED, 30), *hours(USD_JPY, _ENDED, 30)]
    failing = {EUR_USD: source_error(), GBP_USD: ZeroDivisionError("secret")}
    async with job_context(database_url, valkey_url, Scripted(bars, failing)) as context:
        report = await run_hourly(context, _NOW)
        assert report.status == "partial"
        # What a source gave before it failed is of use.
        assert report.records == 93
        assert len(await context.cache.metrics(context.pairs.names)) == 3
        assert (await Candles(context.database, SOURCES).newest([EUR_USD], Granularity.H4, 1))[EUR_USD][
            0
        ].end == _ENDED - 3 * HOUR
        [run] = await JobRuns(context.database).newest(10)
        assert (run.status, run.records) == ("partial", 93)
        assert run.error == "EUR_USD: Kraken has no bars of this pair; GBP_USD: fetching bars: ZeroDivisionError"


async def test_a_pair_that_the_source_does_not_have_is_no_problem(
    database_url: str, valkey_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jobs.hourly_job")
    failing = {pair: NotOffered(f"Kraken has no bars of {pair}") for pair in (EUR_USD, USD_JPY)}
    async with job_context(database_url, valkey_url, Scripted(hours(GBP_USD, _ENDED, 30, step=_CALM), failing)) as context:
        # Recorded here from the crosses of the feed, and measured all the same.
        await Candles(context.database, SOURCES).write(hours(EUR_USD, _ENDED, 30, step=_CALM))
        report = await run_hourly(context, _NOW)
        assert (report.status, report.records, report.error) == ("success", 32, None)
        assert await context.cache.metrics(context.pairs.names) == {
            pair.name: PairMetrics.of(measure(hours(pair, _ENDED, 30, step=_CALM)), _NOW) for pair in (EUR_USD, GBP_USD)
        }
    records = [record for record in caplog.records if record.name == "jobs.hourly_job"]
    assert [(record.levelname, record.getMessage()) for record in records] == [
        ("INFO", "kraken has no H1 bars of EUR_USD, USD_JPY")
    ]


async def test_a_source_that_refuses_us_is_not_asked_for_every_pair(sqlite_url: str, valkey_url: str) -> None:
    history = Scripted([], {EUR_USD: SourceRefused("Kraken does not know us")})
    async with job_context(sqlite_url, valkey_url, history) as context:
        report = await run_hourly(context, _NOW)
    assert (report.status, report.error) == ("failed", "EUR_USD: Kraken does not know us")
    assert [pair for pair, *_ in history.asked] == ["EUR_USD"]


async def test_a_price_is_live_where_it_is_in_the_log_since_shortly_before_the_end_of_the_bars(
    sqlite_url: str, valkey_url: str
) -> None:
    """Prices live five minutes in Redis: those of GBP_USD and USD_JPY do at the end of the bars, behind pages of other events."""
    bars = {pair: hours(pair, _ENDED, 30, step=_CALM) for pair in (EUR_USD, GBP_USD, USD_JPY)}

    async def write(redis: Redis, number: int, moment: datetime, draft: Draft) -> None:
        await redis.xadd("fx:events", {"n": number, "t": draft.type, "d": draft.data}, id=f"{cursor_at(moment)[:-1]}{number}")

    def price(bar: Candle) -> Draft:
        return price_update(Quote(bar.pair, bar.bid.close, bar.ask.close, _ENDED, "kraken"), _ENDED)

    async with job_context(sqlite_url, valkey_url, Scripted([bar for of_pair in bars.values() for bar in of_pair])) as context:
        async with open_redis(valkey_url) as redis:
            await write(redis, 1, _ENDED - timedelta(seconds=301), price(bars[EUR_USD][-1]))
            await write(redis, 2, _ENDED - timedelta(seconds=299), price(bars[GBP_USD][-1]))
            for number in range(3, 1203):
                await write(redis, number, _ENDED, data_ready("prices", number, _ENDED))
            await write(redis, 1203, _ENDED, price(bars[USD_JPY][-1]))
        await run_hourly(context, _NOW)
        *_, made = await events(context.log, EventType.PRICE_UPDATE)
        prices = [event["instrument"] for event in await events(context.log, EventType.PRICE_UPDATE)]
    assert prices == ["EUR_USD", "GBP_USD", "USD_JPY", "EUR_USD"]
    assert (made["kind"], made["price"]["time"]) == (QuoteKind.INDICATIVE, rfc3339(_ENDED))


async def test_a_pair_without_a_live_price_gets_the_last_of_its_bar(database_url: str, valkey_url: str) -> None:
    bars = [*hours(EUR_USD, _ENDED, 30, step=_CALM), *hours(GBP_USD, _ENDED, 30, step=_CALM)]
    async with job_context(database_url, valkey_url, Scripted(bars)) as context:
        live = Quote(GBP_USD, bars[-1].bid.close, bars[-1].ask.close, _NOW, "kraken")
        # The log says by its own clock when it was told of a price, and that is long after these bars.
        await context.publisher.publish([price_update(live, _NOW)])
        await run_hourly(context, _NOW)
        await run_hourly(context, _NOW + timedelta(minutes=1))
        [first, second] = await events(context.log, EventType.PRICE_UPDATE)
    assert first["instrument"] == "GBP_USD"
    assert (second["instrument"], second["source"], second["kind"]) == ("EUR_USD", "kraken", QuoteKind.INDICATIVE)
    newest = bars[29]
    assert second["price"] == {
        "bid": f"{newest.bid.close:.5f}",
        "ask": f"{newest.ask.close:.5f}",
        "mid": f"{newest.mid.close:.5f}",
        "time": rfc3339(_ENDED),
    }


async def test_without_history_no_prices_are_made_of_bars(sqlite_url: str, valkey_url: str) -> None:
    async with job_context(sqlite_url, valkey_url) as context:
        await Candles(context.database, SOURCES).write(hours(EUR_USD, _ENDED, 30, step=_CALM))
        await run_hourly(context, _NOW)
        assert await events(context.log, EventType.PRICE_UPDATE) == []


async def test_waits_for_the_bars_of_the_hour(database_url: str, valkey_url: str) -> None:
    bars = hours(EUR_USD, _ENDED, 30, step=_CALM)
    async with job_context(database_url, valkey_url, hourly_job_delay=0.1) as context:
        candles = Candles(context.database, SOURCES)
        # The second pair has not been quoted for two hours, so nothing is waited for there.
        await candles.write([*bars[:-1], replace(bars[-1], complete=False), *hours(GBP_USD, _ENDED - 2 * HOUR, 30, step=_CALM)])
        running = asyncio.create_task(run_hourly(context, _ENDED, patience=60))
        await wait_until(lambda: _is_running(context.database), "the run has begun")
        await candles.write([bars[-1]])
        await running
        assert (await context.cache.metrics(["EUR_USD"]))["EUR_USD"].end == rfc3339(_ENDED)


async def test_takes_what_is_there_where_a_bar_does_not_come(
    sqlite_url: str, valkey_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with job_context(sqlite_url, valkey_url, hourly_job_delay=0.1) as context:
        await Candles(context.database, SOURCES).write(hours(EUR_USD, _ENDED - HOUR, 30, step=_CALM))
        await run_hourly(context, _ENDED, patience=0.1)
        assert (await context.cache.metrics(["EUR_USD"]))["EUR_USD"].end == rfc3339(_ENDED - HOUR)
    assert "the bars of the hour from 2026-06-17T11:00:00.000000Z are still missing: EUR_USD" in caplog.text


async def test_no_bar_is_waited_for_that_falls_into_closed_hours(
    sqlite_url: str, valkey_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    closed = datetime(2026, 6, 19, 21, tzinfo=UTC)  # a Friday, 17:00 in New York
    async with job_context(sqlite_url, valkey_url, hourly_job_delay=0.1) as context:
        await Candles(context.database, SOURCES).write(hours(EUR_USD, closed, 30, source="oanda"))
        await run_hourly(context, closed + HOUR, patience=0.1)
    assert "missing" not in caplog.text


async def test_a_run_that_cannot_reach_redis_is_noted_and_has_stored_its_measures(
    database_url: str, valkey: PrivateValkey
) -> None:
    async with job_context(database_url, valkey.url) as context:
        await Candles(context.database, SOURCES).write(hours(EUR_USD, _ENDED, 30, step=_CALM))
        valkey.kill()
        with pytest.raises(LogUnavailable):
            await run_hourly(context, _NOW)
        [run] = await JobRuns(context.database).newest(10)
        assert (run.status, run.error) == ("failed", "Redis does not answer: ConnectionError")
        assert set(await Metrics(context.database).newest(context.pairs.names)) == {"EUR_USD"}
        valkey.start()
        assert (await run_hourly(context, _NOW)).status == "success"


async def test_a_run_that_is_stopped_is_noted(database_url: str, valkey_url: str) -> None:
    async with job_context(database_url, valkey_url, hourly_job_delay=0.1) as context:
        await Candles(context.database, SOURCES).write(hours(EUR_USD, _ENDED - HOUR, 30, step=_CALM))
        running = asyncio.create_task(run_hourly(context, _ENDED, patience=60))
        await wait_until(lambda: _is_running(context.database), "the run has begun")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        [run] = await JobRuns(context.database).newest(10)
    assert (run.status, run.error) == ("failed", "It was stopped")


async def test_prices_that_cannot_be_measured_concern_their_pair_alone(sqlite_url: str, valkey_url: str) -> None:
    bars = hours(EUR_USD, _ENDED, 30, step=_CALM)
    wrong = replace(bars[-1], mid=replace(bars[-1].mid, low=bars[-1].mid.high + 1))
    async with job_context(sqlite_url, valkey_url) as context:
        await Candles(context.database, SOURCES).write([*bars[:-1], wrong, *hours(GBP_USD, _ENDED, 30, step=_CALM)])
        report = await run_hourly(context, _NOW)
        assert list(await context.cache.metrics(context.pairs.names)) == ["GBP_USD"]
    assert (report.status, report.records, report.error) == ("partial", 1, "EUR_USD: measuring: ValueError")


async def _is_running(database: Any) -> bool:
    return [run.status for run in await JobRuns(database).newest(1)] == ["running"]
