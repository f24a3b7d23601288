"""Bars for the tests of storage."""

import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path

from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.pair import CurrencyPair

EUR_USD, GBP_USD, USD_JPY = CurrencyPair("EUR", "USD"), CurrencyPair("GBP", "USD"), CurrencyPair("USD", "JPY")


def bar(
    time: str | datetime,
    close: str = "1.10050",
    *,
    pair: CurrencyPair = EUR_USD,
    granularity: Granularity = Granularity.H1,
    volume: int = 7,
    complete: bool = True,
    source: str = "oanda",
) -> Candle:
    """A bar that ends at this mid."""
    start = datetime.fromisoformat(time).replace(tzinfo=UTC) if isinstance(time, str) else time
    mid = Ohlc(Decimal("1.10010"), Decimal("1.10100"), Decimal("1.09990"), Decimal(close))
    bid, ask = _moved(mid, "-0.00005"), _moved(mid, "0.00005")
    return Candle(pair, granularity, start, bid, mid, ask, volume, complete, source)


def hours(data: Path, name: str = "eurusd", count: int | None = None) -> list[Candle]:
    """OANDA's hourly bars of a pair from 2007 on, all of them or the first."""
    pair = CurrencyPair.parse(name)
    with zipfile.ZipFile(data / "oanda" / "hour" / f"{name}.zip") as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    return [_hour(pair, line) for line in islice(lines, count)]


def _hour(pair: CurrencyPair, line: str) -> Candle:
    fields = line.split(",")
    time = datetime.strptime(fields[0], "%Y%m%d %H:%M").replace(tzinfo=UTC)
    bid, ask = [Decimal(field) for field in fields[1:5]], [Decimal(field) for field in fields[6:10]]
    mid = [(one + other) / 2 for one, other in zip(bid, ask, strict=True)]
    return Candle(pair, Granularity.H1, time, Ohlc(*bid), Ohlc(*mid), Ohlc(*ask), 0, True, "oanda")


def _moved(prices: Ohlc, by: str) -> Ohlc:
    step = Decimal(by)
    return Ohlc(prices.open + step, prices.high + step, prices.low + step, prices.close + step)
