"""Bars as texts are the bars that are stored."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from app.market.bars.candle import Granularity, Ohlc
from app.market.clock import rfc3339
from app.sources import SOURCES
from app.storage.database.database import Database
from app.storage.market.bar_texts import BarReader
from app.storage.market.candles import Candles
from tests.storage.bars import EUR_USD, hours


async def test_texts_have_every_digit_that_was_stored(database: Database, fx_data: Path) -> None:
    bars = hours(fx_data, count=300)
    bars[7] = replace(bars[7], mid=Ohlc.of(Decimal("1.123456789012")), bid=Ohlc.of(Decimal("1.10")), complete=False)
    await Candles(database, SOURCES).write(bars)
    reader = BarReader(database)
    read = await reader.page(EUR_USD, Granularity.H1, start=bars[0].time, end=None, limit=1000)
    for bar, texts in zip(bars, read, strict=True):
        assert (texts.time, texts.volume, bool(texts.complete), texts.source) == (
            rfc3339(bar.time), bar.volume, bar.complete, bar.source
        )  # fmt: skip
        for side, ohlc in (("bid", bar.bid), ("mid", bar.mid), ("ask", bar.ask)):
            told = [getattr(texts, f"{side}_{name}") for name in ("open", "high", "low", "close")]
            assert told == [str(price) for price in (ohlc.open, ohlc.high, ohlc.low, ohlc.close)]


async def test_pages_are_those_of_the_bars(database: Database, fx_data: Path) -> None:
    bars = hours(fx_data, count=50)
    candles, reader = Candles(database, SOURCES), BarReader(database)
    await candles.write(bars)
    for start, end, limit in ((None, None, 7), (bars[3].time, None, 7), (bars[3].time, bars[5].time, 7), (None, bars[5].time, 3)):
        page = await candles.page(EUR_USD, Granularity.H1, start=start, end=end, limit=limit)
        read = await reader.page(EUR_USD, Granularity.H1, start=start, end=end, limit=limit)
        assert [texts.time for texts in read] == [rfc3339(bar.time) for bar in page]
