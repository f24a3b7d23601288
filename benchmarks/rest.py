"""``python -m benchmarks.rest``: requests per second of ``/api/v1/prices/all``, beside a route of constant bytes of that size."""

import asyncio
import statistics
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from urllib.parse import urlsplit

import psutil
import typer
from rich.console import Console
from rich.table import Table

from app.run.embedded import private_valkey
from benchmarks.machine import this_machine
from benchmarks.processes import Cores, companion, server

_COMMAND = (sys.executable, "-m", "fx_gateway.cli")
_LARGEST_ANSWER = 65_536


def main(
    connections: Annotated[
        int, typer.Option(min=1, help="Concurrent connections, each sending its next request when answered.")
    ] = 16,
    seconds: Annotated[float, typer.Option(min=0.2, help="Duration of each round, per server.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, alternating between the servers; medians are shown.")] = 5,
    rate: Annotated[float, typer.Option(min=1, help="Simulated prices per second meanwhile.")] = 20,
) -> None:
    """Measure the cost of a response with all prices, in requests per second and in CPU time."""
    asyncio.run(_measure(connections, seconds, rounds, rate))


async def _measure(connections: int, seconds: float, rounds: int, rate: float) -> None:
    cores = Cores.apart()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="fx-bench-rest-")))
        (folder / "constant").mkdir()
        redis_url = await stack.enter_async_context(private_valkey(folder / "valkey"))
        settings = {
            "REDIS_URL": redis_url, "DATA_DIR": str(folder), "RATE_LIMIT_REQUESTS": "0", "SIMULATED_RATE": str(rate),
        }  # fmt: skip
        gateway = await stack.enter_async_context(
            server([*_COMMAND, "gateway", "--port", "0"], settings, folder=folder, cores=cores.server)
        )
        await stack.enter_async_context(companion("jobs.feed", folder=folder, cores=cores.others, variables=settings))
        size = await _until_priced(f"{gateway.url}/api/v1/prices/all")
        command = [sys.executable, "-m", "benchmarks.constant", str(size)]
        constant = await stack.enter_async_context(server(command, {}, folder=folder / "constant", cores=cores.server))
        routes = {
            "all prices": (f"{gateway.url}/api/v1/prices/all", gateway.pid),
            "constant": (f"{constant.url}/constant", constant.pid),
        }
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in routes}
        for _ in range(rounds):
            for name, (url, pid) in routes.items():
                figures[name].append(await _ask(url, pid, connections, seconds))
    table = Table(title=f"{connections} connections, {rounds} × {seconds:g} s, medians")
    for column in ("route", "requests/s", "CPU µs per request"):
        table.add_column(column, justify="right" if column != "route" else "left")
    medians = {name: tuple(map(statistics.median, zip(*measured, strict=True))) for name, measured in figures.items()}
    for name, (requests, cost) in medians.items():
        table.add_row(name, f"{requests:,.0f}", f"{cost * 1e6:.0f}")
    console = Console()
    console.print(this_machine().processor)
    console.print(table)
    ratios = [ours / theirs for (ours, _), (theirs, _) in zip(figures["all prices"], figures["constant"], strict=True)]
    console.print(f"Ratio to the constant route: {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")


async def _until_priced(url: str) -> int:
    """Wait until every pair has a price; return the size of the response."""
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    async with asyncio.timeout(60):
        while b'"pair_count":20' not in (answer := await _answer(reader, writer, _request(url))):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    writer.close()
    return len(answer)


async def _ask(url: str, pid: int, connections: int, seconds: float) -> tuple[float, float]:
    """Return requests per second, and CPU seconds of the server per request."""
    counts = [0] * connections
    deadline = time.monotonic() + seconds

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
        request = _request(url)
        while time.monotonic() < deadline:
            await _answer(reader, writer, request)
            counts[number] += 1
        writer.close()

    before, started = sum(psutil.Process(pid).cpu_times()[:2]), time.monotonic()
    await asyncio.gather(*(one(number) for number in range(connections)))
    took, cpu = time.monotonic() - started, sum(psutil.Process(pid).cpu_times()[:2]) - before
    return sum(counts) / took, cpu / sum(counts)


def _request(url: str) -> bytes:
    parts = urlsplit(url)
    return f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert length <= _LARGEST_ANSWER
    return await reader.readexactly(length)


if __name__ == "__main__":
    typer.run(main)
