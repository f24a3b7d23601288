"""The gateways of the laboratory, as users run them, on one Valkey."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from app.market.pair import DEFAULT_PAIRS
from tests.gateways import command

QUIET_PAIR = "EUR_SEK"
"""A pair that is tracked and has no prices."""

_TOKEN = "the-token-of-the-laboratory"


@dataclass(frozen=True)
class Gateway:
    """A gateway process that listens on every address of this namespace."""

    port: int
    http: aiohttp.ClientSession

    async def clients(self) -> dict[str, int]:
        """Return the number of clients of each transport that have a place."""
        headers = {"Authorization": f"Bearer {_TOKEN}"}
        async with self.http.get("/admin/state", headers=headers) as answer:
            answer.raise_for_status()
            state = await answer.json()
        clients: dict[str, int] = state["clients"]["by_transport"]
        return clients

    async def speaks_compact(self) -> bool:
        """Return whether prices come in the compact form too."""
        async with self.http.get("/openapi.json") as answer:
            return "compact" in await answer.text()

    async def speaks_plain(self) -> bool:
        """Return whether there is a plain websocket."""
        try:
            async with self.http.ws_connect(f"/ws?pairs={QUIET_PAIR}"):
                return True
        except aiohttp.WSServerHandshakeError:
            return False


@asynccontextmanager
async def gateway(redis_url: str, folder: Path, host: str) -> AsyncGenerator[Gateway]:
    """A gateway on the Valkey there, with its files in a folder of its own."""
    folder.mkdir()
    variables = {
        "REDIS_URL": redis_url,
        "DATA_DIR": str(folder),
        "TRACKED_PAIRS": ",".join((*DEFAULT_PAIRS, QUIET_PAIR)),
        "ADMIN_TOKENS": _TOKEN,
    }
    async with command("gateway", "--host", host, "--port", "0", cwd=folder, **variables) as process:
        port = urlsplit(await process.ready_url()).port
        assert port is not None
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            yield Gateway(port, http)
