"""The examples that are web pages, in a browser, against a gateway."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from app.market.pair import DEFAULT_PAIRS
from app.realtime.log.log import Publisher, open_redis
from tests.examples.browser import Page, open_page, served
from tests.examples.news import correlation, data_ready, mid, price, quote, volatility
from tests.gateways import gateway
from tests.waiting import wait_until

_ROWS = "[...document.querySelectorAll('#prices tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
_NOTICES = "[...document.querySelectorAll('#notices li')].map((item) => item.textContent.replace(/^[0-9:]{8} /, ''))"
_LIVE = "document.body.dataset.state === 'live'"
_LOST = "document.body.dataset.state === 'lost'"


@pytest.fixture
def site(examples: Path) -> Iterator[str]:
    """The URL at which the folder of the examples is served."""
    with served(examples) as folder:
        yield folder.url


@pytest.fixture(params=["browser.html", "eventsource.html", "websocket.html"])
def address(request: pytest.FixtureRequest, site: str) -> str:
    """The URL of each of the pages, which wants a gateway's added."""
    return f"{site}/{request.param}?gateway="


@asynccontextmanager
async def page(chromium: Path, url: str) -> AsyncGenerator[Page]:
    """A page in whose scripts nothing went wrong."""
    async with open_page(chromium, url) as opened:
        yield opened
        assert opened.errors == []


async def test_a_page_shows_prices_and_alerts_as_they_are_published(
    address: str, chromium: Path, publisher: Publisher, valkey_url: str, tmp_path: Path
) -> None:
    await publisher.publish([price("EUR_USD", 1), price("AUD_JPY", 2)])
    async with gateway(valkey_url, tmp_path) as running, page(chromium, address + running.url) as shown:
        await shown.until(_LIVE, "the page is connected")
        assert await _text(shown, "status") == "Connected, following 20 pairs"
        await publisher.publish(
            [
                price("EUR_USD", 3),
                volatility("EUR_USD", "critical"),
                correlation("EUR_USD", "USD_CHF"),
                data_ready(7),
                price("CHF_JPY", 4),  # no client follows it
                price("GBP_USD", 5),
            ]
        )
        await shown.until("document.querySelectorAll('#prices tr').length === 3", "three pairs are shown")
        assert await shown.evaluate(_ROWS) == [_row("AUD_JPY", 2), _row("EUR_USD", 3, updates=2), _row("GBP_USD", 5)]
        assert await shown.evaluate(_NOTICES) == [
            "info: prices data updated (7 records)",
            "info: Correlation EUR_USD <-> USD_CHF: -0.82",
            "critical: EUR_USD: Volatility (0.0234) exceeded threshold (0.02)",
        ]
        assert await shown.evaluate("document.getElementById('simulated').checkVisibility()") is False


async def test_a_page_says_that_prices_are_simulated_while_they_are(
    address: str, chromium: Path, publisher: Publisher, valkey_url: str, tmp_path: Path
) -> None:
    visible = "document.getElementById('simulated').checkVisibility()"
    await publisher.publish([price("EUR_USD", 1, "simulated"), price("USD_JPY", 2)])
    async with gateway(valkey_url, tmp_path) as running, page(chromium, address + running.url) as shown:
        await shown.until(visible, "the page says that a price is simulated")
        assert await _text(shown, "simulated") == "These prices are simulated: invented, not from a market."
        await publisher.publish([price("EUR_USD", 3)])
        await shown.until(f"!({visible})", "the page no longer says so")


async def test_a_page_resumes_by_itself_without_a_missed_event(
    address: str, chromium: Path, publisher: Publisher, valkey_url: str, port: int, tmp_path: Path
) -> None:
    async with page(chromium, f"{address}http://127.0.0.1:{port}") as shown:
        await shown.until(_LOST, "the page says that there is no gateway")
        async with gateway(valkey_url, tmp_path, websocket_port=port):
            await shown.until(_LIVE, "the page is connected")
            await publisher.publish([price("EUR_USD", number) for number in range(10)])
            await shown.until(f"{_ROWS}[0]?.[6] === '10'", "ten prices have come")
        await shown.until(_LOST, "the page says that the gateway is gone")
        assert (await _text(shown, "status")).startswith("Not connected (")
        assert await _text(shown, "caption") == "The last prices before the connection was lost"
        assert await shown.evaluate(_ROWS) == [_row("EUR_USD", 9, updates=10)]

        alerts = [volatility("EUR_USD", message=f"number {number}") for number in range(3)]
        await publisher.publish([*(price("EUR_USD", number) for number in range(10, 100)), *alerts])
        async with gateway(valkey_url, tmp_path, websocket_port=port):
            await shown.until(_LIVE, "the page is connected again")
            await publisher.publish([price("EUR_USD", 100), volatility("EUR_USD", message="number 3")])
            await shown.until("document.querySelectorAll('#notices li').length === 4", "the last alert has come")
            assert await shown.evaluate(_ROWS) == [_row("EUR_USD", 100, updates=101)]
            assert await shown.evaluate(_NOTICES) == [f"warning: EUR_USD: number {number}" for number in (3, 2, 1, 0)]
            assert await _text(shown, "caption") == "The newest price of each pair"


async def test_a_page_says_what_is_lost(
    address: str, chromium: Path, publisher: Publisher, valkey_url: str, port: int, tmp_path: Path
) -> None:
    async with page(chromium, f"{address}http://127.0.0.1:{port}") as shown, open_redis(valkey_url) as redis:
        async with gateway(valkey_url, tmp_path, websocket_port=port):
            await shown.until(_LIVE, "the page is connected")
            await publisher.publish([price("EUR_USD", 1)])
            await redis.incrby("fx:seq", 3)
            await publisher.publish([price("EUR_USD", 2)])
            await shown.until(f"{_NOTICES}.length === 1", "the page has told of a gap")
            assert await shown.evaluate(_NOTICES) == ["warning: 3 events were lost"]
        await shown.until(_LOST, "the page says that the gateway is gone")
        await redis.delete("fx:events")
        await publisher.publish([price("EUR_USD", 3), price("EUR_USD", 4)])
        async with gateway(valkey_url, tmp_path, websocket_port=port):
            await shown.until(f"{_NOTICES}.length === 2", "the page has told that it could not resume")
            expected = "warning: The missed events are no longer kept; the newest prices follow"
            assert (await shown.evaluate(_NOTICES))[0] == expected
            await shown.until(f"{_ROWS}[0][3] === '{mid('EUR_USD', 4)}'", "the newest price is shown")


async def test_a_page_says_why_it_is_refused_and_comes_back(
    address: str, chromium: Path, valkey_url: str, tmp_path: Path
) -> None:
    async with (
        gateway(valkey_url, tmp_path, websocket_max_clients=1) as running,
        httpx.AsyncClient(base_url=running.url) as other,
        page(chromium, "about:blank") as shown,
    ):
        async with other.stream("GET", "/stream/EUR_USD"):
            await shown.open(address + running.url)
            await shown.until("document.getElementById('status').textContent.includes('Max clients')", "the page is refused")
            expected = "Not connected (Max clients reached: this gateway serves 1 at once); trying again."
            assert await _text(shown, "status") == expected
        await shown.until(_LIVE, "the page is connected once there is a place")


async def test_a_page_comes_back_after_an_answer_that_is_no_stream(
    site: str, chromium: Path, publisher: Publisher, valkey_url: str, port: int, tmp_path: Path
) -> None:
    """A proxy whose gateway is away answers with a page of its own, and a browser then gives its EventSource up."""
    async with page(chromium, f"{site}/eventsource.html?gateway=http://127.0.0.1:{port}") as shown:
        async with gateway(valkey_url, tmp_path, websocket_port=port):
            await shown.until(_LIVE, "the page is connected")
            await publisher.publish([price("EUR_USD", 1)])
            await shown.until(f"{_ROWS}.length === 1", "the first price has come")
        with served(tmp_path, port) as other:
            await wait_until(lambda: any(path.startswith("/stream") for path in other.requested), "the page has tried again")
        await publisher.publish([price("EUR_USD", 2), price("EUR_USD", 3)])
        async with gateway(valkey_url, tmp_path, websocket_port=port):
            await shown.until(_LIVE, "the page is connected again")
            await shown.until(f"{_ROWS}[0][6] === '3'", "what was missed has come")
            assert await shown.evaluate(_ROWS) == [_row("EUR_USD", 3, updates=3)]


async def test_the_event_stream_page_shows_heartbeats(site: str, chromium: Path, valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path, heartbeat_interval=0.2) as running,
        page(chromium, f"{site}/eventsource.html?gateway={running.url}") as shown,
    ):
        text = "document.getElementById('heartbeat').textContent"
        await shown.until(f"/^[0-9][0-9]:[0-9][0-9]:[0-9][0-9]$/.test({text})", "a heartbeat is shown")


@pytest.mark.parametrize("name", ["eventsource.html", "websocket.html"])
async def test_a_page_leaves_a_connection_that_has_fallen_silent(
    name: str, site: str, chromium: Path, valkey_url: str, tmp_path: Path
) -> None:
    hundred_times_faster = "const timeout = setTimeout; window.setTimeout = (run, after) => timeout(run, after / 100);"
    async with (
        gateway(valkey_url, tmp_path, heartbeat_interval=3600) as running,
        page(chromium, "about:blank") as shown,
    ):
        await shown.open(f"{site}/{name}?gateway={running.url}", first=hundred_times_faster)
        await wait_until(lambda: len(running.hub.clients) == 1, "the page is connected")
        [first] = running.hub.clients
        await wait_until(lambda: len(running.hub.clients) == 1 and first not in running.hub.clients, "it has connected anew")


async def test_a_page_shows_text_as_text(
    address: str, chromium: Path, publisher: Publisher, valkey_url: str, tmp_path: Path
) -> None:
    markup = "<img src=x onerror=\"document.title='run'\">"
    async with gateway(valkey_url, tmp_path) as running, page(chromium, address + running.url) as shown:
        await shown.until(_LIVE, "the page is connected")
        await publisher.publish([volatility("EUR_USD", message=markup), price("EUR_USD", 1, source=markup)])
        await shown.until(f"{_ROWS}.length === 1", "the price is shown")
        assert await shown.evaluate(_NOTICES) == [f"warning: EUR_USD: {markup}"]
        assert await shown.evaluate(_ROWS) == [_row("EUR_USD", 1, source=markup)]
        assert await shown.evaluate("document.images.length") == 0


async def test_a_page_fits_a_phone_and_can_be_read_out(
    address: str, chromium: Path, publisher: Publisher, valkey_url: str, tmp_path: Path
) -> None:
    await publisher.publish([*(price(pair, 1, "simulated") for pair in DEFAULT_PAIRS), volatility("EUR_USD", message="x" * 200)])
    async with gateway(valkey_url, tmp_path) as running, page(chromium, address + running.url) as shown:
        await shown.until(f"{_ROWS}.length === 20", "every pair is shown")
        for width in (320, 375, 768, 1280):
            await shown.resize(width, 800)
            assert await shown.evaluate("document.documentElement.scrollWidth") <= width
        light, dark = [await _screenshot(shown, dark=dark) for dark in (False, True)]
        assert light != dark
        roles = {node["role"]["value"]: node["name"].get("value") for node in await _accessible(shown) if "name" in node}
        assert roles["textbox"] == "Gateway"
        assert roles["button"] == "Connect"
        assert roles["table"] == "The newest price of each pair"
        assert roles["list"] == "Alerts"
        assert {"columnheader", "rowheader", "status", "heading"} <= roles.keys()
        assert await shown.evaluate("document.documentElement.lang") == "en"


async def test_a_page_without_an_address_tries_the_default_one(address: str, chromium: Path) -> None:
    async with page(chromium, address.partition("?")[0]) as shown:
        assert await shown.evaluate("document.getElementById('gateway').value") == "http://localhost:5001"


async def test_the_page_says_when_the_client_library_is_not_installed(examples: Path, site: str, chromium: Path) -> None:
    (examples / "node_modules").unlink()
    async with open_page(chromium, f"{site}/browser.html") as shown:
        await shown.until(_LOST, "the page says what is missing")
        expected = "The Socket.IO client is missing: run npm install in the folder of this page."
        assert await _text(shown, "status") == expected
        assert len(shown.errors) == 1


def _row(pair: str, number: int, source: str = "replay", updates: int = 1) -> list[str]:
    """How a published price is shown: digit by digit as it was published."""
    published = quote(pair, number)
    bid, ask = (str(published.pair.round(side)) for side in (published.bid, published.ask))
    return [pair, bid, ask, mid(pair, number), "09:30:00", source, str(updates)]


async def _text(shown: Page, id: str) -> str:
    return str(await shown.evaluate(f"document.getElementById('{id}').textContent"))


async def _screenshot(shown: Page, dark: bool) -> bytes:
    await shown.resize(375, 800, dark)
    return await shown.screenshot()


async def _accessible(shown: Page) -> list[dict[str, dict[str, str]]]:
    """What a screen reader is given."""
    nodes: list[dict[str, dict[str, str]]] = (await shown.call("Accessibility.getFullAXTree"))["nodes"]
    return [node for node in nodes if "role" in node]
