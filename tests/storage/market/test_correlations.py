from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.storage.database.database import Database
from app.storage.market.correlations import Correlations, StoredBestPair, StoredCorrelation

_MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
_TUESDAY = _MONDAY + timedelta(days=1)
_CELLS = [
    StoredCorrelation("EUR_USD", "GBP_USD", _MONDAY, "H1", 100, 0.7123456789012345, 100),
    StoredCorrelation("EUR_USD", "USD_JPY", _MONDAY, "H1", 100, None, 3),
    StoredCorrelation("GBP_USD", "USD_JPY", _MONDAY, "H1", 100, -0.25, 90),
]
_BEST = [
    StoredBestPair("GBP_USD", "USD_JPY", _MONDAY, "diversification", -0.25, 90, "they move apart", 1),
    StoredBestPair("EUR_USD", "GBP_USD", _MONDAY, "high_correlation", 0.7123456789012345, 100, "they move together", 1),
]


@pytest.fixture
def correlations(database: Database) -> Correlations:
    return Correlations(database)


async def test_a_matrix_comes_back_by_its_pairs(correlations: Correlations) -> None:
    assert await correlations.newest() == []
    assert await correlations.best() == []
    await correlations.write(_CELLS[::-1], _BEST[::-1])
    assert await correlations.newest() == _CELLS
    assert await correlations.best() == _BEST
    assert await correlations.best("high_correlation") == _BEST[1:]
    assert await correlations.best("' OR 1=1 --") == []


async def test_the_newest_matrix_is_told_and_the_one_before_it(correlations: Correlations) -> None:
    newer = [replace(cell, time=_TUESDAY, observations=99) for cell in _CELLS]
    await correlations.write(newer, [])
    await correlations.write(_CELLS, _BEST)
    assert await correlations.newest() == newer
    assert await correlations.before(_TUESDAY) == _CELLS
    assert await correlations.before(_TUESDAY + timedelta(microseconds=1)) == newer
    assert await correlations.before(_MONDAY) == []
    assert await correlations.best() == [], "the newest matrix found none"


async def test_a_matrix_takes_the_place_of_that_of_the_same_time(correlations: Correlations) -> None:
    await correlations.write(_CELLS, _BEST)
    await correlations.write(_CELLS, _BEST)
    assert await correlations.newest() == _CELLS
    await correlations.write(_CELLS[:1], _BEST[1:])
    assert (await correlations.newest(), await correlations.best()) == (_CELLS[:1], _BEST[1:])
    await correlations.write([], [])
    assert await correlations.newest() == _CELLS[:1]


async def test_cells_of_two_times_are_a_fault_of_the_program(correlations: Correlations) -> None:
    with pytest.raises(ValueError, match="one time, not 2"):
        await correlations.write(_CELLS, [replace(_BEST[0], time=_TUESDAY)])
    assert await correlations.newest() == []
