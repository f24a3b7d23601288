"""What trusted proxies say of a request."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.config import load_settings
from app.errors import ConfigurationError
from app.origin import Authority
from app.realtime.wire.forwarded import (
    SCOPE_KEY,
    Forwarded,
    ForwardedMiddleware,
    canonical_prefix,
    forwarded_elements,
)
from tests.gateways import gateway
from tests.realtime.socket_clients import UPGRADE_HEADERS
from tests.realtime.stream_clients import tcp

TRUSTED = ("127.0.0.1", "10.0.0.0/8", "fd00::/8")
PEER = "10.1.2.3"


Said = Sequence[tuple[str, str]]


async def heard(headers: Said, peer: str = PEER, type: str = "http", trusted: Sequence[str] = TRUSTED) -> Any:
    """The scope of a request of a peer, as the application sees it."""
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in [("Host", "10.9.9.9:5001"), *headers]]
    scheme = {"http": "http", "websocket": "ws"}[type]
    scope = {"type": type, "scheme": scheme, "client": (peer, 1234), "root_path": "", "headers": pairs}
    await ForwardedMiddleware(application, trusted)(scope, None, None)
    return seen[0]


def host_of(scope: Any) -> str:
    """The host that the application sees."""
    [host] = [value.decode() for name, value in scope["headers"] if name == b"host"]
    return str(host)


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ([("X-Forwarded-For", "192.0.2.1")], "192.0.2.1"),
        ([("X-Forwarded-For", "203.0.113.9, 192.0.2.1, 10.0.0.1 ,127.0.0.1")], "192.0.2.1"),
        ([("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "192.0.2.1")], "192.0.2.1"),
        ([("X-Forwarded-For", "10.0.0.1, 10.0.0.2")], "10.0.0.1"),
        ([("X-Forwarded-For", "192.0.2.1:54321")], "192.0.2.1"),
        ([("X-Forwarded-For", "[2001:DB8::0:1]:443")], "2001:db8::1"),
        ([("X-Forwarded-For", "2001:db8::1")], "2001:db8::1"),
        ([("X-Forwarded-For", "::ffff:192.0.2.1")], "192.0.2.1"),
        ([("X-Forwarded-For", "unknown")], PEER),
        ([("X-Forwarded-For", "192.0.2.1, <script>")], PEER),
        ([("X-Forwarded-For", "192.0.2.1, garbage, 10.0.0.7")], "10.0.0.7"),
        ([("X-Forwarded-For", "")], PEER),
        ([("X-Forwarded-For", "203.0.113.9," * 2000)], PEER),
        ([("Forwarded", "for=192.0.2.1")], "192.0.2.1"),
        ([("Forwarded", 'for=203.0.113.9, For="[2001:db8::1]:4711";proto=https, for="10.0.0.1:80"')], "2001:db8::1"),
        ([("Forwarded", "for=203.0.113.9"), ("Forwarded", "for=192.0.2.1")], "192.0.2.1"),
        ([("Forwarded", "for=192.0.2.1, for=_hidden")], PEER),
        ([("Forwarded", 'for="192.0.2.1')], PEER),
        ([("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=203.0.113.9")], "192.0.2.1"),
        ([("X-Forwarded-For", "unknown"), ("Forwarded", "for=203.0.113.9")], PEER),
        ([("X-Forwarded-Proto", "https"), ("Forwarded", "for=192.0.2.1")], "192.0.2.1"),
    ],
)  # fmt: skip
async def test_the_client_is_the_nearest_address_that_is_no_trusted_proxy(headers: Said, client: str) -> None:
    assert (await heard(headers))["client"][0] == client
    assert (await heard(headers, peer=f"::ffff:{PEER}"))["client"][0] == client
    assert (await heard(headers, peer="198.51.100.7"))["client"] == ("198.51.100.7", 1234)
    assert (await heard(headers, peer="::ffff:198.51.100.7"))["client"] == ("198.51.100.7", 1234)


@pytest.mark.parametrize(
    ("headers", "host", "port", "scheme", "prefix"),
    [
        ([("X-Forwarded-Host", "FX.example.com")], "fx.example.com", None, "http", ""),
        ([("X-Forwarded-Host", "evil.test, fx.example.com:8443")], "fx.example.com:8443", None, "http", ""),
        ([("X-Forwarded-Host", "fx.example.com"), ("X-Forwarded-Port", "8443")], "fx.example.com", 8443, "http", ""),
        ([("X-Forwarded-Proto", "http, HTTPS")], "10.9.9.9:5001", None, "https", ""),
        ([("X-Forwarded-Proto", "wss")], "10.9.9.9:5001", None, "https", ""),
        ([("X-Forwarded-Proto", "javascript")], "10.9.9.9:5001", None, "http", ""),
        ([("X-Forwarded-Host", "fx.example.com/evil")], "10.9.9.9:5001", None, "http", ""),
        ([("X-Forwarded-Host", "")], "10.9.9.9:5001", None, "http", ""),
        ([("X-Forwarded-Port", "99999")], "10.9.9.9:5001", None, "http", ""),
        ([("X-Forwarded-Port", "+1")], "10.9.9.9:5001", None, "http", ""),
        ([("X-Forwarded-Prefix", "/fx/")], "10.9.9.9:5001", None, "http", "/fx"),
        ([("X-Forwarded-Prefix", "/evil, /a/fx")], "10.9.9.9:5001", None, "http", "/a/fx"),
        ([("X-Forwarded-Prefix", "//evil.test")], "10.9.9.9:5001", None, "http", ""),
        ([("Forwarded", 'host="fx.example.com:8443";proto=https')], "fx.example.com:8443", None, "https", ""),
        ([("Forwarded", "host=e.test;proto=http, for=192.0.2.1;host=fx.example;proto=https")], "fx.example", None, "https", ""),
        ([("Forwarded", "host=e.test,for=192.0.2.1;host=fx.example, for=10.0.0.1;proto=https")], "fx.example", None, "https", ""),
        ([("Forwarded", "host=evil.test, for=192.0.2.1")], "10.9.9.9:5001", None, "http", ""),
        ([("Forwarded", "host=e.test;proto=https"), ("X-Forwarded-Host", "fx.example.com")], "fx.example.com", None, "https", ""),
        ([("Forwarded", "host=fx.example.com"), ("X-Forwarded-For", "192.0.2.1")], "fx.example.com", None, "http", ""),
        ([("Forwarded", "host=fx.example.com"), ("X-Forwarded-Prefix", "/fx")], "fx.example.com", None, "http", "/fx"),
    ],
)  # fmt: skip
async def test_the_address_of_the_gateway_is_what_the_nearest_proxy_says(
    headers: Said, host: str, port: int | None, scheme: str, prefix: str
) -> None:
    scope = await heard(headers)
    assert (host_of(scope), scope[SCOPE_KEY].port, scope["scheme"], scope["root_path"]) == (host, port, scheme, prefix)
    socket = await heard(headers, type="websocket")
    assert (host_of(socket), socket["scheme"]) == (host, scheme.replace("http", "ws"))
    for others in (await heard(headers, peer="198.51.100.7"), await heard(headers, trusted=[])):
        assert (host_of(others), others["scheme"], others["root_path"]) == ("10.9.9.9:5001", "http", "")
        assert SCOPE_KEY not in others
    assert host_of(await heard(headers, peer="198.51.100.7", trusted=[*TRUSTED, "198.51.100.0/24"])) == host


async def test_a_request_without_a_host_gets_that_of_the_proxy() -> None:
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    headers = [(b"x-forwarded-host", b"fx.example.com")]
    scope = {"type": "http", "scheme": "http", "client": (PEER, 1), "headers": headers}
    await ForwardedMiddleware(application, ["*"])(scope, None, None)
    assert seen[0]["headers"][-1] == (b"host", b"fx.example.com")
    assert seen[0][SCOPE_KEY] == Forwarded(host=Authority("fx.example.com"))


def test_values_of_forwarded_may_be_quoted() -> None:
    assert forwarded_elements(r'For="_a;b,\"c\\";host = x') == []
    assert forwarded_elements(r' For="_a;b,\"c" ; HOST=x , by=y;') == [{"for": '_a;b,"c', "host": "x"}, {"by": "y"}]
    for malformed in ("for", "for=a;for=b", "=a", 'for="a"b', "for=a b", "for=a,", 'for="a', "x" * 10_000 + "=a"):
        assert forwarded_elements(malformed) == [], malformed


def test_a_prefix_is_a_plain_path() -> None:
    assert (canonical_prefix("/a/b.c~_-/"), canonical_prefix("/" + "a" * 199)) == ("/a/b.c~_-", "/" + "a" * 199)
    for text in (
        "",
        "/",
        "a",
        "//",
        "//a",
        "/a//b",
        "/..",
        "/a/../b",
        "/a/.",
        "/a?b",
        "/a b",
        "/ä",
        "/%2e",
        "/a\n",
        "/" + "a" * 200,
    ):
        assert canonical_prefix(text) is None, text


async def test_what_is_no_address_is_named_and_trusts_no_proxy(caplog: pytest.LogCaptureFixture) -> None:
    scope = await heard([("X-Forwarded-For", "192.0.2.1")], peer="nginx", trusted=["nginx", "10.1.2.3/8"])
    assert scope["client"][0] == "nginx"
    assert caplog.messages == ["FORWARDED_ALLOW_IPS: 'nginx' is neither an address nor a network, so that it trusts no proxy"]
    assert (await heard([("X-Forwarded-For", "192.0.2.1")], trusted=["10.9.9.9/8"]))["client"][0] == "192.0.2.1"


def test_a_prefix_of_the_settings_is_checked_at_the_start() -> None:
    assert [load_settings(root_path=path).root_path for path in ("", "/", "/fx/", "/a/b")] == ["", "", "/fx", "/a/b"]
    for path in ("fx", "/fx/../x", "https://example.com/fx", "/f x"):
        with pytest.raises(ConfigurationError, match=r"\AROOT_PATH: a path such as /fx is needed"):
            load_settings(root_path=path)


async def test_the_pages_own_sockets_connect_behind_a_proxy_that_changes_the_host(valkey_url: str, tmp_path: Path) -> None:
    page = "https://fx.example.com:8443"
    known: list[dict[str, str]] = [
        {"X_Forwarded_Host": "fx.example.com:8443"},
        {"X_Forwarded_Host": "fx.example.com", "X_Forwarded_Port": "8443"},
        {"Host": "fx.example.com", "X_Forwarded_Port": "8443"},
        {"Host": "fx.example.com", "X_Forwarded_For": "192.0.2.1"},
        {"Forwarded": 'for=192.0.2.1;host="fx.example.com:8443";proto=https'},
        {"Sec_Fetch_Site": "same-origin"},
    ]
    unknown = [{}, {"Host": "fx.example.com"}, {"X_Forwarded_Host": "other.example:8443"}, {"Forwarded": "host=fx.example.com"}]
    polling, websocket = "/socket.io/?EIO=4&transport=polling", "/socket.io/?EIO=4&transport=websocket"
    async with gateway(valkey_url, tmp_path) as running:
        for headers, statuses in [(case, (200, 101)) for case in known] + [(case, (400, 403)) for case in unknown]:
            assert await status(running.url, polling, Origin=page, **headers) == statuses[0], headers
            assert await status(running.url, websocket, Origin=page, **UPGRADE_HEADERS, **headers) == statuses[1], headers
    async with gateway(valkey_url, tmp_path / "2", forwarded_allow_ips="") as running:
        for headers in known[:5]:
            assert await status(running.url, polling, Origin=page, **headers) == 400, headers


async def status(url: str, path: str, **headers: str) -> int:
    """The status of the answer to a request that has only these headers."""
    reader, writer = await tcp(url)
    lines = [f"GET {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    try:
        return int((await asyncio.wait_for(reader.readline(), 30)).split()[1])
    finally:
        writer.close()


async def test_clients_of_one_untrusted_address_share_a_limit_whatever_they_claim(valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path, rate_limit_requests=2, forwarded_allow_ips="10.0.0.0/8") as running,
        httpx.AsyncClient(base_url=running.url) as http,
    ):
        claims = [{"X-Forwarded-For": f"192.0.2.{number}", "Forwarded": f"for=192.0.2.{number}"} for number in range(3)]
        assert [(await http.get("/api/v1/info", headers=claim)).status_code for claim in claims] == [200, 200, 429]
