"""The dashboard in a real browser, on gateways of the tests' own."""

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from app.realtime.log.log import EventLog, Publisher, open_redis
from tests.node_packages import built_pages, packages
from tests.project import PROJECT
from tests.untraced import untraced

__all__ = ["untraced"]

_WITHIN = 20_000

OpenPage = Callable[..., AbstractAsyncContextManager[Page]]
"""Opens a page: its size, its colours (``light`` or ``dark``) and whether motion is reduced."""

Record = Callable[[str, object], None]
"""Keeps a figure with the results of the run."""


@pytest.fixture(scope="session")
def built() -> Path:
    """The pages as the build step has made them; without them the test is skipped."""
    return built_pages()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which finds accessibility violations."""
    return (packages("web") / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures of this run are kept."""
    folder = PROJECT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    """A browser for all tests of a module."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield running
        finally:
            await running.close()


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(browser: Browser, built: Path) -> OpenPage:
    """Opens pages in separate contexts. Uncaught script errors and violations of the content security policy fail the test."""

    @asynccontextmanager
    async def opened(
        width: int = 1440, height: int = 900, scheme: str = "light", motion: str = "no-preference"
    ) -> AsyncIterator[Page]:
        context = await browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce" if motion == "reduce" else "no-preference",
        )
        page = await context.new_page()
        page.set_default_timeout(_WITHIN)
        expect.set_options(timeout=_WITHIN)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if _is_fault(message.type, message.text) else None)
        try:
            yield page
        finally:
            await context.close()
        assert faults == []

    return opened


def _is_fault(kind: str, text: str) -> bool:
    """True if the page is at fault. Browsers also log connections that the test itself cut or blocked, and refused requests."""
    refusals = ("status of 401", "status of 403", "status of 404")
    connection = ("net::ERR_", "WebSocket connection to", "EventSource's response", *refusals)
    return kind in ("error", "warning") and not any(words in text for words in connection)


@pytest.fixture
def port() -> Iterator[int]:
    """A port reserved for the test while its gateway is stopped: bound, but not listened on."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest_asyncio.fixture(loop_scope="module")
async def publisher(valkey_url: str) -> AsyncIterator[Publisher]:
    """A publisher on the log, independent of any gateway."""
    async with open_redis(valkey_url) as redis:
        yield EventLog(redis).publisher()
