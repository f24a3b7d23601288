"""A page in headless Chromium, driven over the DevTools protocol."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.waiting import wait_until


class Page:
    """A page that is open. ``errors`` are the exceptions its scripts did not catch."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._calls = 0
        self.errors: list[str] = []

    async def open(self, url: str, first: str = "") -> None:
        """Load another page in the place of this one, and run a script before those of its own."""
        await self.call("Page.addScriptToEvaluateOnNewDocument", source=first)
        await self.call("Page.navigate", url=url)
        here = f"location.href.split('#')[0] === new URL({json.dumps(url)}).href"
        await self.until(f"{here} && document.readyState === 'complete'", f"{url} is loaded")

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, a promise waited for."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, expression: str, description: str, timeout: float = 20) -> None:
        """Wait until a JavaScript expression is true in the page."""

        async def holds() -> bool:
            return bool(await self.evaluate(expression))

        try:
            await wait_until(holds, description, timeout)
        except AssertionError as error:
            error.add_note(f"The page says:\n{await self.evaluate('document.body?.innerText')}")
            raise

    async def resize(self, width: int, height: int, dark: bool = False) -> None:
        """Show the page in a window of this size, in light or dark colours; a narrow one is a phone's."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        await self.call("Emulation.setDeviceMetricsOverride", **size)

    async def screenshot(self) -> bytes:
        """What the page looks like, as PNG."""
        image = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(image["data"])

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A method of the DevTools protocol; gives its result."""
        self._calls += 1
        await self._connection.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            message = json.loads(await self._connection.recv())
            if message.get("method") == "Runtime.exceptionThrown":
                details = message["params"]["exceptionDetails"]
                self.errors.append(details.get("exception", details).get("description", details["text"]))
            if message.get("id") == self._calls:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result


@asynccontextmanager
async def open_page(chromium: Path, url: str) -> AsyncGenerator[Page]:
    """A page in a browser of its own, whose clock shows UTC. It is closed on leaving."""
    with TemporaryDirectory(prefix="fx-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            str(chromium), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, env={**os.environ, "TZ": "UTC"},
        )  # fmt: skip
        try:
            address = await _debugging_address(Path(profile) / "DevToolsActivePort")
            async with connect(address, max_size=None, ping_interval=None, proxy=None) as connection:
                page = Page(connection)
                await page.call("Runtime.enable")
                await page.call("Page.enable")
                await page.open(url)
                yield page
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def _debugging_address(port_file: Path) -> str:
    """Where the browser's first page takes commands."""
    await wait_until(lambda: port_file.exists() and "\n" in port_file.read_text(), "Chromium takes commands", 60)
    port = int(port_file.read_text().split("\n")[0])
    pages: list[str] = []
    async with httpx.AsyncClient(trust_env=False) as client:

        async def has_page() -> bool:
            targets = (await client.get(f"http://127.0.0.1:{port}/json/list")).json()
            pages.extend(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
            return bool(pages)

        await wait_until(has_page, "Chromium has a page", 30)
    return pages[0]


class Site(ThreadingHTTPServer):
    """A web server of a folder's files. ``requested`` are the paths that were asked for."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(("127.0.0.1", port), partial(_Files, directory=str(folder)))
        self.requested: list[str] = []

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def served(folder: Path, port: int = 0) -> Iterator[Site]:
    """The folder's files on the web, at a free port where none is named."""
    with Site(folder, port) as site:
        thread = Thread(target=site.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield site
        finally:
            site.shutdown()
            thread.join()


class _Files(SimpleHTTPRequestHandler):
    def log_request(self, code: object = "-", size: object = "-") -> None:
        assert isinstance(self.server, Site)
        self.server.requested.append(self.path)

    def log_message(self, format: str, *args: Any) -> None:
        pass
