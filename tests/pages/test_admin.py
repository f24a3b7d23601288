"""The operator page in Chromium: it asks for a token, shows what the gateway does, and says what went wrong."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, Response, expect

from app.market.pair import DEFAULT_PAIRS
from app.realtime.contract.heartbeat import FeedHeartbeat, RecorderHeartbeat, heartbeat
from app.realtime.log.log import EventLog, open_redis
from tests.gateways import RunningGateway, gateway
from tests.pages.conftest import OpenPage
from tests.private_valkey import PrivateValkey
from tests.realtime.listening import tick
from tests.realtime.socket_clients import stock_client
from tests.realtime.stream_clients import RELUCTANTLY, open_stream, raw_stream
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "an operator's token"
STATE = "**/admin/state"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def log(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrivateValkey]:
    """A Valkey for all tests of the module."""
    folder = tmp_path_factory.mktemp("operator")
    server = PrivateValkey(folder, folder / "valkey.sock")
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(log: PrivateValkey, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    """A gateway with a token for operators, for all tests of the module."""
    folder = tmp_path_factory.mktemp("gateway")
    async with gateway(log.url, folder, admin_tokens=(TOKEN,), send_buffer_bytes=4096) as one:
        yield one


async def enter(page: Page, url: str) -> None:
    """Open the page with the token."""
    await page.goto(f"{url}/admin")
    await page.get_by_label("Token", exact=True).fill(TOKEN)
    await page.get_by_role("button", name="Open").click()
    await expect(page.locator("#state")).to_have_text("Live")


def fact(page: Page, name: str) -> Locator:
    """One of the figures at the top."""
    return page.locator("#facts div").filter(has=page.get_by_text(name, exact=True)).locator("dd")


def row(page: Page, table: str, name: str) -> Locator:
    """The cells behind the head of a row."""
    return page.locator(f"#{table} tr").filter(has=page.get_by_role("rowheader", name=name, exact=True)).locator("td")


async def test_a_token_is_asked_for_kept_by_the_tab_alone_and_forgotten(open_page: OpenPage, running: RunningGateway) -> None:
    async with open_page() as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(f"{running.url}/admin")
        field = page.get_by_label("Token", exact=True)
        await expect(field).to_be_focused()
        await expect(field).to_have_attribute("type", "password")
        await expect(field).to_have_attribute("autocomplete", "current-password")
        await expect(page.locator("#view")).to_be_hidden()
        await page.keyboard.type(TOKEN)
        await page.keyboard.press("Enter")
        await expect(page.locator("#state")).to_have_text("Live")
        await expect(page.locator("#entry")).to_be_hidden()
        await expect(field).to_have_value("")
        await page.reload()
        await expect(page.locator("#state")).to_have_text("Live")
        assert await page.evaluate("[Object.values(sessionStorage), Object.values(localStorage), document.cookie]") == [
            [TOKEN], [], "",
        ]  # fmt: skip
        assert not any("token" in url for url in asked)
        await page.get_by_role("button", name="Forget the token").click()
        await expect(field).to_be_focused()
        await expect(page.locator("#view")).to_be_hidden()
        assert await page.evaluate("sessionStorage.length") == 0
        assert await page.locator("#subscriptions tr, #facts div").count() == 0
        await page.reload()
        await expect(field).to_be_focused()


@pytest.mark.parametrize("wrong", ["another token", "one with letters no header has: €"])
async def test_a_wrong_token_is_said_to_be_wrong_and_not_kept(open_page: OpenPage, running: RunningGateway, wrong: str) -> None:
    async with open_page() as page:
        await page.goto(f"{running.url}/admin")
        await page.get_by_label("Token", exact=True).fill(wrong)
        await page.get_by_role("button", name="Open").click()
        await expect(page.get_by_role("alert")).to_have_text(
            "A token cannot contain these characters." if "€" in wrong else "The gateway does not know this token."
        )
        await expect(page.get_by_label("Token", exact=True)).to_be_focused()
        assert await page.evaluate("sessionStorage.length") == 0


async def test_figures_are_shown_and_move(open_page: OpenPage, running: RunningGateway, log: PrivateValkey) -> None:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(open_redis(log.url))
        publisher = EventLog(redis).publisher()
        page = await stack.enter_async_context(open_page())
        await enter(page, running.url)
        await expect(fact(page, "Clients")).to_have_text("0 of 1,000")
        socket = await stack.enter_async_context(stock_client(running.url))
        await socket.call("subscribe", {"pairs": "*"})
        for _ in range(2):
            await stack.enter_async_context(open_stream(running.url, "/stream?pairs=EUR_USD"))
        feed = heartbeat(
            FeedHeartbeat(node="a", source="kraken", simulated=False, sources={"oanda": "silent", "kraken": "active"})
        )
        await publisher.publish([feed, heartbeat(RecorderHeartbeat(node="b", cursor="1-0", seq=0, lost=2, refused=3))])
        await publisher.publish([tick(pair) for pair in DEFAULT_PAIRS])
        await expect(fact(page, "Clients")).to_have_text("3 of 1,000")
        await expect(fact(page, "Feed")).to_have_text("kraken: live")
        await expect(row(page, "transports", "WebSocket").nth(0)).to_have_text("1")
        await expect(row(page, "transports", "Event stream").nth(0)).to_have_text("2")
        await expect(row(page, "subscriptions", "EUR/USD").nth(0)).to_have_text("3")
        await expect(row(page, "subscriptions", "USD/JPY").nth(0)).to_have_text("1")
        await expect(row(page, "feed", "oanda")).to_have_text("silent")
        await expect(row(page, "log", "Lost by recorder")).to_have_text("2")
        await expect(row(page, "log", "Refused by database")).to_have_text("3")
        await expect(row(page, "workers", "1").nth(0)).to_have_text("3")
        await expect(page.locator("#jobs")).to_contain_text("hourly")
        await expect(page.get_by_text("Every client is up to date.")).to_be_visible()
        chart = page.get_by_role("img", name=re.compile("^Clients: 3, between 0 and 3 in the last 1 min$"))
        await expect(chart).to_be_visible()
        deliveries = page.get_by_role("img", name=re.compile("^Deliveries per second: "))

        async def deliveries_are_drawn() -> bool:
            await publisher.publish([tick("EUR_USD")] * 50)
            return "L" in (await deliveries.locator(".line").get_attribute("d") or "")

        await wait_until(deliveries_are_drawn, "there is a line of deliveries", 30)
        assert "–" not in (await deliveries.get_attribute("aria-label") or "–")
        heads = await page.locator("#view tbody tr > :first-child").evaluate_all("all => all.map(one => one.tagName + one.scope)")
        assert set(heads) == {"THrow"}


async def test_a_client_that_does_not_read_is_listed(
    open_page: OpenPage, running: RunningGateway, log: PrivateValkey, screenshots: Path
) -> None:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(open_redis(log.url))
        publisher = EventLog(redis).publisher()
        page = await stack.enter_async_context(open_page())
        await enter(page, running.url)
        await stack.enter_async_context(raw_stream(running.url, "/stream?pairs=*", RELUCTANTLY))
        laggard = page.locator("#laggards tr")

        async def listed() -> bool:
            await publisher.publish([tick(pair) for pair in DEFAULT_PAIRS] * 10)
            return await laggard.count() == 1 and "kB" in await laggard.inner_text()

        await wait_until(listed, "the laggard is listed", 30)
        await expect(laggard.locator("td").nth(0)).to_have_text("Event stream")
        await expect(laggard.locator("td").nth(6)).to_have_text("20")
        await expect(page.get_by_text("Every client is up to date.")).to_be_hidden()
        await page.screenshot(path=screenshots / "admin-laggard.png", full_page=True)
    await wait_until(lambda: len(running.hub.clients) == 0, "the client is gone")


async def test_a_gateway_that_is_away_is_said_to_be_with_the_age_of_the_figures(
    open_page: OpenPage, valkey_url: str, tmp_path: Path, port: int, screenshots: Path
) -> None:
    settings = {"admin_tokens": (TOKEN,), "websocket_port": port}
    async with open_page() as page:
        async with gateway(valkey_url, tmp_path, **settings) as running:
            await enter(page, running.url)
        await expect(page.locator("#state")).to_have_text("The gateway does not answer.")
        await expect(page.locator("#age")).to_have_text(re.compile(r"^Figures are \d+ s old$"))
        await expect(page.locator("#view")).to_be_visible()
        await page.screenshot(path=screenshots / "admin-away.png", full_page=True)
        async with gateway(valkey_url, tmp_path, **settings):
            await expect(page.locator("#state")).to_have_text("Live")
            await expect(page.locator("#age")).to_be_empty()
        async with gateway(valkey_url, tmp_path, **{**settings, "admin_tokens": ("another token of this gateway",)}):
            await expect(page.get_by_role("alert")).to_have_text("The gateway does not know this token.")
        async with gateway(valkey_url, tmp_path, **{**settings, "admin_tokens": ()}) as closed:
            sentence = "The operator page is closed: this gateway has no ADMIN_TOKENS."
            await page.get_by_label("Token", exact=True).fill(TOKEN)
            await page.get_by_role("button", name="Open").click()
            await expect(page.get_by_role("alert")).to_have_text(sentence)
            answer = await page.goto(f"{closed.url}/admin")
            assert isinstance(answer, Response)
            assert (answer.status, await answer.text()) == (403, f"{sentence}\n")


async def test_it_does_not_ask_while_nobody_looks_and_waits_as_long_as_it_is_told_to(
    open_page: OpenPage, running: RunningGateway
) -> None:
    async with open_page() as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/admin/state") else None)
        await page.clock.install()
        await enter(page, running.url)
        await _hide(page, hidden=True)
        asked.clear()
        await page.clock.run_for(60_000)
        assert asked == []
        await _hide(page, hidden=False)
        await wait_until(lambda: len(asked) == 1, "it polls as soon as the page is visible")
        await expect(page.locator("#state")).to_have_text("Live")


@pytest.mark.parametrize(("width", "height", "scheme"), [(360, 740, "light"), (1440, 900, "dark")])
async def test_it_fits_every_screen_in_both_colours_and_axe_finds_nothing_serious(
    open_page: OpenPage, running: RunningGateway, log: PrivateValkey, axe: str, screenshots: Path,
    width: int, height: int, scheme: str,
) -> None:  # fmt: skip
    async with open_redis(log.url) as redis, open_page(width, height, scheme) as page:
        await EventLog(redis).publisher().publish([tick(pair) for pair in DEFAULT_PAIRS])
        await page.goto(f"{running.url}/admin")
        await expect(page.get_by_label("Token", exact=True)).to_be_focused()
        await page.screenshot(path=screenshots / f"admin-entry-{width}-{scheme}.png")
        assert await _serious(page, axe) == []
        await enter(page, running.url)
        async with open_stream(running.url, "/stream?pairs=*"):
            await expect(page.locator(".charts .line[d*=L]").first).to_be_attached()
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert background == ("rgb(12, 17, 24)" if scheme == "dark" else "rgb(243, 245, 248)")
            await page.screenshot(path=screenshots / f"admin-{width}-{scheme}.png", full_page=True)
            assert await _serious(page, axe) == []


async def test_the_page_holds_no_data_and_its_script_is_its_own(running: RunningGateway, built: Path) -> None:
    async with httpx.AsyncClient(base_url=running.url, trust_env=False) as http:
        page = await http.get("/admin")
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page.text) == []
    [script] = built.glob("admin-*.js")
    [dashboard] = built.glob("main-*.js")
    assert script.name in page.text
    assert "/admin/state" in script.read_text(encoding="utf-8")
    assert "/admin/state" not in dashboard.read_text(encoding="utf-8")
    assert Path(f"{script}.gz").stat().st_size < 10_000


async def _serious(page: Page, axe: str) -> list[tuple[str, object]]:
    """The serious accessibility violations that axe finds."""
    await page.evaluate(axe)
    found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        (violation["id"], [node["target"] for node in violation["nodes"]])
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


async def _hide(page: Page, *, hidden: bool) -> None:
    """Make the page believe that it is hidden, or visible again."""
    await page.evaluate(
        """hidden => {
          Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )
