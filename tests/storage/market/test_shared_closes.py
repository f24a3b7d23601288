from datetime import UTC, datetime, timedelta

import pytest

from app.market.bars.candle import Candle, Granularity
from app.market.pair import CurrencyPair
from app.sources import SOURCES
from app.storage.database.database import Database
from app.storage.market.candles import Candles
from app.storage.market.shared_closes import shared_closes
from tests.jobs.bars import EUR_USD, GBP_USD, USD_JPY, hours

_END = datetime(2026, 6, 17, 21, tzinfo=UTC)
_OPEN = 100


def _shared(bars: dict[CurrencyPair, list[Candle]], first: CurrencyPair, second: CurrencyPair) -> list[datetime]:
    return sorted({bar.time for bar in bars[first]} & {bar.time for bar in bars[second]})[-_OPEN:]


@pytest.mark.parametrize("holes", [0, 1, 15, 99, 150, 299])
async def test_two_pairs_share_the_whole_window_whatever_is_missing_of_one(database: Database, holes: int) -> None:
    bars = {EUR_USD: hours(EUR_USD, _END, 500), GBP_USD: hours(GBP_USD, _END, 500)}
    del bars[GBP_USD][500 - 10 - holes : 500 - 10]
    candles = Candles(database, SOURCES)
    await candles.write([bar for of_pair in bars.values() for bar in of_pair])
    found = await shared_closes(candles, list(bars), Granularity.H1, _OPEN)
    times = sorted(found[EUR_USD].closes.keys() & found[GBP_USD].closes.keys())[-_OPEN:]
    assert times == _shared(bars, EUR_USD, GBP_USD)
    assert len(times) == _OPEN


async def test_no_more_is_read_where_nothing_is_missing(database: Database) -> None:
    candles = Candles(database, SOURCES)
    await candles.write([*hours(EUR_USD, _END, 500), *hours(GBP_USD, _END, 500), *hours(USD_JPY, _END, 40)])
    found = await shared_closes(candles, [EUR_USD, GBP_USD, USD_JPY], Granularity.H1, _OPEN)
    assert {pair: len(series.closes) for pair, series in found.items()} == {EUR_USD: 100, GBP_USD: 100, USD_JPY: 40}


async def test_a_pair_that_stopped_long_ago_is_not_sought_without_end(database: Database) -> None:
    candles = Candles(database, SOURCES)
    await candles.write([*hours(EUR_USD, _END, 2000), *hours(GBP_USD, _END - timedelta(hours=1000), 1000)])
    found = await shared_closes(candles, [EUR_USD, GBP_USD], Granularity.H1, _OPEN)
    assert {pair: len(series.closes) for pair, series in found.items()} == {EUR_USD: 400, GBP_USD: 400}
