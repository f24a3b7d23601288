"""Correlations and best pairs: cached, stored, or computed at once."""

from datetime import datetime, timedelta
from itertools import combinations

import pytest

from app.http.gateway import Limits
from app.market.bars.candle import Candle, Granularity
from app.market.clock import rfc3339
from app.market.measures.correlation import Matrix, ewma, matrix, pearson, rank
from app.realtime.contract.figures import BestPairs, CorrelationMatrix
from app.routers.history.correlations import PairCorrelation
from app.storage.market.correlations import StoredBestPair, StoredCorrelation
from tests.private_valkey import PrivateValkey
from tests.routers.running import FIRST, Query, Rest, assert_problem, assert_refused, bars, rest, without_database

MATRIX = "/api/v1/correlation/matrix"
PAIRS = "/api/v1/correlation/pairs"
BEST = "/api/v1/best-pairs"
NAMES = ("EUR_USD", "GBP_USD", "USD_JPY")
END = FIRST + timedelta(hours=150)


def history(source: str = "oanda", count: int = 150) -> dict[str, list[Candle]]:
    """Hours of three pairs, of which two wander alike."""
    return {name: bars(name, count, source=source, seed=seed) for name, seed in zip(NAMES, (1, 2, 1), strict=True)}


def cells_of(hours: dict[str, list[Candle]]) -> Matrix:
    return matrix({bars[0].pair: {bar.time: float(bar.mid.close) for bar in bars} for bars in hours.values()})


def matrix_of(hours: dict[str, list[Candle]]) -> CorrelationMatrix:
    """What a job caches of these bars."""
    return CorrelationMatrix.of(cells_of(hours), computed=END, end=END, granularity=Granularity.H1, window=150, simulated=False)


def best_of(hours: dict[str, list[Candle]]) -> BestPairs:
    return BestPairs.of(rank(cells_of(hours)), END, False)


async def store(api: Rest, hours: dict[str, list[Candle]], end: datetime = END) -> None:
    """Keep in the database what a job keeps there of these bars."""
    cells = cells_of(hours)
    stored = [
        StoredCorrelation(one.name, other.name, end, "H1", 150, *cells[one][other]) for one, other in combinations(cells, 2)
    ]
    best = [
        StoredBestPair(of.first.name, of.second.name, end, of.category.value, of.correlation, of.observations, of.reason, of.rank)
        for of in rank(cells)
    ]
    await api.gateway.stores.correlations.write(stored, best)


async def write_bars(api: Rest, hours: dict[str, list[Candle]]) -> None:
    for of_pair in hours.values():
        await api.gateway.stores.candles.write(of_pair)


async def the_matrix(api: Rest, **query: Query) -> CorrelationMatrix:
    response = await api.get(MATRIX, **query)
    assert response.status_code == 200, response.text
    return CorrelationMatrix.model_validate(response.json())


async def the_pairs(api: Rest, pair1: str, pair2: str, **query: Query) -> PairCorrelation:
    response = await api.get(PAIRS, pair1=pair1, pair2=pair2, **query)
    assert response.status_code == 200, response.text
    return PairCorrelation.model_validate(response.json())


async def the_best(api: Rest, **query: Query) -> BestPairs:
    response = await api.get(BEST, **query)
    assert response.status_code == 200, response.text
    answer = BestPairs.model_validate(response.json())
    assert answer.count == len(answer.pairs)
    return answer


# ---------------------------------------------------------------- cached and stored


async def test_the_cached_matrix_and_its_cells(api: Rest) -> None:
    cached = matrix_of(history())
    await api.gateway.cache.put_correlations(cached, best_of(history()))
    assert await the_matrix(api) == cached
    cell = await the_pairs(api, "usd/jpy", "EURUSD")
    assert cell.model_dump(mode="json") == {
        "pair1": "USD_JPY", "pair2": "EUR_USD", "correlation": cached.matrix["USD_JPY"]["EUR_USD"], "observations": 149,
        "granularity": "H1", "window": 150, "method": "pearson", "end": rfc3339(END), "simulated": False,
    }  # fmt: skip
    assert await the_pairs(api, "USD_JPY", "EUR_USD", method="pearson") == cell


@pytest.mark.parametrize("source", ["oanda", "simulated"])
async def test_the_stored_matrix_is_that_which_was_cached(api: Rest, source: str) -> None:
    hours, simulated = history(source), source == "simulated"
    await write_bars(api, hours)
    await store(api, history(count=80), END - timedelta(days=1))
    await store(api, hours)
    expected = matrix_of(hours).model_copy(update={"simulated": simulated})
    assert await the_matrix(api) == expected
    assert (await the_pairs(api, "EUR_USD", "GBP_USD")).correlation == expected.matrix["EUR_USD"]["GBP_USD"]
    assert await the_best(api) == best_of(hours).model_copy(update={"simulated": simulated})


async def test_best_pairs_of_a_category(api: Rest) -> None:
    for cached in (False, True):
        if cached:
            await api.gateway.cache.put_correlations(matrix_of(history()), best_of(history()))
        else:
            await store(api, history())
        [alike] = (await the_best(api, category="high_correlation")).pairs
        assert (alike.pair1, alike.pair2, alike.rank) == ("EUR_USD", "USD_JPY", 1)
        assert {pair.category for pair in (await the_best(api, category="diversification")).pairs} == {"diversification"}
        hedging = await the_best(api, category="hedging")
        assert (hedging.count, hedging.pairs, hedging.timestamp) == (0, [], rfc3339(END))
        assert (await the_best(api)).count == 3


async def test_before_the_first_matrix(api: Rest) -> None:
    for response in (await api.get(MATRIX), await api.get(PAIRS, pair1="EUR_USD", pair2="GBP_USD"), await api.get(BEST)):
        assert assert_problem(response, 404, "No data")["detail"] == "No correlations have been computed yet"


async def test_a_correlation_that_is_not_known(api: Rest) -> None:
    await api.gateway.cache.put_correlations(matrix_of(history(count=40)), best_of(history()))
    detail = "The correlation of EUR_USD and {} is not known: they have {} returns in common"
    response = await api.get(PAIRS, pair1="EUR_USD", pair2="GBP_USD")
    assert_problem(response, 404, "No data", detail=detail.format("GBP_USD", 39))
    response = await api.get(PAIRS, pair1="EUR_USD", pair2="GBP_CAD")
    assert_problem(response, 404, "No data", detail=detail.format("GBP_CAD", 0))


async def test_a_window_is_the_last_bars_that_both_pairs_have(api: Rest) -> None:
    hours = history()
    del hours["GBP_USD"][70:85]
    await write_bars(api, hours)
    cell = await the_pairs(api, "EUR_USD", "GBP_USD", window=100)
    assert (cell.observations, cell.window) == (99, 100)
    assert (await the_matrix(api, window=100)).observations["EUR_USD"]["GBP_USD"] == 99
    assert (await the_matrix(api, window=100)).matrix["EUR_USD"]["GBP_USD"] == cell.correlation


async def test_without_redis_what_is_stored_is_answered(valkey: PrivateValkey) -> None:
    async with rest(valkey.url, limits=Limits(redis=1)) as api:
        await store(api, history())
        valkey.kill()
        assert await the_matrix(api) == matrix_of(history())
        assert await the_best(api) == best_of(history())


async def test_without_the_database_what_is_cached_is_answered(valkey: PrivateValkey) -> None:
    async with without_database() as stores, rest(valkey.url, limits=Limits(redis=1), stores=stores) as api:
        await api.gateway.cache.put_correlations(matrix_of(history()), best_of(history()))
        assert await the_matrix(api) == matrix_of(history())
        assert await the_best(api) == best_of(history())
        valkey.kill()
        for response in (await api.get(MATRIX), await api.get(BEST), await api.get(MATRIX, window=30)):
            assert_problem(response, 503, "Database unavailable")


# ---------------------------------------------------------------- computed at once


async def test_each_parameter_has_a_matrix_computed_of_stored_bars(api: Rest) -> None:
    hours = history()
    await write_bars(api, hours)
    for query, first, last in (
        ({"granularity": "H1"}, 50, 150),
        ({"window": 70}, 80, 150),
        ({"end_time": rfc3339(FIRST + timedelta(hours=120))}, 20, 120),
        ({"end_time": rfc3339(FIRST + timedelta(hours=120, seconds=-1)), "window": 80}, 39, 119),
    ):
        answer = await the_matrix(api, **query)
        expected = matrix_of({name: of_pair[first:last] for name, of_pair in hours.items()})
        assert (answer.matrix, answer.observations) == (expected.matrix, expected.observations)
        assert (answer.window, answer.end) == (last - first, rfc3339(FIRST + timedelta(hours=last)))
        assert (answer.granularity, answer.pair_count, answer.simulated) == (Granularity.H1, 3, False)


async def test_two_pairs_by_either_method(api: Rest) -> None:
    hours = history(source="simulated")
    await write_bars(api, hours)
    first, second = ({bar.time: float(bar.mid.close) for bar in hours[name][50:]} for name in NAMES[:2])
    for method, measure in (("pearson", pearson), ("ewma", ewma)):
        answer = await the_pairs(api, "EUR_USD", "GBP_USD", method=method, window=100)
        assert (answer.correlation, answer.observations) == measure(first, second)
        assert (answer.method, answer.window, answer.simulated) == (method, 100, True)
    assert await the_pairs(api, "EUR_USD", "GBP_USD", method="ewma") == answer


async def test_a_short_window_needs_fewer_returns_but_never_fewer_than_twenty(api: Rest) -> None:
    await write_bars(api, history(count=20))
    await api.gateway.stores.candles.write(bars("EUR_USD", 150, seed=3) + bars("AUD_USD", 150, seed=4))
    assert (await the_pairs(api, "EUR_USD", "AUD_USD", window=21)).observations == 20
    assert (await the_matrix(api, window=21)).matrix["EUR_USD"]["GBP_USD"] is None
    assert_problem(await api.get(PAIRS, pair1="GBP_USD", pair2="USD_JPY", window=21), 404, "No data")


async def test_a_window_longer_than_one_reading(api: Rest) -> None:
    hours = {name: bars(name, 2300, seed=seed) for name, seed in (("EUR_USD", 1), ("GBP_USD", 2))}
    await write_bars(api, hours)
    assert (await the_pairs(api, "EUR_USD", "GBP_USD", window=5000)).observations == 2299
    assert (await the_pairs(api, "EUR_USD", "GBP_USD", window=2000)).observations == 1999


async def test_where_there_are_no_bars(api: Rest) -> None:
    assert_problem(await api.get(MATRIX, window=50), 404, "No data", detail="No complete H1 bars are stored")
    await write_bars(api, {"EUR_USD": bars(count=100)})
    assert_problem(await api.get(MATRIX, end_time=rfc3339(FIRST)), 404, "No data")
    assert_problem(await api.get(PAIRS, pair1="EUR_USD", pair2="GBP_USD", window=50), 404, "No data")


# ---------------------------------------------------------------- what cannot be used


async def test_values_that_cannot_be_used(api: Rest) -> None:
    table: list[tuple[dict[str, Query], str]] = [
        ({"granularity": "H2"}, "granularity"),
        ({"window": 20}, "window"),
        ({"window": 5001}, "window"),
        ({"window": "long"}, "window"),
        ({"end_time": "2026-01-05T00:00:00"}, "end_time"),
    ]
    await assert_refused(api, MATRIX, table)
    both: dict[str, Query] = {"pair1": "EUR_USD", "pair2": "GBP_USD"}
    await assert_refused(api, PAIRS, [({**both, **query}, named) for query, named in table])
    await assert_refused(api, PAIRS, [({**both, "method": "spearman"}, "method")])
    await assert_refused(api, PAIRS, [({"pair1": "EUR_USD"}, "pair2"), ({"pair2": "EUR_USD"}, "pair1")])
    await assert_refused(api, BEST, [({"category": "uncorrelated"}, "category"), ({"category": ""}, "category")])
    for one, other in (("EUR_USD", "EUR_USD"), ("EUR_USD", "eur/usd"), ("EUR_USD", "XXX_YYY"), ("", "EUR_USD")):
        assert_problem(await api.get(PAIRS, pair1=one, pair2=other), 400, "Invalid pair")
