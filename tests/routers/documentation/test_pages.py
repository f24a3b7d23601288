"""What the gateway answers at ``/`` and below ``/assets``, without a browser."""

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.http import problems
from app.routers.documentation import pages
from tests.pages.conftest import Record, built

__all__ = ["built"]

_AS_BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Encoding": "gzip, deflate, br"}
_MOST_BYTES = 400_000


@pytest.fixture
async def client(built: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with _client(built) as opened:
        yield opened


def _client(folder: Path) -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(pages.router(folder))
    problems.register(app)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def test_a_browser_gets_the_page_under_a_strict_policy(client: httpx.AsyncClient) -> None:
    answer = await client.get("/", headers=_AS_BROWSER)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'",
        "img-src": "'self' data:", "base-uri": "'none'", "form-action": "'self'", "frame-ancestors": "'none'",
    }  # fmt: skip
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "camera=()" in answer.headers["permissions-policy"]


async def test_the_page_needs_nothing_from_elsewhere_and_holds_no_script_or_style_itself(client: httpx.AsyncClient) -> None:
    html = (await client.get("/", headers=_AS_BROWSER)).text
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", html) == []
    named = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert not [name for name in named if name.startswith("/") or ("://" in name and not name.startswith("data:"))]
    assets = [name for name in named if name.startswith("assets/")]
    assert len(assets) == 3
    for name in assets:
        assert (await client.get(name)).status_code == 200


async def test_a_program_is_told_where_to_go(client: httpx.AsyncClient) -> None:
    answer = await client.get("/", headers={"Accept": "*/*"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "/api/v1/prices/all" in answer.text


async def test_assets_may_be_kept_for_good_and_come_compressed_where_that_is_taken(
    client: httpx.AsyncClient, built: Path
) -> None:
    types = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
    assets = [file for file in built.iterdir() if file.suffix in types]
    assert set(_loaded(built)) < set(assets)
    for file in assets:
        plain = await client.get(f"/assets/{file.name}", headers={"Accept-Encoding": "identity"})
        small = await client.get(f"/assets/{file.name}", headers={"Accept-Encoding": "br;q=1.0, gzip;q=0.8"})
        assert plain.content == small.content == file.read_bytes()
        assert "content-encoding" not in plain.headers
        assert small.headers["content-encoding"] == "gzip"
        assert int(small.headers["content-length"]) == Path(f"{file}.gz").stat().st_size
        for answer in (plain, small):
            assert answer.headers["content-type"] == types[file.suffix]
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert "Accept-Encoding" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("gzip;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("br", False),
        ("", False),
    ],
)
async def test_a_coding_that_a_client_refuses_is_not_used(client: httpx.AsyncClient, accepted: str, compressed: bool) -> None:
    answer = await client.get("/", headers={"Accept": "text/html", "Accept-Encoding": accepted})
    assert ("content-encoding" in answer.headers) is compressed
    assert answer.text.startswith("<!doctype html>")


@pytest.mark.parametrize("name", ["index.html", "..%2Fpages.py", "%2e%2e%2f%2e%2e%2fmain.py", "main.js", "main.js.gz", "%00"])
async def test_only_what_was_built_is_served(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/assets/{name}")).status_code == 404


async def test_head_answers_like_get_without_a_body(client: httpx.AsyncClient) -> None:
    answer = await client.head("/", headers=_AS_BROWSER)
    assert answer.status_code == 200
    assert answer.content == b""


async def test_where_nothing_is_built_the_page_says_how_to(tmp_path: Path) -> None:
    async with _client(tmp_path) as client:
        answer = await client.get("/", headers=_AS_BROWSER)
        assert answer.status_code == 503
        assert "`make pages` builds them" in answer.text
        assert (await client.get("/", headers={"Accept": "*/*"})).status_code == 200


def test_the_page_is_light(built: Path, record_property: Record) -> None:
    compressed = sum(Path(f"{file}.gz").stat().st_size for file in (built / "index.html", *_loaded(built)))
    record_property("compressed_bytes", compressed)
    assert compressed < _MOST_BYTES


def test_what_is_compressed_is_what_is_served_plain(built: Path) -> None:
    for file in built.glob("*.gz"):
        assert gzip.decompress(file.read_bytes()) == file.with_suffix("").read_bytes()


def _loaded(built: Path) -> list[Path]:
    """What the dashboard loads."""
    html = (built / "index.html").read_text(encoding="utf-8")
    return [built / name for name in re.findall(r'"assets/([^"]+)"', html)]
