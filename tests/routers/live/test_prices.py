"""Prices: from the book, with their age and source."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from app.market.bars.candle import Ohlc
from app.market.bars.trading_day import TradingDay
from app.market.clock import utc_now
from app.realtime.contract.answers import AllPricesResponse, PriceResponse
from app.realtime.contract.event import feed_status
from app.realtime.contract.heartbeat import FeedHeartbeat, heartbeat
from app.realtime.monitoring import view
from tests.private_valkey import PrivateValkey
from tests.realtime.listening import tick
from tests.routers.running import Rest, assert_problem, rest
from tests.waiting import wait_until


@pytest.mark.parametrize("spelling", ["EUR_USD", "eur_usd", "EUR/USD", "EURUSD"])
async def test_the_newest_price_of_a_pair(api: Rest, spelling: str) -> None:
    ids = await api.on.publish(tick("EUR_USD", "1.1"), tick("EUR_USD", "1.2"), tick("USD_JPY", "150"))
    response = await api.get("/api/v1/prices/current", instrument=spelling)
    assert response.status_code == 200
    price = PriceResponse.model_validate(response.json())
    assert (price.instrument, price.id, price.source) == ("EUR_USD", ids[1], "replay")
    assert (price.price.bid, price.price.ask, price.price.mid) == ("1.20000", "1.20100", "1.20050")
    assert 0 <= price.age_ms < 60_000
    assert price.stale is False


async def test_a_pair_without_a_price_yet(api: Rest) -> None:
    response = await api.get("/api/v1/prices/current", instrument="GBP_USD")
    body = assert_problem(response, 404, "No price yet")
    assert body["error"] == "No cached price for GBP_USD"
    assert body["type"] == "urn:problem-type:fx-gateway:no-price-yet"


@pytest.mark.parametrize("instrument", ["", "XXX_YYY", "EUR_USD ", "EURUSD_", "1"])
async def test_a_pair_that_is_none(api: Rest, instrument: str) -> None:
    assert_problem(await api.get("/api/v1/prices/current", instrument=instrument), 400, "Invalid pair")


async def test_the_pair_is_needed(api: Rest) -> None:
    body = assert_problem(await api.get("/api/v1/prices/current"), 400, "Invalid request")
    assert body["error"] == "instrument: Field required"


async def test_all_prices_say_where_they_come_from(api: Rest) -> None:
    ids = await api.on.publish(tick("USD_JPY", "150"), tick("EUR_USD"))
    response = await api.get("/api/v1/prices/all")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    all_prices = AllPricesResponse.model_validate(response.json())
    assert list(all_prices.prices) == ["EUR_USD", "USD_JPY"]
    assert all_prices.pair_count == 2
    assert all_prices.cursor == ids[1]
    assert {price.source for price in all_prices.prices.values()} == {"replay"}
    assert all_prices.prices["USD_JPY"].bid == "150.000"


async def test_the_change_is_that_of_the_trading_day(api: Rest) -> None:
    await api.on.publish(tick("EUR_USD", "1.1"), tick("USD_JPY", "150"))
    now = utc_now()
    mid = Ohlc(Decimal("1.08"), Decimal("1.12"), Decimal("1.07"), Decimal("1.1"))
    pair = api.on.hub.pairs.find("EUR_USD")
    api.gateway.prices.days = {"EUR_USD": TradingDay(pair, now + timedelta(hours=1), mid, Decimal("1.0905"), date(2026, 1, 30))}
    expected = {
        "prev_close": "1.09050", "prev_close_day": "2026-01-30", "change": "0.01000", "change_pct": 0.917, "change_pips": 100.0,
        "day_open": "1.08000", "day_high": "1.12000", "day_low": "1.07000",
    }  # fmt: skip
    current = (await api.get("/api/v1/prices/current", instrument="EUR_USD")).json()
    listed = (await api.get("/api/v1/prices/all")).json()["prices"]
    assert {name: current[name] for name in expected} == expected
    assert {name: listed["EUR_USD"][name] for name in expected} == expected
    assert {listed["USD_JPY"][name] for name in expected} == {None}
    # A newer price and a newer day are shown at once.
    await api.on.publish(tick("EUR_USD", "1.13"))
    assert (await api.get("/api/v1/prices/all")).json()["prices"]["EUR_USD"]["day_high"] == "1.13050"
    api.gateway.prices.days = {}
    assert (await api.get("/api/v1/prices/all")).json()["prices"]["EUR_USD"]["day_high"] is None


async def test_all_prices_where_there_is_none(api: Rest) -> None:
    body = (await api.get("/api/v1/prices/all")).json()
    assert (body["prices"], body["pair_count"], body["cursor"]) == ({}, 0, "0-0")


async def test_without_redis_prices_are_answered_and_stale(valkey: PrivateValkey) -> None:
    async with rest(valkey.url) as api:
        await api.on.publish(tick("EUR_USD"))
        valkey.kill()
        await wait_until(lambda: api.on.hub.log_fault is not None, "the hub has noticed")
        assert (await api.get("/api/v1/prices/current", instrument="EUR_USD")).json()["stale"] is True
        assert (await api.get("/api/v1/prices/all")).json()["prices"]["EUR_USD"]["stale"] is True


async def test_prices_of_a_source_that_is_silent_are_stale_at_once(api: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.on.publish(tick("EUR_USD"), feed_status("replay", True, utc_now()))
    assert (await api.get("/api/v1/prices/current", instrument="EUR_USD")).json()["stale"] is True
    assert (await api.get("/api/v1/prices/all")).json()["prices"]["EUR_USD"]["stale"] is True
    assert (await api.get("/health")).json()["services"]["feed"] == "stale"
    await api.on.publish(feed_status("replay", False, utc_now()))
    assert (await api.get("/api/v1/prices/all")).json()["prices"]["EUR_USD"]["stale"] is False
    assert (await api.get("/health")).json()["services"]["feed"] == "live"
    # In the closed hours of its market a source may be silent.
    await api.on.publish(heartbeat(FeedHeartbeat(node="node", source="replay", simulated=False, sources={"replay": "silent"})))
    assert (await api.get("/api/v1/prices/all")).json()["prices"]["EUR_USD"]["stale"] is True
    monkeypatch.setattr(view, "is_quoting", lambda source, moment: False)
    assert (await api.get("/api/v1/prices/current", instrument="EUR_USD")).json()["stale"] is False
