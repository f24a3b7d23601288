"""Measures: cached, stored, or computed at once."""

from datetime import datetime, timedelta
from typing import Any

from app.http.gateway import Limits
from app.market.bars.candle import Candle, Granularity
from app.market.clock import rfc3339, utc_now
from app.market.measures.measures import measure
from app.market.measures.volatility import BARS_PER_YEAR
from app.realtime.contract.figures import PairMetrics
from app.realtime.contract.heartbeat import FeedHeartbeat, heartbeat
from app.routers.history.metrics import AllMetrics, MetricsOfPair
from app.storage.market.metrics import StoredMetrics
from tests.private_valkey import PrivateValkey
from tests.routers.running import FIRST, Query, Rest, assert_problem, assert_refused, bars, rest, without_database

ALL = "/api/v1/metrics/volatility"
PATH = f"{ALL}/EUR_USD"


def figures(candles: list[Candle], computed: datetime = FIRST) -> PairMetrics:
    return PairMetrics.of(measure(candles), computed)


def stored(metrics: PairMetrics, pair: str = "EUR_USD", time: datetime = FIRST) -> StoredMetrics:
    return StoredMetrics(pair, "H1", time, metrics.model_dump_json().encode(), metrics.volatility_20, metrics.simulated)


async def measured(api: Rest, **query: Query) -> PairMetrics:
    """What is answered for EUR_USD, checked against its model."""
    response = await api.get(PATH, **query)
    assert response.status_code == 200, response.text
    answer = MetricsOfPair.model_validate(response.json())
    assert answer.instrument == "EUR_USD"
    return answer.metrics


def same(first: PairMetrics, second: PairMetrics) -> bool:
    """Whether two measurements differ in nothing but when they were made."""
    return first.model_copy(update={"cached_at": ""}) == second.model_copy(update={"cached_at": ""})


async def all_metrics(api: Rest) -> dict[str, Any]:
    response = await api.get(ALL)
    assert response.status_code == 200, response.text
    answer = AllMetrics.model_validate(response.json())
    assert answer.pair_count == len(answer.metrics)
    return dict(answer.metrics)


# ---------------------------------------------------------------- cached and stored


async def test_cached_measures_come_first_and_stored_ones_fill_the_holes(api: Rest) -> None:
    new, old = figures(bars(count=60)), figures(bars(count=30))
    await api.gateway.stores.metrics.write([stored(old, "EUR_USD"), stored(old, "GBP_USD"), stored(old, "USD_SEK")])
    await api.gateway.cache.put_metrics({"USD_JPY": new, "EUR_USD": new})
    found = await all_metrics(api)
    assert found == {"EUR_USD": new, "GBP_USD": old, "USD_JPY": new}
    assert list(found) == ["EUR_USD", "GBP_USD", "USD_JPY"]
    assert await measured(api) == new
    assert (await api.get(f"{ALL}/gbpusd")).json()["metrics"] == old.model_dump(mode="json")


async def test_the_newest_stored_measures_count(api: Rest) -> None:
    new, old = figures(bars(count=60)), figures(bars(count=30))
    await api.gateway.stores.metrics.write([stored(new, time=FIRST + timedelta(hours=1)), stored(old)])
    assert await measured(api) == new


async def test_where_nothing_was_measured(api: Rest) -> None:
    assert_problem(await api.get(ALL), 404, "No data")
    assert assert_problem(await api.get(PATH), 404, "No data")["detail"] == "Nothing has been measured of EUR_USD yet"


async def test_rows_of_another_version_are_passed_over(api: Rest) -> None:
    await api.gateway.stores.metrics.write([StoredMetrics("EUR_USD", "H1", FIRST, b'{"volatility_20":1}', 1.0, False)])
    assert_problem(await api.get(PATH), 404, "No data")


async def test_without_redis_stored_measures_are_answered(valkey: PrivateValkey) -> None:
    async with rest(valkey.url, limits=Limits(redis=1)) as api:
        kept = figures(bars(count=60))
        await api.gateway.stores.metrics.write([stored(kept)])
        valkey.kill()
        assert await all_metrics(api) == {"EUR_USD": kept}
        assert await measured(api) == kept
        assert_problem(await api.get(f"{ALL}/USD_JPY"), 404, "No data")


async def test_without_the_database_cached_measures_are_answered(valkey: PrivateValkey) -> None:
    async with without_database() as stores, rest(valkey.url, limits=Limits(redis=1), stores=stores) as api:
        kept = figures(bars(count=60))
        await api.gateway.cache.put_metrics({"EUR_USD": kept})
        assert await all_metrics(api) == {"EUR_USD": kept}
        assert await measured(api) == kept
        assert_problem(await api.get(f"{ALL}/USD_JPY"), 503, "Database unavailable")
        valkey.kill()
        assert_problem(await api.get(ALL), 503, "Database unavailable")
        assert_problem(await api.get(PATH), 503, "Database unavailable")
        assert_problem(await api.get(PATH, bars=20), 503, "Database unavailable")


# ---------------------------------------------------------------- computed at once


async def test_each_parameter_has_measures_computed_of_stored_bars(api: Rest) -> None:
    hours = bars(count=400)
    days = bars(count=40, granularity=Granularity.D, start=Granularity.D.start(FIRST))
    await api.gateway.stores.candles.write(hours + days)
    await api.gateway.cache.put_metrics({"EUR_USD": figures(hours[:30])})
    assert same(await measured(api, granularity="H1"), figures(hours[-300:]))
    assert same(await measured(api, granularity="D"), figures(days))
    assert same(await measured(api, bars=60), figures(hours[-60:]))
    end = hours[349].end
    assert same(await measured(api, end_time=rfc3339(end)), figures(hours[50:350]))
    last_moment = rfc3339(end - timedelta(microseconds=1))
    assert same(await measured(api, end_time=last_moment, bars=25), figures(hours[324:349]))
    computed = await measured(api, bars=2)
    assert (computed.bars, computed.volatility_20, computed.annualization) == (2, None, 6240)
    assert computed.cached_at <= rfc3339(utc_now())


async def test_many_bars_are_read_in_parts_and_yet_are_whole(api: Rest) -> None:
    hours = bars(count=2500)
    await api.gateway.stores.candles.write(hours)
    assert same(await measured(api, bars=2400), figures(hours[100:]))
    assert same(await measured(api, bars=5000), figures(hours))
    assert same(await measured(api, bars=2000, end_time=rfc3339(hours[1999].end)), figures(hours[:2000]))


async def test_unfinished_bars_are_left_out(api: Rest) -> None:
    hours = bars(count=60, unfinished=True)
    await api.gateway.stores.candles.write(hours)
    assert same(await measured(api, bars=30), figures(hours[29:59]))


async def test_bars_a_year_are_those_of_the_gateway(valkey_url: str) -> None:
    async with rest(valkey_url, annualization={**BARS_PER_YEAR, Granularity.H1: 6048}) as api:
        hours = bars(count=60)
        await api.gateway.stores.candles.write(hours)
        assert same(await measured(api, bars=60), PairMetrics.of(measure(hours, 6048), FIRST))


async def test_real_and_invented_bars_are_never_mixed(api: Rest) -> None:
    real, later = bars(count=50), FIRST + timedelta(hours=50)
    invented = bars(count=40, start=later, source="simulated", seed=2)
    await api.gateway.stores.candles.write(real + invented)
    assert api.gateway.real_only is False
    assert same(await measured(api, bars=300), figures(invented).model_copy(update={"simulated": True}))
    assert same(await measured(api, end_time=rfc3339(later)), figures(real))
    await api.on.publish(heartbeat(FeedHeartbeat(node="n1", source="oanda", simulated=False)))
    assert api.gateway.real_only is True
    assert same(await measured(api, bars=300), figures(real))


async def test_where_there_are_no_bars(api: Rest) -> None:
    await api.gateway.stores.candles.write(bars(count=3))
    assert_problem(await api.get(PATH, granularity="D"), 404, "No data")
    assert_problem(await api.get(PATH, end_time=rfc3339(FIRST)), 404, "No data")


async def test_values_that_cannot_be_used(api: Rest) -> None:
    table: list[tuple[dict[str, Query], str]] = [
        ({"granularity": "H2"}, "granularity"),
        ({"bars": 1}, "bars"),
        ({"bars": 5001}, "bars"),
        ({"bars": "many"}, "bars"),
        ({"end_time": "2026-01-05T00:00:00"}, "end_time"),
        ({"end_time": "soon"}, "end_time"),
    ]
    await assert_refused(api, PATH, table)
    assert_problem(await api.get(f"{ALL}/XXX_YYY"), 400, "Invalid pair")


async def test_only_so_much_is_computed_at_once(valkey_url: str) -> None:
    async with rest(valkey_url, limits=Limits(computing=0.05)) as api:
        await api.gateway.stores.candles.write(bars(count=30))
        async with api.gateway.computing():
            response = await api.get(PATH, bars=20)
            assert_problem(response, 429, "Too many requests")
            assert response.headers["retry-after"] == "1"
        assert (await api.get(PATH, bars=20)).status_code == 200
