"""``python -m benchmarks.rest``: the cost of reading prices, bars and measures, beside constant bytes of the same sizes."""

import asyncio
import statistics
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from urllib.parse import urlsplit

import psutil
import typer
from rich.console import Console
from rich.table import Table

from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.measures.measures import MEASURE_BARS
from app.market.pair import CurrencyPair
from app.run.embedded import private_valkey
from app.sources import SOURCES
from app.storage.database.database import open_database
from app.storage.market.candles import Candles
from benchmarks.machine import this_machine
from benchmarks.processes import Cores, companion, server

_COMMAND = (sys.executable, "-m", "fx_gateway.cli")
_LARGEST_ANSWER = 4_194_304
_BARS = 5000
_ALL_PRICES = "/api/v1/prices/all"
_HISTORY = {
    f"{_BARS} bars": f"/api/v1/candles/EUR_USD?limit={_BARS}",
    f"measures of {MEASURE_BARS} bars": f"/api/v1/metrics/volatility/EUR_USD?bars={MEASURE_BARS}",
}


def main(
    connections: Annotated[
        int, typer.Option(min=1, help="Concurrent connections, each sending its next request when answered.")
    ] = 16,
    seconds: Annotated[float, typer.Option(min=0.2, help="Duration of each round, per server.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, alternating between the servers; medians are shown.")] = 5,
    rate: Annotated[float, typer.Option(min=1, help="Simulated prices per second meanwhile.")] = 20,
) -> None:
    """Measure the cost of responses in requests per second and in CPU time, and the time that reading history takes."""
    asyncio.run(_measure(connections, seconds, rounds, rate))


async def _measure(connections: int, seconds: float, rounds: int, rate: float) -> None:
    cores = Cores.apart()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="fx-bench-rest-")))
        await _store_bars(folder)
        redis_url = await stack.enter_async_context(private_valkey(folder / "valkey"))
        settings = {
            "REDIS_URL": redis_url, "DATA_DIR": str(folder), "RATE_LIMIT_REQUESTS": "0", "SIMULATED_RATE": str(rate),
        }  # fmt: skip
        gateway = await stack.enter_async_context(
            server([*_COMMAND, "gateway", "--port", "0"], settings, folder=folder, cores=cores.server)
        )
        await stack.enter_async_context(companion("jobs.feed", folder=folder, cores=cores.others, variables=settings))
        size = await _until_priced(f"{gateway.url}{_ALL_PRICES}")
        cells: list[tuple[str, ...]] = []
        for name, path, at_once in [
            ("all prices", _ALL_PRICES, connections),
            *((name, path, 1) for name, path in _HISTORY.items()),
        ]:
            if path != _ALL_PRICES:
                size = await _size(f"{gateway.url}{path}")
            folder_of = folder / f"constant-{size}"
            folder_of.mkdir()
            command = [sys.executable, "-m", "benchmarks.constant", str(size)]
            async with server(command, {}, folder=folder_of, cores=cores.server) as constant:
                routes = {name: (f"{gateway.url}{path}", gateway.pid), "constant": (f"{constant.url}/constant", constant.pid)}
                figures: dict[str, list[tuple[float, float]]] = {route: [] for route in routes}
                for _ in range(rounds):
                    for route, (url, pid) in routes.items():
                        figures[route].append(await _ask(url, pid, at_once, seconds))
            cells += _rows(name, size, at_once, figures)
    table = Table(title=f"{rounds} × {seconds:g} s, medians")
    for column in ("route", "bytes", "connections", "requests/s", "ms per request", "CPU µs per request", "ratio to constant"):
        table.add_column(column, justify="right" if column != "route" else "left")
    for cell in cells:
        table.add_row(*cell)
    console = Console()
    console.print(this_machine().processor)
    console.print(table)


def _rows(name: str, size: int, connections: int, figures: Mapping[str, list[tuple[float, float]]]) -> list[tuple[str, ...]]:
    """The rows of a route and of the constant one of its size."""
    ratios = [ours / theirs for (ours, _), (theirs, _) in zip(figures[name], figures["constant"], strict=True)]
    told = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    rows: list[tuple[str, ...]] = []
    for route, measured in figures.items():
        requests, cost = map(statistics.median, zip(*measured, strict=True))
        took = f"{1000 * connections / requests:.1f}"
        rows.append(
            (route, f"{size:,}", str(connections), f"{requests:,.0f}", took, f"{cost * 1e6:,.0f}", told if route == name else "")
        )
    return rows


async def _store_bars(folder: Path) -> None:
    """Store hours of EUR_USD that end now, where the gateway looks for them."""
    pair, hour, price = CurrencyPair.parse("EUR_USD"), timedelta(hours=1), Decimal("1.10000")
    first = Granularity.H1.start(datetime.now(UTC)) - (_BARS + 100) * hour
    bars = []
    for number in range(_BARS + 100):
        mid = price + Decimal(number * 7919 % 1000) / 100_000
        ohlc = Ohlc(mid, mid + Decimal("0.00030"), mid - Decimal("0.00030"), mid + Decimal("0.00010"))
        bars.append(Candle(pair, Granularity.H1, first + number * hour, ohlc, ohlc, ohlc, 1, True, "simulated"))
    async with open_database(f"sqlite:///{folder}/gateway.db") as database:
        await database.migrate()
        await Candles(database, SOURCES).write(bars)


async def _size(url: str) -> int:
    """Return the size of a response."""
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    answer = await _answer(reader, writer, _request(url))
    writer.close()
    return len(answer)


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
    return f"GET {parts.path}{'?' if parts.query else ''}{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert length <= _LARGEST_ANSWER
    return await reader.readexactly(length)


if __name__ == "__main__":
    typer.run(main)
