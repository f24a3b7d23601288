"""Bars that are written by the block are those that are written one by one, on both databases."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from app.errors import DatabaseUnavailable
from app.market.bars.candle import Candle, Granularity
from app.market.blocks.block import BarBlock
from app.market.blocks.starts import micros_of
from app.market.pair import CurrencyPair
from app.sources import SOURCES
from app.storage.database.database import Database, open_database
from app.storage.market.candles import Candles
from tests.postgres import PrivatePostgres

_EUR_USD, _GBP_USD = CurrencyPair("EUR", "USD"), CurrencyPair("GBP", "USD")
_START = datetime(2024, 6, 3, tzinfo=UTC)


def _block(count: int, *, source: str = "import", pair: CurrencyPair = _EUR_USD, first: int = 0, sides: bool = True) -> BarBlock:
    times = np.array([micros_of(_START + number * timedelta(minutes=1)) for number in range(first, first + count)], np.int64)
    opens = np.random.default_rng(3).integers(1_290_000, 1_310_000, count)
    bid = np.stack([opens, opens + 90, opens - 70, opens + 11])
    mid, ask = (bid + 55, bid + 110) if sides else (bid, bid)
    return BarBlock(pair, Granularity.M1, source, times, bid, mid, ask, 6, np.arange(count))


async def _stored(database: Database, pair: CurrencyPair = _EUR_USD) -> Sequence[Candle]:
    return await Candles(database, SOURCES).page(pair, Granularity.M1, start=None, end=None, limit=100_000)


@pytest.mark.parametrize("sides", [True, False])
async def test_a_block_is_stored_as_its_bars_are(database: Database, sides: bool) -> None:
    candles, block = Candles(database, SOURCES), _block(12_345, sides=sides)
    assert await candles.write_block(block) == 12_345
    assert await _stored(database) == list(block.candles())
    assert await candles.write_block(block) == 0
    assert await candles.write(list(block.candles())) == 0
    assert await candles.count(_EUR_USD, Granularity.M1, _START, _START + timedelta(minutes=100)) == 100
    assert await candles.count(_GBP_USD, Granularity.M1, _START, _START + timedelta(minutes=100)) == 0


async def test_a_block_replaces_what_its_bars_would(database: Database) -> None:
    candles, places = Candles(database, SOURCES), product(("import", "simulated", "oanda"), (True, False))
    before = [
        replace(bar, source=source, complete=complete, volume=7)
        for bar, (source, complete) in zip(_block(6).candles(), places, strict=True)
    ]
    for source in ("import", "simulated"):
        block = _block(9, source=source)
        pound = [replace(bar, pair=_GBP_USD) for bar in before]
        await candles.write(before + pound)
        one_by_one = await candles.write([replace(bar, pair=_GBP_USD) for bar in block.candles()])
        assert await candles.write_block(block) == one_by_one
        assert await _stored(database) == [replace(bar, pair=_EUR_USD) for bar in await _stored(database, _GBP_USD)]


async def test_an_empty_block_is_nothing(database: Database) -> None:
    assert await Candles(database, SOURCES).write_block(_block(0)) == 0


async def test_a_source_with_quotation_marks_and_commas_is_only_a_text(database: Database) -> None:
    source = """a"b,c\\N'?%s:x"""
    block = _block(2, source=source)
    await Candles(database, SOURCES).write_block(block)
    assert {bar.source for bar in await _stored(database)} == {source}


async def test_a_postgresql_that_is_gone_is_unavailable_and_the_block_is_written_when_it_is_back(
    postgres: PrivatePostgres,
) -> None:
    async with open_database(postgres.url, answer_within=1, finish_within=2) as database:
        await database.migrate()
        candles = Candles(database, SOURCES)
        await candles.write_block(_block(10))
        postgres.stop()
        with pytest.raises(DatabaseUnavailable):
            await candles.write_block(_block(20))
        postgres.start()
        assert await candles.write_block(_block(20)) in (10, 20)


async def test_a_sqlite_file_that_is_read_only_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "fx.db"
    async with open_database(f"sqlite:///{path}", answer_within=0.2) as database, open_database(f"sqlite:///{path}") as other:
        await database.migrate()
        async with other.begin():
            with pytest.raises(DatabaseUnavailable):
                await Candles(database, SOURCES).write_block(_block(3))
        assert await Candles(database, SOURCES).write_block(_block(3)) == 3
