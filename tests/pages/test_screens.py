"""How the dashboard looks: sizes, colours, motion, and frames under load."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.async_api import expect

from app.market.pair import DEFAULT_PAIRS
from app.realtime.log.log import Publisher
from tests.examples.news import data_ready, price, volatility
from tests.gateways import gateway
from tests.pages.conftest import OpenPage, Record
from tests.pages.dashboard import alerts, bid, cells, is_live

pytestmark = pytest.mark.asyncio(loop_scope="module")

_HZ = 20
_SECONDS = 3


@pytest.mark.parametrize(
    ("width", "height", "scheme"),
    [(360, 740, "light"), (360, 740, "dark"), (1280, 800, "dark"), (1920, 1080, "light")],
)
async def test_it_fits_every_screen_in_both_colours_and_axe_finds_nothing_serious(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path, axe: str, screenshots: Path,
    width: int, height: int, scheme: str,
) -> None:  # fmt: skip
    await publisher.publish([price(pair, number, "simulated") for number, pair in enumerate(DEFAULT_PAIRS)])
    async with gateway(valkey_url, tmp_path) as running, open_page(width, height, scheme) as page:
        await page.goto(running.url)
        await is_live(page, "WebSocket")
        await publisher.publish([volatility("EUR_USD", "critical"), volatility("USD_JPY", "info"), data_ready()])
        await expect(alerts(page)).to_have_count(2)
        await expect(page.locator("[data-flash]")).to_have_count(0)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(12, 17, 24)" if scheme == "dark" else "rgb(243, 245, 248)")
        await page.screenshot(path=screenshots / f"{width}-{scheme}.png", full_page=True)
        await page.evaluate(axe)
        found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        serious = [
            (violation["id"], [node["target"] for node in violation["nodes"]])
            for violation in found["violations"]
            if violation["impact"] in ("serious", "critical")
        ]
        assert serious == []
        await page.evaluate("scrollTo(0, document.body.scrollHeight)")
        assert await page.evaluate("scrollY > 0")
        await expect(page.get_by_text("Simulated data", exact=True)).to_be_in_viewport()


async def test_the_switch_of_colours_wins_over_the_system_and_is_kept(
    open_page: OpenPage, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_page(scheme="light") as page:
        await page.goto(running.url)
        switch = page.locator("#theme")
        for word, colour in (("Theme: light", "rgb(243, 245, 248)"), ("Theme: dark", "rgb(12, 17, 24)")):
            await switch.click()
            await expect(switch).to_have_text(word)
            await expect(page.locator("body")).to_have_css("background-color", colour)
        await page.reload()
        await expect(switch).to_have_text("Theme: dark")
        await expect(page.locator("body")).to_have_css("background-color", "rgb(12, 17, 24)")


async def test_nothing_moves_where_less_motion_is_asked_for(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path
) -> None:
    await publisher.publish([price("EUR_USD", 1)])
    async with gateway(valkey_url, tmp_path) as running, open_page(motion="reduce") as page:
        await page.goto(running.url)
        await is_live(page, "WebSocket")
        watched = asyncio.ensure_future(page.wait_for_selector('tr[data-flash="up"]'))
        await publisher.publish([price("EUR_USD", 2)])
        await watched
        await expect(cells(page, "EUR_USD").nth(0)).to_have_css("background-color", "rgba(0, 0, 0, 0)")


async def test_it_stays_smooth_with_every_pair_twenty_times_a_second(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path, record_property: Record
) -> None:
    await publisher.publish([price(pair) for pair in DEFAULT_PAIRS])
    async with gateway(valkey_url, tmp_path) as running, open_page() as page:
        await page.goto(running.url)
        await is_live(page, "WebSocket")
        await page.evaluate(
            """() => {
              window.frames_ = [];
              const frame = (time) => { window.frames_.push(time); requestAnimationFrame(frame); };
              requestAnimationFrame(frame);
            }"""
        )
        for turn in range(1, _HZ * _SECONDS + 1):
            await publisher.publish([price(pair, turn) for pair in DEFAULT_PAIRS])
            await asyncio.sleep(1 / _HZ)
        await expect(bid(page, "GBP_CAD")).to_have_text(f"1.{100 + turn}00")
        times: list[float] = await page.evaluate("window.frames_")
        deltas = sorted(later - earlier for earlier, later in pairwise(times))
        record_property("frame_ms_p50", round(deltas[len(deltas) // 2], 1))
        record_property("frame_ms_p95", round(deltas[int(len(deltas) * 0.95)], 1))
        record_property("frame_ms_max", round(deltas[-1], 1))
        assert deltas[len(deltas) // 2] < 100
