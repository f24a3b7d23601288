"""The gateway under a path prefix, which a proxy takes off or passes on."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.config import Settings
from app.errors import ConfigurationError
from app.http.edge.prefix import FIRST_SEGMENTS
from app.main import create_app
from app.realtime.log.log import EventLog, open_redis
from app.routers.documentation.pages import DOCUMENTS, PAGES
from tests.gateways import gateway
from tests.realtime.listening import tick
from tests.realtime.socket_clients import POLLING, WEBSOCKET, stock_client
from tests.realtime.stream_clients import open_stream
from tests.waiting import wait_until

PREFIX = "/a/fx"
TOKEN = "a token of sixteen letters"


@pytest_asyncio.fixture(params=["taken off", "passed on", "header", "header, passed on"])
async def under(request: pytest.FixtureRequest, valkey_url: str, tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """A client of a gateway under the prefix, by the setting or by a proxy's header, and what a path starts with here."""
    kind: str = request.param
    headers = {"X-Forwarded-Prefix": PREFIX} if kind.startswith("header") else {}
    settings: dict[str, Any] = {} if headers else {"root_path": f"{PREFIX}/"}
    async with (
        gateway(valkey_url, tmp_path, admin_tokens=TOKEN, alert_tokens=TOKEN, **settings) as running,
        httpx.AsyncClient(base_url=running.url, headers=headers) as http,
    ):
        yield http, PREFIX if kind.endswith("passed on") else ""


async def test_every_url_that_an_answer_names_is_under_the_prefix(under: tuple[httpx.AsyncClient, str]) -> None:
    http, start = under
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    document = (await http.get(f"{start}/openapi.json")).json()
    assert document["servers"] == [{"url": PREFIX}]
    assert "/api/v1/info" in document["paths"]
    info = (await http.get(f"{start}/api/v1/info")).json()
    assert info["endpoints"]["get_info"] == f"{PREFIX}/api/v1/info"
    for path in ("/api/v1/prices/no_such_pair", "/no/such/path", f"{PREFIX}x", "/api/v1/candles/EUR_USD?x=1"):
        problem = await http.get(f"{start}{path}")
        assert problem.status_code in (404, 422)
        assert problem.json()["instance"] == f"{PREFIX}{path.partition('?')[0]}"
    level = {"instrument": "EUR_USD", "direction": "above", "level": "9.1"}
    made = await http.post(f"{start}/api/v1/alerts/levels", json=level, headers=bearer)
    assert made.headers["location"] == f"{PREFIX}/api/v1/alerts/levels/{made.json()['id']}"
    assert (await http.get(f"{start}/admin/state", headers=bearer)).status_code == 200
    assert (await http.get(f"{start}/metrics")).text.startswith("# HELP")
    assert (await http.get(f"{start}/health/live")).status_code == 200
    assert f"  {PREFIX}/stream?pairs=*" in (await http.get(f"{start}/")).text


async def test_requests_are_limited_under_the_prefix_too(valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path, root_path=PREFIX, rate_limit_requests=2) as running,
        httpx.AsyncClient(base_url=running.url) as http,
    ):
        paths = (f"{PREFIX}/api/v1/info", "/api/v1/info", f"{PREFIX}/api/v1/info")
        assert [(await http.get(path)).status_code for path in paths] == [200, 200, 429]


async def test_a_redirect_stays_on_the_host_and_under_the_prefix(under: tuple[httpx.AsyncClient, str]) -> None:
    http, start = under
    answer = await http.get(f"{start}/docs/?a=b", headers={"Host": "evil.test"})
    assert (answer.status_code, answer.headers["location"]) == (307, f"{PREFIX}/docs?a=b")
    if start:
        bare = await http.get(f"{start}?a=b")
        assert (bare.status_code, bare.headers["location"]) == (307, "fx/?a=b")
        assert str(bare.url.join("fx/?a=b")) == f"{http.base_url}{PREFIX}/?a=b"


async def test_streams_and_sockets_are_served_both_ways(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path, root_path=PREFIX) as running, open_redis(valkey_url) as redis:
        for start in ("", PREFIX):
            async with (
                open_stream(running.url, f"{start}/stream/EUR_USD") as stream,
                stock_client(running.url, WEBSOCKET, socketio_path=f"{start}/socket.io") as socket,
                stock_client(running.url, POLLING, socketio_path=f"{start}/socket.io") as polling,
            ):
                for client in (socket, polling):
                    await client.call("subscribe", {"pairs": ["EUR_USD"]})
                [id] = await EventLog(redis).publisher().publish([tick("EUR_USD", "1.5")])
                await stream.read_until(id)
                for client in (socket, polling):
                    await wait_until(lambda client=client, id=id: id in client.ids, "the client has the price")  # type: ignore[misc]


@pytest.mark.parametrize("path", ["/api", "/api/v1", *(f"/{name}" for name in sorted(FIRST_SEGMENTS))])
def test_a_prefix_that_is_a_path_of_the_gateway_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"\AROOT_PATH: {path} is a path of the gateway itself\Z"):
        create_app(Settings(_env_file=None, root_path=path), "redis://")  # type: ignore[call-arg]


async def test_a_proxy_may_take_off_a_prefix_that_is_a_path_of_the_gateway(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, httpx.AsyncClient(base_url=running.url) as http:
        for prefix in ("/api", "/docs"):
            headers = {"X-Forwarded-Prefix": prefix}
            info = await http.get("/api/v1/info", headers=headers)
            assert info.json()["endpoints"]["get_info"] == f"{prefix}/api/v1/info"
            page = await http.get("/docs", headers={**headers, "Accept": "text/html"})
            assert page.status_code in (200, 503), "not a redirect"


def test_every_path_of_the_gateway_is_known() -> None:
    paths = list(create_app(Settings(_env_file=None), "redis://").openapi()["paths"])  # type: ignore[call-arg]
    paths += [*PAGES, *DOCUMENTS, "/assets/", "/socket.io/"]
    assert {path.split("/")[1] for path in paths} - {""} <= FIRST_SEGMENTS
