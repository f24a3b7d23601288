"""The gateway under a path prefix and for strangers to it: the short configuration of the documentation, and the one deployed."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from app.realtime.log.log import EventLog, open_redis
from tests.deploy.proxy import Proxy, nginx, proxy
from tests.docs.blocks import DOCS, blocks
from tests.gateways import RunningGateway, gateway
from tests.realtime.listening import tick
from tests.realtime.socket_clients import POLLING, UPGRADE, WEBSOCKET, stock_client
from tests.realtime.stream_clients import open_stream, raw_stream
from tests.waiting import wait_until

_BLOCKS = [block.text for block in blocks(DOCS / "deployment.md") if block.kind == "nginx"]
_TLS = re.compile(r"^ +(http2|ssl_\w+) .*\n", re.MULTILINE)

WAYS = ("deployed", "taken off", "passed on")


@asynccontextmanager
async def short(folder: Path, block: str, gateway_url: str) -> AsyncGenerator[Proxy]:
    """nginx with a block of the documentation, without TLS."""

    def text(home: Path, address: str) -> str:
        adapted = re.sub(r"listen [\d.:]+( ssl)?;", f"listen {address};", _TLS.sub("", block))
        adapted = adapted.replace("127.0.0.1:5001", urlsplit(gateway_url).netloc)
        temporary = "".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return f"pid {home}/pid;\nevents {{}}\nhttp {{ access_log /dev/stdout; {temporary}\n{adapted}\n}}\n"

    async with nginx(folder, text) as running:
        yield running


@asynccontextmanager
async def under_a_prefix(redis_url: str, folder: Path, way: str) -> AsyncGenerator[tuple[str, RunningGateway]]:
    """The URL under which nginx serves a gateway, and the gateway."""
    async with gateway(redis_url, folder, root_path="/fx") as running:
        if way == "deployed":
            async with proxy(folder, running.url, under="/fx") as server:
                yield f"{server.url}/fx", running
            return
        block = (
            _BLOCKS[1]
            if way == "taken off"
            else _BLOCKS[1].replace("proxy_pass http://127.0.0.1:5001/;", "proxy_pass http://127.0.0.1:5001;")
        )
        assert (block == _BLOCKS[1]) == (way == "taken off")
        async with short(folder, block, running.url) as server:
            yield f"{server.url}/fx", running


@pytest.mark.parametrize("way", WAYS)
async def test_every_transport_and_page_is_served_under_a_prefix(valkey_url: str, tmp_path: Path, way: str) -> None:
    async with under_a_prefix(valkey_url, tmp_path, way) as (url, _), open_redis(valkey_url) as redis:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        socketio = {"socketio_path": "/fx/socket.io", "headers": {"Origin": origin}}
        async with (
            open_stream(origin, "/fx/stream/EUR_USD") as stream,
            stock_client(origin, WEBSOCKET, **socketio) as websocket,
            stock_client(origin, POLLING, **socketio) as polling,
            stock_client(origin, UPGRADE, **socketio) as upgraded,
            httpx.AsyncClient(follow_redirects=True, timeout=30) as http,
        ):
            for client in (websocket, polling, upgraded):
                await client.call("subscribe", {"pairs": ["EUR_USD"]})
            [id] = await EventLog(redis).publisher().publish([tick("EUR_USD", "1.5")])
            await stream.read_until(id)
            for client in (websocket, polling, upgraded):
                await wait_until(lambda client=client: id in client.ids, "the client has the price")  # type: ignore[misc]
            assert (await http.get(f"{url}/api/v1/prices/EUR_USD")).status_code in (200, 404)
            assert (await http.get(f"{url}/openapi.json")).json()["servers"] == [{"url": "/fx"}]
            assert (await http.get(f"{url}/api/v1/nothing")).json()["instance"] == "/fx/api/v1/nothing"
            slash = await http.get(f"{url}/docs/", headers={"Accept": "text/html"})
            assert str(slash.url) == f"{url}/docs"
            bare = await http.get(url)
            assert str(bare.url) == f"{url}/"
            assert "/fx/stream" in bare.text
            assert (await http.get(f"{url}/metrics")).status_code == (403 if way == "deployed" else 200)
            assert (await http.get(f"{origin}/elsewhere")).status_code == 404


async def test_a_browser_whose_stream_meets_a_restart_is_told_to_come_back(tmp_path: Path) -> None:
    async with short(tmp_path, _BLOCKS[0], "http://127.0.0.1:1") as server:
        async with open_stream(server.url, "/stream?pairs=*", Accept="text/event-stream", Connection="close") as stream:
            await stream.read_to_end()
            assert [event.type for event in stream.parser.events] == ["server_error"]
            assert stream.parser.retries == [3000]
            assert stream.header("access-control-allow-origin") == "*"
        async with raw_stream(server.url, "/api/v1/info", Accept="*/*") as answer:
            assert answer.status == 503


@pytest.mark.parametrize("configuration", ["short", "deployed"])
async def test_what_clients_claim_of_the_gateways_address_does_not_count(
    valkey_url: str, tmp_path: Path, configuration: str
) -> None:
    claims = {
        "X_Forwarded_Host": "evil.test", "X_Forwarded_Port": "1", "X_Forwarded_Prefix": "/evil", "X_Forwarded_For": "192.0.2.1",
        "Forwarded": "for=192.0.2.1;host=evil.test",
    }  # fmt: skip
    async with gateway(valkey_url, tmp_path) as running:
        serving = short(tmp_path, _BLOCKS[0], running.url) if configuration == "short" else proxy(tmp_path, running.url)
        async with serving as server:
            path = "/socket.io/?EIO=4&transport=polling"
            async with raw_stream(server.url, path, Origin="http://evil.test", Connection="close", **claims) as stranger:
                assert stranger.status == 400
            async with raw_stream(server.url, path, Origin=server.url, Connection="close", **claims) as own:
                assert own.status == 200
            async with raw_stream(server.url, "/api/v1/nothing", Connection="close", **claims) as problem:
                assert b'"instance":"/api/v1/nothing"' in await problem.read_to_end()
