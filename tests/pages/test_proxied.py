"""The dashboard behind the proxy that is deployed."""

from pathlib import Path

import pytest

from app.realtime.log.log import Publisher
from tests.deploy.proxy import proxy
from tests.examples.news import price
from tests.gateways import gateway
from tests.pages.conftest import OpenPage
from tests.pages.dashboard import bid, is_live

TOKEN = "a token of the operator"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("transport", ["WebSocket", "EventSource"])
async def test_it_is_live_behind_nginx(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path, transport: str
) -> None:
    async with (
        gateway(valkey_url, tmp_path) as running,
        proxy(tmp_path, running.url) as server,
        open_page() as page,
    ):
        if transport == "EventSource":
            await page.route_web_socket("**/socket.io/**", lambda socket: socket.close())
        await page.goto(server.url)
        await is_live(page, transport)
        await publisher.publish([price("EUR_USD", 1)])
        await bid(page, "EUR_USD").filter(has_text="1.10100").wait_for()


@pytest.mark.parametrize("taken_off", [True, False], ids=["taken off", "passed on"])
async def test_it_is_live_under_a_path_prefix(
    open_page: OpenPage, publisher: Publisher, valkey_url: str, tmp_path: Path, taken_off: bool
) -> None:
    async with (
        gateway(valkey_url, tmp_path, root_path="/fx", admin_tokens=TOKEN) as running,
        proxy(tmp_path, running.url, under="/fx") as server,
        open_page() as page,
    ):
        url = f"{server.url if taken_off else running.url}/fx"
        outside: list[str] = []
        page.on("request", lambda request: outside.append(request.url) if not _is_under(url, request.url) else None)
        await page.goto(url)
        assert page.url == f"{url}/"
        await is_live(page, "WebSocket")
        await publisher.publish([price("EUR_USD", 1)])
        await bid(page, "EUR_USD").filter(has_text="1.10100").wait_for()
        if taken_off:
            await page.get_by_role("link", name="API", exact=True).click()
            await page.locator(".opblock").first.wait_for()
            assert page.url == f"{url}/docs"
            await page.get_by_role("link", name="Events", exact=True).click()
            await page.locator("#about").wait_for()
            assert page.url == f"{url}/docs/events"
            await page.get_by_role("link", name="REST (Redoc)").click()
            await page.locator("#rest h1").first.wait_for()
            await page.locator("a.name").click()
            assert page.url == f"{url}/"
        else:  # nginx denies the operator page
            await page.route_web_socket("**/socket.io/**", lambda socket: socket.close())
            await page.reload()
            await is_live(page, "EventSource")
            await page.goto(f"{url}/admin")
            await page.get_by_label("Token", exact=True).fill(TOKEN)
            await page.get_by_role("button", name="Open").click()
            await page.get_by_role("button", name="Forget the token").wait_for()
        assert outside == []


def _is_under(url: str, requested: str) -> bool:
    """Whether a request goes to what is under the URL, or to nothing outside of the page."""
    path = requested.replace("ws://", "http://", 1)
    return path == url or path.startswith((f"{url}/", "data:", "blob:"))
