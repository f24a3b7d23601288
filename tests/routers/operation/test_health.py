"""Health: with everything up, and with something down."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from app.errors import DatabaseUnavailable
from app.market.clock import utc_now
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.realtime.contract.event import Draft, price_update
from app.realtime.contract.heartbeat import FeedHeartbeat, heartbeat
from app.realtime.hub.hub import Hub
from app.realtime.log.log import EventLog, open_redis
from app.realtime.monitoring.view import PriceView
from app.sources import SOURCES
from tests.private_valkey import PrivateValkey
from tests.realtime.listening import TRACKED, tick
from tests.routers.running import Rest, application, client, rest
from tests.waiting import wait_until

DOCUMENTED = ["status", "service", "timestamp", "active_clients", "max_clients"]


async def away() -> None:
    """A database that does not answer."""
    raise DatabaseUnavailable("The database does not answer: OSError")


async def test_a_healthy_gateway_tells_what_the_document_shows(api: Rest) -> None:
    response = await api.get("/health")
    body = response.json()
    assert response.status_code == 200
    assert list(body)[:5] == DOCUMENTED
    assert (body["status"], body["service"]) == ("healthy", "WebSocket Server")
    assert (body["active_clients"], body["max_clients"]) == (0, 1000)
    assert body["timestamp"].endswith("Z")
    assert body["services"] == {"redis": "connected", "database": "connected", "feed": "none"}


async def test_the_state_of_the_feed_follows_the_prices(api: Rest) -> None:
    await api.on.publish(tick())
    assert (await api.get("/health")).json()["services"]["feed"] == "live"
    old = replace(api.gateway, prices=PriceView(api.on.hub, stale_after=0, sources=SOURCES))
    async with client(application(old)) as http:
        assert (await http.get("/health")).json()["services"]["feed"] == "stale"


async def test_pairs_that_have_stopped_while_others_go_on_are_named(api: Rest) -> None:
    now = utc_now()

    def price(pair: str, seconds: float) -> Draft:
        return price_update(
            Quote(CurrencyPair.parse(pair), Decimal(1), Decimal(1), now - timedelta(seconds=seconds), "kraken"), now
        )

    await api.on.publish(price("EUR_USD", 0), price("USD_JPY", 61))
    body = (await api.get("/health")).json()
    assert (body["silent_pairs"], body["services"]["feed"]) == (["USD_JPY"], "live")
    assert "\nfx_silent_pairs 1.0\n" in (await api.get("/metrics")).text
    await api.on.publish(price("USD_JPY", 0))
    assert (await api.get("/health")).json()["silent_pairs"] == []


async def test_dropped_quotes_are_counted_as_the_feed_reports_them(api: Rest) -> None:
    assert (await api.get("/health")).json()["dropped"] == {}
    await api.on.publish(heartbeat(FeedHeartbeat(node="n1", source="kraken", simulated=False, dropped={"spike": 2})))
    assert (await api.get("/health")).json()["dropped"] == {"spike": 2}


async def test_streaming_clients_are_counted(api: Rest) -> None:
    api.on.listen("EUR_USD")
    assert (await api.get("/health")).json()["active_clients"] == 1


async def test_the_source_is_the_one_the_feed_names_or_else_the_configured_one(api: Rest) -> None:
    body = (await api.get("/health")).json()
    assert (body["source"], body["simulated"]) == ("replay", None)
    await api.on.publish(heartbeat(FeedHeartbeat(node="n1", source="simulated", simulated=True)))
    body = (await api.get("/health")).json()
    assert (body["source"], body["simulated"]) == ("simulated", True)


async def test_without_the_database_the_shape_is_the_same(valkey_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with rest(valkey_url, ping_database=away) as api:
        response = await api.get("/health")
        body = response.json()
        assert response.status_code == 503
        assert list(body)[:5] == DOCUMENTED
        assert body["status"] == "unhealthy"
        assert body["services"] == {"redis": "connected", "database": "disconnected", "feed": "none"}
        ready = await api.get("/health/ready")
        assert ready.status_code == 503
        assert ready.json() == {"status": "not ready", "reasons": ["the database does not answer"]}
    assert "health check failed: The database does not answer: OSError" in caplog.text


@pytest.mark.parametrize("end", [PrivateValkey.kill, PrivateValkey.pause])
async def test_without_redis_it_is_unhealthy_and_unready_but_alive(
    valkey: PrivateValkey, end: Callable[[PrivateValkey], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "asyncio")
    async with rest(valkey.url) as api:
        end(valkey)
        response = await api.get("/health")
        assert response.status_code == 503
        assert response.json()["status"] == "unhealthy"
        assert response.json()["services"]["redis"] == "disconnected"
        ready = await api.get("/health/ready")
        assert ready.status_code == 503
        assert ready.json() == {"status": "not ready", "reasons": ["Redis does not answer"]}
        assert (await api.get("/health/live")).status_code == 200
        valkey.kill()


async def test_the_fault_of_the_log_is_not_told_twice(valkey: PrivateValkey) -> None:
    async with rest(valkey.url) as api:
        valkey.kill()
        await wait_until(lambda: api.on.hub.log_fault is not None, "the hub has noticed")
        assert (await api.get("/health/ready")).json()["reasons"] == ["Redis does not answer"]


async def test_liveness_and_readiness(api: Rest) -> None:
    live = await api.get("/health/live")
    assert (live.status_code, live.json()) == (200, {"status": "alive", "reasons": []})
    ready = await api.get("/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "reasons": []})


async def test_a_gateway_that_stops_is_not_ready(api: Rest) -> None:
    api.on.hub.stop()
    ready = await api.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json() == {"status": "not ready", "reasons": ["the gateway is stopping"]}
    assert (await api.get("/health/live")).status_code == 200


async def test_a_gateway_that_has_not_caught_up_is_not_ready(api: Rest, valkey_url: str) -> None:
    async with open_redis(valkey_url) as redis:
        hub = Hub(EventLog(redis), TRACKED)
        async with client(application(replace(api.gateway, hub=hub))) as http:
            ready = await http.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["reasons"] == ["the gateway is catching up with the log"]


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
async def test_monitors_may_ask_with_head(api: Rest, path: str) -> None:
    response = await api.client.head(path)
    assert response.status_code == 200
