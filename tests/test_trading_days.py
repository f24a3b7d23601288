"""The trading days that prices are shown with."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.bars.trading_day import TradingDay
from app.market.clock import utc_now
from app.market.pair import CurrencyPair
from app.realtime.monitoring.view import PriceView
from app.sources import SOURCES
from app.storage.database.database import Database, open_database
from app.storage.market.candles import Candles
from app.trading_days import keep_trading_days
from tests.postgres import PrivatePostgres, new_postgres
from tests.realtime.listening import TRACKED, Stage, stage, tick
from tests.waiting import wait_until

_EUR_USD, _USD_JPY = CurrencyPair("EUR", "USD"), CurrencyPair("USD", "JPY")
_D = Granularity.D


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.trading_days._EVERY", 0.02)


@pytest.fixture
async def on(valkey_url: str) -> AsyncIterator[Stage]:
    async with stage(valkey_url) as running:
        yield running


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(f"sqlite:///{tmp_path / 'gateway.db'}") as opened:
        await opened.migrate()
        yield opened


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    """A PostgreSQL of this module's own, to be stopped."""
    server = new_postgres()
    yield server
    server.close()


@asynccontextmanager
async def _kept(prices: PriceView, database: Database) -> AsyncGenerator[asyncio.Task[None]]:
    task = asyncio.create_task(keep_trading_days(prices, Candles(database, SOURCES), TRACKED))
    try:
        yield task
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _day(time: datetime, close: str, pair: CurrencyPair = _EUR_USD, *, complete: bool = False) -> Candle:
    ohlc = Ohlc(Decimal("1.05"), Decimal("1.35"), Decimal("1.01"), Decimal(close))
    return Candle(pair, _D, time, ohlc, ohlc, ohlc, 100, complete=complete, source="oanda")


def _two_days() -> list[Candle]:
    """The trading day of the present, and the one before it."""
    today = _D.start(utc_now())
    return [_day(_D.start(today - timedelta(hours=1)), "1.1", complete=True), _day(today, "1.2")]


async def test_a_price_is_shown_with_its_change_as_soon_as_there_are_days(on: Stage, database: Database) -> None:
    prices = PriceView(on.hub, stale_after=60, sources=SOURCES)
    await on.publish(tick("EUR_USD", "1.1995"))  # a mid of 1.2

    def shown() -> dict[str, object]:
        return {name: orjson.loads(prices.current(_EUR_USD))[name] for name in ("prev_close", "change", "day_high")}

    async with _kept(prices, database):
        assert shown() == {"prev_close": None, "change": None, "day_high": None}
        await Candles(database, SOURCES).write(_two_days())
        await wait_until(lambda: shown()["change"] is not None, "the day is known", 30)
        assert shown() == {"prev_close": "1.10000", "change": "0.10000", "day_high": "1.35000"}


async def test_days_that_change_are_read_again_and_those_of_every_pair(on: Stage, database: Database) -> None:
    prices = PriceView(on.hub, stale_after=60, sources=SOURCES)
    before, today = _two_days()
    candles = Candles(database, SOURCES)
    await candles.write([before, today])
    async with _kept(prices, database):
        await wait_until(lambda: "EUR_USD" in prices.days, "the day is known", 30)
        assert prices.days == {"EUR_USD": TradingDay.of(today, before)}
        later = replace(today, mid=replace(today.mid, high=Decimal("1.5")))
        await candles.write([later, _day(today.time, "1.3", _USD_JPY)])
        await wait_until(lambda: len(prices.days) == 2, "the day of the other is known", 30)
        await wait_until(lambda: prices.days["EUR_USD"].mid.high == Decimal("1.5"), "what has changed is known", 30)
        assert prices.days["USD_JPY"] == TradingDay.of(_day(today.time, "1.3", _USD_JPY), None)


async def test_while_the_database_is_away_the_days_stay_and_it_is_said_once(
    on: Stage, postgres: PrivatePostgres, caplog: pytest.LogCaptureFixture
) -> None:
    prices = PriceView(on.hub, stale_after=60, sources=SOURCES)
    before, today = _two_days()

    def warnings() -> int:
        return caplog.text.count("the change of the day may be out of date: The database does not answer")

    async with open_database(postgres.url, finish_within=2) as database:
        await database.migrate()
        await Candles(database, SOURCES).write([before, today])
        async with _kept(prices, database):
            await wait_until(lambda: bool(prices.days), "the day is known", 30)
            for outage in (1, 2):
                postgres.stop()
                await wait_until(lambda outage=outage: warnings() == outage, "the outage is logged", 30)  # type: ignore[misc]
                asked = prices.days
                await asyncio.sleep(0.2)  # several times it is asked for meanwhile
                assert prices.days is asked
                assert set(prices.days) == {"EUR_USD"}
                assert warnings() == outage
                postgres.start()
                await wait_until(lambda asked=asked: prices.days is not asked, "the days are read again", 30)  # type: ignore[misc]
            assert prices.days == {"EUR_USD": TradingDay.of(today, before)}
