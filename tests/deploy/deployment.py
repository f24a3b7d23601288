"""Gateways as they are deployed: two processes behind nginx, on PostgreSQL and Valkey, and clients of every kind."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from app.realtime.log.log import EventLog
from tests.deploy.proxy import proxy
from tests.end_to_end.recorders import Record, curl, node_eventsource, node_socketio, node_websocket, python_socketio
from tests.gateways import GatewayProcess, command
from tests.untraced import UNTRACED

PAIRS = ("EUR_USD", "USD_JPY", "AUD_NZD")

Client = Callable[[str, Sequence[str], str | None, Record], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Deployment:
    """Two gateways behind nginx."""

    url: str
    gateways: Sequence[str]
    processes: Sequence[GatewayProcess]
    start: Callable[..., Coroutine[Any, Any, GatewayProcess]]
    """Starts one more process on the same stores, with these arguments."""

    async def clients(self, gateway: str) -> int:
        """The number of streaming clients that a gateway reports."""
        async with httpx.AsyncClient(base_url=gateway) as http:
            return int((await http.get("/health")).json()["active_clients"])


def clients_of_every_kind(node: Path, folder: Path) -> dict[str, Client]:
    """A client of each kind, by its name."""
    # Node exits while an EventSource waits to reconnect; a timer keeps it running, as a browser would.
    staying = folder / "node"
    staying.write_text(f"#!/bin/sh\nexec {node} --import 'data:text/javascript,setInterval(() => {{}}, 1e9)' \"$@\"\n")
    staying.chmod(0o700)
    return {
        "python websocket": python_socketio,
        "python polling": partial(python_socketio, transport="polling"),
        "node websocket": partial(node_socketio, node=node),
        "node polling": partial(node_socketio, node=node, transport="polling"),
        "node sse": partial(node_eventsource, node=staying),
        "node plain": partial(node_websocket, node=node),
        "curl": curl,
    }


@asynccontextmanager
async def deployment(valkey_url: str, postgres_url: str, folder: Path) -> AsyncGenerator[Deployment]:
    """The processes of a deployment but the feed."""
    environment = {
        "REDIS_URL": valkey_url,
        "DATABASE_URL": postgres_url,
        "DATA_DIR": str(folder),
        # A client that stalls for want of a processor is neither conflated for nor cut off: that is not tested here.
        "SEND_BUFFER_BYTES": "4000000",
        "WEBSOCKET_PING_TIMEOUT": "120",
        "SIMULATED_RATE": "800",
        **UNTRACED,
    }
    async with AsyncExitStack() as stack:

        async def start(*arguments: str) -> GatewayProcess:
            return await stack.enter_async_context(command(*arguments, cwd=folder, **environment))

        processes = [await start("gateway", "--port", "0") for _ in range(2)]
        gateways = [await process.ready_url() for process in processes]
        server = await stack.enter_async_context(proxy(folder, *gateways))
        yield Deployment(server.url, gateways, processes, start)


async def logged_prices(log: EventLog, since: str | None = None) -> list[bytes]:
    """The payloads of every price of our pairs, straight from the log."""
    reader = log.reader() if since is None else log.reader(since)
    payloads: list[bytes] = []
    while events := await reader.read(5000):
        payloads += [event.payload for event in events if event.is_price and set(event.pairs) & set(PAIRS)]
    return payloads
