"""The pages that describe the interface, as they are served and as a browser shows them."""

import json
import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
import yaml
from fastapi import FastAPI
from playwright.async_api import Browser, Page, async_playwright, expect

from app.http import problems
from app.routers.documentation import pages
from tests.contract.furnished import TOKEN
from tests.generated.tools import ASYNCAPI, OPENAPI, PROJECT

_PAGES = ("/docs", "/redoc", "/docs/events")
_SCREENSHOTS = PROJECT / "build" / "screenshots"


# ---------------------------------------------------------------- as they are served


async def test_pages_and_what_they_load_come_compressed_with_a_policy(furnished_url: str) -> None:
    loaded: set[str] = set()
    async with httpx.AsyncClient(base_url=furnished_url) as client:
        for path in _PAGES:
            page = await client.get(path)
            assert page.status_code == 200
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert page.headers["content-encoding"] == "gzip"
            assert page.headers["cache-control"] == "no-cache"
            policy = page.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self';")
            assert "unsafe" not in policy
            assert "http" not in policy
            links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
            assert not [link for link in links if "//" in link or link.startswith("/")], "all are relative to the page"
            links = [urljoin(path, link) for link in links]
            assert {*_PAGES, "/", "/openapi.json"} <= set(links)
            loaded |= {link for link in links if link.startswith("/assets/")}
        assert len(loaded) == 6
        for link in loaded:
            asset = await client.get(link)
            plain = await client.get(link, headers={"Accept-Encoding": "identity"})
            assert asset.status_code == plain.status_code == 200
            assert asset.headers["content-encoding"] == "gzip"
            assert "content-encoding" not in plain.headers
            assert asset.content == plain.content
            assert asset.headers["x-content-type-options"] == "nosniff"
            assert "immutable" in asset.headers["cache-control"]
            assert re.search(r"-[0-9a-f]{12}\.(js|css)$", link)


@pytest.mark.parametrize("name", ["docs.html", "no.js", "..%2F..%2Fmain.py", "%2e%2e%2f%2e%2e%2fmain.py", "events.d.ts.gz"])
async def test_only_assets_are_served(furnished_url: str, name: str) -> None:
    async with httpx.AsyncClient(base_url=furnished_url) as client:
        assert (await client.get(f"/assets/{name}")).status_code == 404


async def test_the_documents_that_are_served_are_the_committed_ones(furnished_url: str) -> None:
    async with httpx.AsyncClient(base_url=furnished_url) as client:
        served = (await client.get("/openapi.json")).json()
        committed = json.loads(OPENAPI.read_text(encoding="utf-8"))
        assert served == {name: value for name, value in committed.items() if name != "servers"}
        assert (await client.get("/docs/asyncapi.yaml")).text == ASYNCAPI.read_text(encoding="utf-8")


async def test_pages_that_are_not_built_say_how_they_are(tmp_path: Path) -> None:
    app = FastAPI(docs_url=None, redoc_url=None)
    app.include_router(pages.router(tmp_path))
    problems.register(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        for path in (*_PAGES, "/docs/asyncapi.yaml", "/docs/events.d.ts"):
            answer = await client.get(path)
            assert answer.status_code == 503
            assert "make pages" in answer.text
        assert (await client.get("/openapi.json")).status_code == 200


# ---------------------------------------------------------------- as a browser shows them


@pytest.fixture
async def browser(chromium: Path) -> AsyncGenerator[Browser]:
    """A browser of this test's own."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        await running.close()


async def test_every_page_shows_without_a_fault_and_asks_nobody_else(browser: Browser, furnished_url: str) -> None:
    operations = [
        operation["operationId"]
        for methods in json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"].values()
        for operation in methods.values()
    ]
    messages = yaml.safe_load(ASYNCAPI.read_text(encoding="utf-8"))["components"]["messages"]
    _SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        context = await browser.new_context(color_scheme=scheme, viewport={"width": 1300, "height": 900})
        page = await context.new_page()
        faults = _faults(page, furnished_url)
        await page.goto(f"{furnished_url}/docs")
        await expect(page.locator(".opblock")).to_have_count(len(operations))
        await page.screenshot(path=_SCREENSHOTS / f"docs-{scheme}.png")
        await page.goto(f"{furnished_url}/redoc")
        await expect(page.locator("[data-section-id^='operation/'], [id^='operation/']").first).to_be_visible()
        shown = await page.locator("[id*='operation/']").evaluate_all("all => all.map(each => each.id.split('operation/')[1])")
        assert set(shown) >= set(operations)
        await page.screenshot(path=_SCREENSHOTS / f"redoc-{scheme}.png")
        await page.goto(f"{furnished_url}/docs/events")
        for name in messages:
            await expect(page.locator(f"article#{name}")).to_have_count(1)
        await page.screenshot(path=_SCREENSHOTS / f"events-{scheme}.png")
        assert (
            await page.locator("main a[href^='#']").evaluate_all(
                "links => links.filter(link => !document.getElementById(link.hash.slice(1))).map(link => link.hash)"
            )
            == []
        )
        await context.close()
        assert faults == []


async def test_an_operation_is_tried_out_from_the_page(browser: Browser, furnished_url: str) -> None:
    page = await browser.new_page()
    faults = _faults(page, furnished_url)
    await page.goto(f"{furnished_url}/docs#/prices/get_current_price")
    operation = page.locator("#operations-prices-get_current_price")
    await operation.locator("input").first.fill("EUR_USD")
    await operation.get_by_role("button", name="Execute").click()
    await expect(operation.locator(".live-responses-table .response .highlight-code").first).to_contain_text('"ask": "1.20000"')
    assert faults == []


async def test_a_stream_is_shown_as_it_comes(browser: Browser, furnished_url: str) -> None:
    page = await browser.new_page()
    faults = _faults(page, furnished_url)
    await page.goto(f"{furnished_url}/docs#/streams/stream_pair")
    operation = page.locator("#operations-streams-stream_pair")
    await operation.locator("input").first.fill("EUR_USD")
    await operation.get_by_role("button", name="Execute").click()
    shown = operation.locator(".live-responses-table .response .highlight-code").first
    await expect(shown).to_contain_text("event: stream_opened")
    news = {"type": "data_ready", "data": {"data_type": "candles", "count": 3}}
    async with httpx.AsyncClient(base_url=furnished_url, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        (await client.post("/api/v1/events", json=news)).raise_for_status()
    await expect(shown).to_contain_text("event: data_ready")
    await page.screenshot(path=_SCREENSHOTS / "docs-stream.png")
    await operation.get_by_role("button", name="Clear").click()
    await expect(shown).to_have_count(0)
    assert faults == []


async def test_the_events_are_readable_on_a_phone(browser: Browser, furnished_url: str) -> None:
    page = await browser.new_page(viewport={"width": 360, "height": 740})
    await page.goto(f"{furnished_url}/docs/events#subscribe")
    await expect(page.locator("article#subscribe")).to_be_in_viewport()
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    await page.screenshot(path=_SCREENSHOTS / "events-phone.png")


def _faults(page: Page, url: str) -> Sequence[str]:
    """What goes wrong in a page from now on: errors, what the policy stops, and requests to others."""
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if _is_fault(message.type, message.text) else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith((url, "data:", "blob:")) else faults.append(request.url),
    )
    return faults


def _is_fault(kind: str, text: str) -> bool:
    """Swagger UI takes the underscores of a name for spaces that were written the old way, and advises against them."""
    return kind in ("error", "warning") and not text.startswith("Deprecated: escaping deep link whitespace")
