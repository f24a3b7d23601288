"""The panels of the dashboard: in Chromium, on a gateway with bars, alerts and levels of the tests' own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Locator, Page, Route, expect

from app.config import Settings
from app.market.bars.candle import Granularity
from app.market.clock import utc_now
from app.market.pair import DEFAULT_PAIRS, CurrencyPair
from app.market.quote import Quote
from app.realtime.contract.event import Draft, price_update
from app.realtime.log.log import Publisher
from jobs.alerts import run
from tests.examples.news import price, volatility
from tests.gateways import QUIET, RunningGateway, gateway
from tests.pages.conftest import OpenPage
from tests.pages.dashboard import alerts, bid, is_live
from tests.routers.running import bars
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

_HOUR = timedelta(hours=1)
_TOKEN = "a-token-of-some-length"


def _quoted(mid: str) -> Draft:
    """A price of EUR_USD of this moment."""
    return price_update(Quote(CurrencyPair("EUR", "USD"), Decimal(mid), Decimal(mid), utc_now(), "simulated"), utc_now())


async def _write_hours(running: RunningGateway, count: int, pair: str = "EUR_USD", seed: int = 1, source: str = "oanda") -> None:
    """Hours up to the current one, which is not complete."""
    now = utc_now().replace(minute=0, second=0, microsecond=0)
    start = now - (count - 1) * _HOUR
    candles = running.app.state.gateway.stores.candles
    await candles.write(bars(pair, count, Granularity.H1, start=start, source=source, seed=seed, unfinished=True))


async def _rest(running: RunningGateway, path: str, **query: str | int) -> Any:
    async with httpx.AsyncClient(base_url=running.url) as client:
        return (await client.get(path, params=query)).raise_for_status().json()


async def _rows(page: Page) -> list[list[str]]:
    """The figures of the newest bars, the newest first."""
    rows: list[list[str]] = await page.locator(".chart-table tbody").evaluate(
        "body => [...body.rows].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return rows


def _panel(page: Page, name: str) -> Locator:
    return page.locator(f'[data-panel="{name}"]')


async def _open_figures(page: Page) -> None:
    await page.get_by_text("Figures of the newest bars").click()
    await expect(page.locator(".chart-table tbody tr").first).to_be_visible()


async def test_the_chart_has_the_bars_of_the_server_and_its_measures(
    open_page: OpenPage, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_page() as page:
        await _write_hours(running, 400)
        await page.goto(f"{running.url}/#EUR_USD")
        await expect(page.locator(".chart-span")).to_contain_text("300 bars from")
        await _open_figures(page)
        rows = await _rows(page)
        told = (await _rest(running, "/api/v1/candles/EUR_USD", limit=60, price="M"))["candles"][::-1]
        assert [row[1:6] for row in rows] == [[*bar["mid"].values(), str(bar["volume"])] for bar in told]
        assert [row[0] for row in rows] == [bar["time"][:16].replace("T", " ") for bar in told]
        measured = (await _rest(running, "/api/v1/metrics/volatility/EUR_USD", granularity="H1"))["metrics"]
        newest_complete = next(row for row, bar in zip(rows, told, strict=True) if bar["complete"])
        names = ("sma_15", "sma_30", "sma_50", "bb_upper", "bb_lower")
        shown = [float(cell) for cell in newest_complete[6:11]]
        assert shown == pytest.approx([measured[name] for name in names], abs=1e-6)


async def test_the_last_bar_moves_with_the_price(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_page() as page:
        await _write_hours(running, 60)
        await page.goto(f"{running.url}/#EUR_USD")
        await is_live(page, "WebSocket")
        await expect(page.locator(".chart-span")).to_contain_text("60 bars from")
        for mid in ("1.25000", "0.75000", "1.00000"):
            await publisher.publish([_quoted(mid)])
            await expect(page.locator(".chart-words")).to_contain_text(f"close {mid}, simulated, still open.")
        await _open_figures(page)
        assert (await _rows(page))[0][4] == "1.00000"


async def test_scrolling_to_the_left_brings_older_bars_and_none_twice(
    open_page: OpenPage, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_page() as page:
        await _write_hours(running, 700)
        await page.goto(f"{running.url}/#EUR_USD")
        await expect(page.locator(".chart-span")).to_contain_text("300 bars from")
        oldest = (await _rest(running, "/api/v1/candles/EUR_USD", limit=700))["candles"][0]["time"]
        await page.locator(".chart-canvas").hover()

        async def whole() -> bool:
            await page.mouse.wheel(-1500, 0)
            return (await page.locator(".chart-span").text_content() or "").startswith("700 bars")

        await wait_until(whole, "all 700 bars are there", 20)
        await expect(page.locator(".chart-span")).to_contain_text(oldest[:10])


async def test_another_length_without_bars_says_so_and_invented_bars_are_marked(
    open_page: OpenPage, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_page(scheme="dark") as page:
        await _write_hours(running, 60, source="simulated")
        await page.goto(f"{running.url}/#EUR_USD")
        await expect(page.get_by_text("Simulated bars")).to_be_visible()
        await page.get_by_role("button", name="M5", exact=True).click()
        await expect(page.locator(".chart-state")).to_have_text("No M5 bars of EUR/USD are stored yet.")
        await expect(page.get_by_text("Simulated bars")).to_be_hidden()


async def test_the_heat_map_has_every_pair_and_what_the_server_says(open_page: OpenPage, valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_page() as page:
        for seed, pair in enumerate(DEFAULT_PAIRS):
            await _write_hours(running, 120, pair, seed % 7)
        await page.goto(running.url)
        panel = _panel(page, "heatmap")
        await expect(panel).to_contain_text("There are no correlations yet")
        await panel.get_by_label("Bars").select_option("H1")
        await expect(panel.locator("tbody tr")).to_have_count(len(DEFAULT_PAIRS))
        told = (await _rest(running, "/api/v1/correlation/matrix", granularity="H1", window=100))["matrix"]
        shown: dict[str, str] = await panel.locator("tbody").evaluate(
            "body => Object.fromEntries([...body.querySelectorAll('td')]"
            ".map(cell => [`${cell.dataset.pair} ${cell.dataset.with}`, cell.textContent]))"
        )
        assert shown.keys() == {f"{row} {column}" for row in told for column in told}
        for place, text in shown.items():
            row, column = place.split()
            assert float(text.replace("−", "-")) == pytest.approx(told[row][column], abs=0.00501), place
        cell = panel.locator('td[data-pair="EUR_USD"][data-with="EUR_USD"]')
        await cell.focus()
        await page.keyboard.press("ArrowRight")
        await expect(panel.locator(".heatmap-detail")).to_contain_text("EUR/USD with GBP/USD: ")
        await expect(panel.locator(".heatmap-detail")).to_contain_text("window of 100 H1 bars")


async def test_an_alert_appears_at_once_and_the_filter_hides_it(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_page(width=360, height=740) as page:
        await page.goto(running.url)
        await is_live(page, "WebSocket")
        await expect(_panel(page, "alerts")).to_contain_text("No alerts yet.")
        await publisher.publish([volatility("EUR_USD", "critical", "<b>Sharp</b>"), volatility("GBP_USD", "warning", "Brisk")])
        await expect(alerts(page)).to_have_count(2)
        await expect(alerts(page).nth(0)).to_contain_text("Brisk")
        await expect(alerts(page).nth(1)).to_contain_text("critical")
        await expect(alerts(page).nth(1)).to_contain_text("<b>Sharp</b>")
        await expect(page.locator(".alerts-spoken")).to_have_text("Critical: <b>Sharp</b>")
        panel = _panel(page, "alerts")
        await panel.get_by_label("Severity").select_option("warning")
        await expect(alerts(page)).to_have_count(1)
        await expect(alerts(page).first).to_contain_text("GBP/USD")
        await panel.get_by_label("Pair").select_option("USD_JPY")
        await expect(panel).to_contain_text("No alerts match the filters.")


@asynccontextmanager
async def _watched(settings: Settings, redis_url: str) -> AsyncIterator[None]:
    """The watch that turns a level that was reached into an alert."""
    watch = asyncio.create_task(run(settings, redis_url))
    try:
        yield
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


async def test_an_alert_that_comes_before_the_panels_are_there_is_shown(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path
) -> None:
    come = asyncio.Event()

    async def hold(route: Route) -> None:
        await come.wait()
        await route.continue_()

    await publisher.publish([price("EUR_USD", 1)])
    async with gateway(valkey_url, tmp_path) as running, open_page() as page:
        await page.route("**/api/v1/info", hold)
        await page.goto(running.url)
        await is_live(page, "WebSocket")
        await publisher.publish([volatility("EUR_USD", "critical"), price("EUR_USD", 2)])
        await expect(bid(page, "EUR_USD")).to_have_text("1.10200")
        assert await _panel(page, "alerts").locator(".panel-body *").count() == 0
        come.set()
        await expect(alerts(page)).to_have_count(1)


async def test_a_level_set_in_the_form_is_kept_alerts_when_it_is_reached_and_can_be_deleted(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path}/levels.db"
    settings = Settings(**{**QUIET, "data_dir": tmp_path, "database_url": database})
    async with gateway(valkey_url, tmp_path, database_url=database) as running, open_page() as page:
        await _write_hours(running, 60)
        async with _watched(settings, valkey_url):
            await page.goto(f"{running.url}/#EUR_USD")
            await is_live(page, "WebSocket")
            panel = _panel(page, "levels")
            await expect(panel).to_contain_text("No levels are set.")
            await panel.get_by_label("Price", exact=True).fill("1.2500")
            await panel.get_by_label("Severity").select_option("critical")
            await panel.get_by_label("Note").fill("Sell half")
            await panel.get_by_role("button", name="Set level").click()
            await expect(panel.locator("li")).to_contain_text("EUR/USD at or above 1.25000")
            await expect(page.locator(".chart")).to_have_attribute("data-levels", "1")
            (kept,) = (await _rest(running, "/api/v1/alerts/levels"))["levels"]
            assert (kept["level"], kept["severity"], kept["message"]) == ("1.25000", "critical", "Sell half")

            async def told() -> bool:
                await publisher.publish([_quoted("1.26000")])
                return await alerts(page).count() > 0

            await wait_until(told, "the level has alerted", 20)
            await expect(alerts(page).first).to_contain_text("Sell half")
            await expect(panel.locator("li")).to_contain_text("done · 1 alert")
            await panel.get_by_role("button", name="Delete").click()
            await expect(panel).to_contain_text("No levels are set.")
            assert (await _rest(running, "/api/v1/alerts/levels"))["count"] == 0


@asynccontextmanager
async def _refused_page(browser: Browser, width: int = 1440) -> AsyncIterator[Page]:
    """Open a page whose requests the gateway refuses, which the browser logs as errors."""
    context = await browser.new_context(viewport={"width": width, "height": 900})
    faults: list[str] = []
    page = await context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    try:
        yield page
    finally:
        await context.close()
    assert faults == []


async def test_what_is_wrong_with_a_level_stands_beside_its_field(
    browser: Browser, built: Path, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, _refused_page(browser, 360) as page:
        await page.goto(f"{running.url}/#EUR_USD")
        panel = _panel(page, "levels")
        price = panel.get_by_label("Price", exact=True)
        await panel.get_by_role("button", name="Set level").click()
        await expect(panel.locator("#level-level-error")).to_have_text("A price is needed")
        await price.fill("1.1234567")
        await price.press("Enter")
        await expect(panel.locator("#level-level-error")).to_have_text("EUR_USD has 5 decimals")
        await expect(price).to_have_attribute("aria-invalid", "true")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_token_is_asked_for_where_the_gateway_has_some(
    browser: Browser, built: Path, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path, alert_tokens=_TOKEN) as running, _refused_page(browser) as page:
        await page.goto(f"{running.url}/#EUR_USD")
        panel = _panel(page, "levels")
        await expect(panel.get_by_label("Token")).to_be_hidden()
        await panel.get_by_label("Price", exact=True).fill("1.2")
        await panel.get_by_role("button", name="Set level").click()
        await expect(panel.locator("#level-token-error")).to_have_text("This gateway needs a token")
        await panel.get_by_label("Token").fill(_TOKEN)
        await panel.get_by_role("button", name="Set level").click()
        await expect(panel.locator("li")).to_contain_text("EUR/USD at or above 1.20000")
        assert await page.evaluate("[sessionStorage.length, localStorage.getItem('alert-token')]") == [1, None]


async def test_the_sessions_that_are_open_are_named_and_the_clock_goes_on_without_asking(
    open_page: OpenPage, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_page(scheme="dark") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/sessions") else None)
        await page.goto(running.url)
        panel = _panel(page, "sessions")
        await expect(panel.locator("li")).to_have_count(4)
        told = await _rest(running, "/api/v1/sessions")
        for session in told["sessions"]:
            row = panel.locator("li", has_text=session["name"])
            await expect(row).to_contain_text("open" if session["is_open"] else "closed")
        await expect(panel.locator(".sessions-state")).to_contain_text("Market open" if told["market_open"] else "Market closed")
        before = await panel.locator(".sessions-until").first.text_content() or ""
        await expect(panel.locator(".sessions-until").first).not_to_have_text(before)
        assert len(asked) == 1
