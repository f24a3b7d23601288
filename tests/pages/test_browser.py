"""What the dashboard shows, and how it is used: in Chromium, on a gateway that answers."""

import asyncio
import json
from functools import partial
from pathlib import Path
from time import perf_counter

import pytest
from playwright.async_api import Route, WebSocketRoute, expect

from app.market.pair import DEFAULT_PAIRS
from app.realtime.log.log import Publisher
from tests.examples.news import price
from tests.gateways import gateway
from tests.pages.conftest import OpenPage, Record
from tests.pages.dashboard import bid, cells, is_live

pytestmark = pytest.mark.asyncio(loop_scope="module")

_HZ = 20
_SECONDS = 3


async def test_all_pairs_are_shown_at_once_with_bid_ask_and_spread(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path, screenshots: Path, record_property: Record
) -> None:
    await publisher.publish([price(pair, number, "simulated") for number, pair in enumerate(DEFAULT_PAIRS)])
    async with gateway(valkey_url, tmp_path) as running, open_page() as page:
        begun = perf_counter()
        await page.goto(running.url)
        await expect(bid(page, "EUR_USD")).to_have_text("1.10000")
        record_property("seconds_to_first_price", round(perf_counter() - begun, 3))
        await expect(page.locator("#prices tr")).to_have_count(20)
        for place, text in enumerate(["1.10000", "1.10020", "2.0", "–"]):
            await expect(cells(page, "EUR_USD").nth(place)).to_have_text(text)
        await expect(bid(page, "USD_JPY")).to_have_text("1.102")
        await expect(page.get_by_text("Simulated data", exact=True)).to_be_visible()
        await expect(page.locator(".connection")).to_contain_text("Live WebSocket")
        await expect(page.locator("#latency")).to_contain_text("ms")
        await page.screenshot(path=screenshots / "wide.png", full_page=True)


async def test_a_change_is_shown_as_it_comes_and_flashes_in_its_direction(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path
) -> None:
    await publisher.publish([price("EUR_USD", 5)])
    async with gateway(valkey_url, tmp_path) as running, open_page() as page:
        await page.goto(running.url)
        await is_live(page, "WebSocket")
        await expect(page.get_by_text("Simulated data", exact=True)).to_be_hidden()
        for number, direction in ((6, "up"), (4, "down")):
            watched = asyncio.ensure_future(page.wait_for_selector(f'tr[data-pair="EUR_USD"][data-flash="{direction}"]'))
            await publisher.publish([price("EUR_USD", number)])
            await watched
            await expect(bid(page, "EUR_USD")).to_have_text(f"1.10{number}00")
        await expect(page.locator("tr[data-flash]")).to_have_count(0)


@pytest.mark.parametrize("first", ["answer", "stream"])
async def test_a_stale_price_is_grey_and_says_so_until_a_new_one_comes(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path, screenshots: Path, first: str
) -> None:
    await publisher.publish([price("EUR_USD", 1), price("GBP_USD", 1)])
    async with gateway(valkey_url, tmp_path) as running, open_page() as page:
        row = page.locator('tr[data-pair="EUR_USD"]')

        async def answer(route: Route) -> None:
            if first == "stream":
                await expect(bid(page, "EUR_USD")).to_have_text("1.10100")
            await _answer(route, stale=True)

        async def connect(socket: WebSocketRoute) -> None:
            if first == "answer":
                await expect(row.locator(".note")).to_have_text("stale")
            socket.connect_to_server()

        await page.route("**/api/v1/prices/all", answer)
        await page.route_web_socket("**/socket.io/**", connect)
        await page.goto(running.url)
        await is_live(page, "WebSocket")
        await expect(page.locator("#prices .note", has_text="stale")).to_have_count(2)
        await expect(row).to_have_class("selected stale")
        await page.screenshot(path=screenshots / "stale.png")
        await publisher.publish([price("EUR_USD", 2)])
        await expect(row).to_have_class("selected")
        await expect(row.locator(".note")).to_be_empty()
        await expect(page.locator('tr[data-pair="GBP_USD"]')).to_have_class("stale")


async def test_a_pair_is_chosen_by_keys_by_mouse_and_by_the_address(open_page: OpenPage, valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_page() as page:
        await page.goto(f"{running.url}/#USD_JPY")
        chosen = page.locator("#selected-pair")
        await expect(chosen).to_have_text("USD/JPY")
        await page.locator("#prices [tabindex='0']").focus()
        await page.keyboard.press("ArrowDown")
        await expect(chosen).to_have_text("USD/JPY")
        await page.keyboard.press("Enter")
        await expect(chosen).to_have_text("USD/CAD")
        assert page.url.endswith("#USD_CAD")
        await page.keyboard.press("End")
        await page.keyboard.press("Space")
        await expect(chosen).to_have_text("GBP/CAD")
        await cells(page, "EUR_GBP").nth(1).click()
        await expect(chosen).to_have_text("EUR/GBP")
        await expect(page.locator("[aria-current]")).to_have_text("EUR/GBP")
        await page.goto(f"{running.url}/#AUD_NZD")
        await expect(chosen).to_have_text("AUD/NZD")


@pytest.mark.parametrize(
    ("prev_close", "shown", "sign"),
    [("1.09000", "+1.02%", "up"), ("1.11000", "−0.80%", "down"), ("1.10112", "0.00%", ""), ("1.10110", "0.00%", "")],
    ids=["up", "down", "hardly", "none"],
)
async def test_the_change_of_the_day_is_that_to_the_last_close(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path, prev_close: str, shown: str, sign: str
) -> None:
    await publisher.publish([price("EUR_USD", 1)])
    async with gateway(valkey_url, tmp_path) as running, open_page() as page:
        await page.route("**/api/v1/prices/all", partial(_answer, prev_close=prev_close))
        await page.goto(running.url)
        change = cells(page, "EUR_USD").nth(3)
        await expect(change).to_have_text(shown)
        await expect(change).to_have_attribute("data-sign", sign)


async def _answer(route: Route, **changed: object) -> None:
    """What the gateway answers, with these fields of every price changed."""
    answer = await route.fetch()
    body = await answer.json()
    for listed in body["prices"].values():
        listed.update(changed)
    await route.fulfill(response=answer, body=json.dumps(body))
