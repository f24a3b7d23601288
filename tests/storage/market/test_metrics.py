from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.storage.database.database import Database
from app.storage.market.metrics import Metrics, StoredMetrics

_NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_ONE = StoredMetrics("EUR_USD", "H1", _NOON, b'{"atr": 0.0012}', 0.0934567890123456, False)


@pytest.fixture
def metrics(database: Database) -> Metrics:
    return Metrics(database)


async def test_the_newest_measures_of_each_pair_are_told(metrics: Metrics) -> None:
    later = replace(_ONE, time=_NOON + _HOUR, volatility=None)
    of_gbp = replace(_ONE, pair="GBP_USD", simulated=True)
    await metrics.write([later, _ONE, of_gbp])
    assert await metrics.newest(["EUR_USD", "GBP_USD", "USD_JPY"]) == {"EUR_USD": later, "GBP_USD": of_gbp}
    assert await metrics.newest([]) == {}


async def test_measures_of_a_time_take_the_place_of_those_before(metrics: Metrics) -> None:
    corrected = replace(_ONE, data=b"{}", volatility=0.1)
    await metrics.write([_ONE])
    await metrics.write([_ONE, corrected])
    await metrics.write([])
    assert await metrics.newest(["EUR_USD"]) == {"EUR_USD": corrected}
    assert await metrics.history("EUR_USD", "H1", _NOON + _HOUR, 5) == [corrected]


async def test_history_goes_back_from_before_a_moment(metrics: Metrics) -> None:
    rows = [replace(_ONE, time=_NOON + number * _HOUR, volatility=number / 3) for number in range(5)]
    others = [replace(_ONE, granularity="D"), replace(_ONE, pair="GBP_USD")]
    await metrics.write([*rows, *others])
    assert await metrics.history("EUR_USD", "H1", rows[4].time, 3) == [rows[3], rows[2], rows[1]]
    assert await metrics.history("EUR_USD", "H1", _NOON, 3) == []
    with pytest.raises(ValueError, match="positive"):
        await metrics.history("EUR_USD", "H1", _NOON, 0)
