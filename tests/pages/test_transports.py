"""How the dashboard keeps its stream: barred ways, restarts, and what is lost."""

from itertools import count
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Response, Route, WebSocketRoute, expect

from app.realtime.log.log import Publisher, open_redis
from tests.examples.news import price, volatility
from tests.gateways import gateway
from tests.pages.conftest import OpenPage
from tests.pages.dashboard import alerts, bid, is_live

pytestmark = pytest.mark.asyncio(loop_scope="module")

_HZ = 20
_SECONDS = 3


async def test_where_websockets_are_barred_it_is_an_event_stream_and_better_ways_are_tried_again(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path, screenshots: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_page() as page:
        await page.clock.install()
        barred = True
        await page.route_web_socket("**/socket.io/**", lambda socket: _close(socket) if barred else socket.connect_to_server())
        await page.goto(running.url)
        await is_live(page, "EventSource")
        await publisher.publish([price("EUR_USD", 1)])
        await expect(bid(page, "EUR_USD")).to_have_text("1.10100")
        await page.screenshot(path=screenshots / "eventsource.png")

        barred = False
        await page.clock.fast_forward(20_000)
        await is_live(page, "WebSocket")
        await publisher.publish([price("EUR_USD", 2)])
        await expect(bid(page, "EUR_USD")).to_have_text("1.10200")


async def test_where_nothing_comes_through_a_websocket_it_is_an_event_stream(
    open_page: OpenPage, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_page() as page:
        await page.route_web_socket("**/socket.io/**", _swallow)
        await page.goto(running.url)
        await is_live(page, "EventSource")


async def test_where_both_are_barred_it_polls(open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_page() as page:
        await page.route_web_socket("**/socket.io/**", _close)
        await page.route("**/stream?**", _abort)
        await page.goto(running.url)
        await is_live(page, "Polling")
        await publisher.publish([price("EUR_USD", 1)])
        await expect(bid(page, "EUR_USD")).to_have_text("1.10100")


@pytest.mark.parametrize("transport", ["WebSocket", "EventSource"])
async def test_it_reads_compact_prices_and_knows_from_the_start_that_they_are_invented(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path, transport: str
) -> None:
    rows: list[str] = []
    streams: list[Response] = []
    await publisher.publish([price("EUR_USD", 1, "simulated")])
    async with gateway(valkey_url, tmp_path) as running, open_page() as page:
        if transport != "WebSocket":
            await page.route_web_socket("**/socket.io/**", _close)
        page.on("websocket", lambda socket: socket.on("framereceived", lambda data: rows.append(str(data))))
        page.on("response", lambda answer: streams.append(answer) if "/stream?" in answer.url else None)
        await page.route("**/api/**", _abort)
        await page.goto(running.url)
        await is_live(page, transport)
        await expect(page.get_by_text("Simulated data", exact=True)).to_be_visible()
        await page.unroute("**/api/**")
        await page.reload()
        await is_live(page, transport)
        await expect(bid(page, "EUR_USD")).to_have_text("1.10100")
        await publisher.publish([price("EUR_USD", 2, "simulated")])
        await expect(bid(page, "EUR_USD")).to_have_text("1.10200")
        if transport == "WebSocket":
            assert any('["price_update",["EUR_USD","1.10200","1.10220",' in row for row in rows)
        else:
            assert all("format=compact" in answer.url for answer in streams)
            assert {await answer.header_value("content-encoding") for answer in streams} == {"gzip"}


@pytest.mark.parametrize("transport", ["WebSocket", "EventSource", "Polling"])
async def test_after_a_restart_it_goes_on_from_its_cursor_and_misses_nothing(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path, port: int, transport: str, screenshots: Path
) -> None:
    async with open_page() as page:
        if transport != "WebSocket":
            await page.route_web_socket("**/socket.io/**", _close)
        if transport == "Polling":
            await page.route("**/stream?**", _abort)
        numbers = count()
        async with gateway(valkey_url, tmp_path, websocket_port=port):
            await page.goto(f"http://127.0.0.1:{port}")
            await is_live(page, transport)
            ids = await _publish(publisher, numbers, 3)
            await expect(alerts(page)).to_have_count(3)
        await expect(page.locator("#state")).to_have_text("Offline")
        await expect(page.locator("#reason")).to_contain_text("Prices below are the last ones received")
        await page.screenshot(path=screenshots / f"offline-{transport.lower()}.png")
        ids += await _publish(publisher, numbers, 30)
        async with gateway(valkey_url, tmp_path, websocket_port=port):
            await is_live(page, transport)
            await expect(page.locator("#reason")).to_have_text("Resumed, nothing missed")
            ids += await _publish(publisher, numbers, 3)
            await expect(alerts(page)).to_have_count(36)
            assert await alerts(page).evaluate_all("items => items.map((item) => item.dataset.id).reverse()") == ids
            await expect(bid(page, "EUR_USD")).to_have_text("1.13500")


async def test_what_could_not_be_resumed_is_loaded_anew_and_said(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path, port: int
) -> None:
    async with open_page() as page:
        async with gateway(valkey_url, tmp_path, websocket_port=port, event_log_length=1000):
            await page.goto(f"http://127.0.0.1:{port}")
            await is_live(page, "WebSocket")
            await publisher.publish([price("EUR_USD", 1)])
            await expect(bid(page, "EUR_USD")).to_have_text("1.10100")
        await expect(page.locator("#state")).to_have_text("Offline")
        async with open_redis(valkey_url) as redis:
            await redis.flushall()
        await publisher.publish([price("EUR_USD", 7)])
        async with gateway(valkey_url, tmp_path, websocket_port=port):
            await is_live(page, "WebSocket")
            await expect(page.locator("#reason")).to_contain_text("some updates were missed")
            await expect(bid(page, "EUR_USD")).to_have_text("1.10700")
            await publisher.publish([price("EUR_USD", 8)])
            await expect(bid(page, "EUR_USD")).to_have_text("1.10800")


async def test_events_that_the_gateway_itself_has_lost_are_told(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_page() as page, open_redis(valkey_url) as redis:
        await page.goto(running.url)
        await is_live(page, "WebSocket")
        await publisher.publish([price("EUR_USD", 1)])
        await redis.incrby("fx:seq", 3)
        await publisher.publish([price("EUR_USD", 2)])
        await expect(page.locator("#reason")).to_contain_text("some updates were missed")
        await expect(bid(page, "EUR_USD")).to_have_text("1.10200")


async def test_a_page_for_which_there_is_no_place_says_so_and_waits_for_one(
    open_page: OpenPage, valkey_url: str, tmp_path: Path
) -> None:
    async with (
        gateway(valkey_url, tmp_path, websocket_max_clients=1) as running,
        httpx.AsyncClient(base_url=running.url) as other,
        open_page() as page,
    ):
        async with other.stream("GET", "/stream/EUR_USD"):
            await page.goto(running.url)
            await expect(page.locator("#reason")).to_contain_text("Max clients reached")
        await expect(page.locator("#state")).to_have_text("Live")


async def _publish(publisher: Publisher, numbers: "count[int]", how_many: int) -> list[str]:
    """Alerts and prices; the ids of the alerts."""
    ids = []
    for _ in range(how_many):
        number = next(numbers)
        published = await publisher.publish([price("EUR_USD", number), volatility("EUR_USD", message=f"number {number}")])
        ids.append(published[1])
    return ids


async def _close(socket: WebSocketRoute) -> None:
    await socket.close()


def _swallow(socket: WebSocketRoute) -> None:
    """Accept the browser's connection and never send anything on it."""


async def _abort(route: Route) -> None:
    await route.abort()
