"""Clients of every kind that record what they receive, in order."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import httpx
import orjson

from tests.project import PROJECT
from tests.tcp_server import tcp_server

_CLIENTS = PROJECT / "tests" / "clients"

_EVENTS = ("price_update", "volatility_alert", "correlation_alert", "data_ready", "gap")

_PAGE = """<!doctype html><title>recorder</title><script>
const got = [];
const source = new EventSource({url});
const note = (line) => got.push(line);
source.addEventListener("stream_opened", (event) => note("opened " + event.data));
for (const type of {events}) source.addEventListener(type, (event) => note(type + " " + event.data));
async function report() {
  const lines = got.splice(0);
  if (lines.length) await fetch("/collect", { method: "POST", body: lines.join("\\n") });
  setTimeout(report, 50);
}
report();
</script>"""


class Record:
    """What one client received: the payloads in order, and every other line."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.opened: list[dict[str, object]] = []
        self.payloads: list[bytes] = []
        self.other: list[str] = []

    def line(self, line: str) -> None:
        """Record a line ``event payload``."""
        name, _, payload = line.partition(" ")
        if name in _EVENTS:
            self.payloads.append(payload.encode())
        elif name == "opened":
            self.opened.append(orjson.loads(payload))
        else:
            self.other.append(line)

    @property
    def closed(self) -> str | None:
        """Why the client was cut off, as it says, or None while it is not."""
        return next((line for line in self.other if line.startswith("closed ")), None)

    def __str__(self) -> str:
        """The client, how much it has got up to where, and all else that it said."""
        return f"{self.kind} with {len(self.payloads)} events up to {self.last_id}, {self.other[-3:]}"

    @property
    def ids(self) -> list[str]:
        """The ids of the received events, except events without one."""
        return [body["id"] for payload in self.payloads if "id" in (body := orjson.loads(payload))]

    @property
    def last_id(self) -> str | None:
        """The id a client resumes from."""
        for payload in reversed(self.payloads):
            if "id" in (body := orjson.loads(payload)):
                return str(body["id"])
        return None


async def python_socketio(
    url: str, pairs: Sequence[str], since: str | None, record: Record, transport: str = "websocket"
) -> None:
    """python-socketio's client, until cancelled."""
    await _socketio([sys.executable, str(_CLIENTS / "socketio_client.py")], url, pairs, since, record, transport)


async def node_socketio(
    url: str, pairs: Sequence[str], since: str | None, record: Record, node: Path, transport: str = "websocket"
) -> None:
    """socket.io-client on Node, until cancelled."""
    await _socketio([str(node), str(_CLIENTS / "socketio.mjs")], url, pairs, since, record, transport)


async def node_eventsource(url: str, pairs: Sequence[str], since: str | None, record: Record, node: Path) -> None:
    """The npm package eventsource on Node, until cancelled."""
    await _lines_of([str(node), str(_CLIENTS / "eventsource.mjs"), stream_url(url, pairs, since)], record)


async def node_websocket(url: str, pairs: Sequence[str], since: str | None, record: Record, node: Path) -> None:
    """The WebSocket of Node itself, on the plain websocket, until cancelled or closed."""
    resumed = f"&since={since}" if since else ""
    address = f"{url.replace('http', 'ws', 1)}/ws?pairs={quote(','.join(pairs))}{resumed}"
    await _lines_of([str(node), str(_CLIENTS / "websocket.mjs"), address], record)


async def curl(url: str, pairs: Sequence[str], since: str | None, record: Record) -> None:
    """``curl -N``, until cancelled."""
    name = ""
    async for line in _output(["curl", "-sN", stream_url(url, pairs, since)]):
        field, _, value = line.partition(": ")
        if field == "event":
            name = {"stream_opened": "opened"}.get(value, value)
        elif field == "data" and name != "heartbeat":
            record.line(f"{name} {value}")


async def chromium_eventsource(url: str, pairs: Sequence[str], since: str | None, record: Record, chromium: Path) -> None:
    """The EventSource of headless Chromium, in a page of another origin on this machine, until cancelled."""
    page = _PAGE.replace("{url}", orjson.dumps(stream_url(url, pairs, since)).decode()).replace(
        "{events}", orjson.dumps(_EVENTS).decode()
    )

    def collect(body: str) -> None:
        for line in body.split("\n"):
            record.line(line)

    async with page_server(page, collect) as page_url:
        with TemporaryDirectory(prefix="fx-", ignore_cleanup_errors=True) as profile:
            arguments = [
                str(chromium), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                f"--user-data-dir={profile}", page_url,
            ]  # fmt: skip
            async for _ in _output(arguments):
                pass


def stream_url(url: str, pairs: Sequence[str], since: str | None) -> str:
    """The address of an event stream of these pairs."""
    resumed = f"&last_event_id={since}" if since else ""
    return f"{url}/stream?pairs={quote(','.join(pairs))}{resumed}"


@asynccontextmanager
async def page_server(page: str, collect: Callable[[str], None]) -> AsyncGenerator[str]:
    """A tiny web server with one page, which takes what the page posts to ``/collect``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        body = b""
        if head.startswith("POST"):
            length = next(int(line[15:]) for line in head.splitlines() if line.lower().startswith("content-length:"))
            collect((await reader.readexactly(length)).decode())
        elif head.startswith("GET / "):
            body = page.encode()
        answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        writer.write(answer % len(body) + body)
        await writer.drain()

    async with tcp_server(serve, limit=1 << 24) as port:
        yield f"http://127.0.0.1:{port}/"


async def fetch_events(url: str, pairs: Sequence[str], since: str | None = None) -> AsyncIterator[tuple[str, bytes]]:
    """All events of these pairs from ``GET /api/v1/events``, page by page, as id and payload bytes."""
    async with httpx.AsyncClient(base_url=url) as client:
        cursor = since
        while True:
            parameters = {"pairs": ",".join(pairs), "limit": "1000", **({"since": cursor} if cursor else {})}
            answer = await client.get("/api/v1/events", params=parameters)
            answer.raise_for_status()
            body = answer.json()
            for event in body["events"]:
                yield event["id"], orjson.dumps(event["data"])
            if not body["events"] and body["next"] == cursor:
                return
            cursor = body["next"]


async def _socketio(
    program: Sequence[str], url: str, pairs: Sequence[str], since: str | None, record: Record, transport: str
) -> None:
    arguments = [url, transport, orjson.dumps(list(pairs)).decode(), *([since] if since else [])]
    await _lines_of([*program, *arguments], record)


async def _lines_of(arguments: Sequence[str], record: Record) -> None:
    async for line in _output(arguments):
        record.line(line)


async def _output(arguments: Sequence[str]) -> AsyncIterator[str]:
    """The lines of a program's output; it is killed when the iteration stops."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(os.environ),
        limit=1 << 24,
    )
    assert process.stdout is not None
    try:
        while line := await process.stdout.readline():
            yield line.decode().rstrip("\n")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
