"""The dashboard behind the proxy that is deployed."""

from pathlib import Path

import pytest

from app.realtime.log.log import Publisher
from tests.deploy.proxy import proxy
from tests.examples.news import price
from tests.gateways import gateway
from tests.pages.conftest import OpenPage
from tests.pages.dashboard import bid, is_live

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
