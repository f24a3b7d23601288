"""Clients that lack a processor instead of a line: stock ones beside busy loops, in a flood of prices."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tests.lines.feed import Feed
from tests.lines.gateway import Gateway
from tests.lines.line import Kind, Line, line
from tests.lines.record import Record
from tests.lines.shape import FREE
from tests.lines.stock import node, python
from tests.waiting import wait_until

TICKS = 50_000
_RATE = 1_500.0
_TOGETHER = 500
_LOOPS = 6
_DONE_WITHIN = 60.0
_LOOK = 0.5

_CLIENTS: dict[str, tuple[Callable[[Line, str, Record], Awaitable[None]], str]] = {
    "python-socketio, websocket": (python, "websocket"),
    "socket.io-client, polling": (node, "polling"),
}


@dataclass(frozen=True)
class Starved:
    """What came of a client."""

    client: str
    published: int
    received: int
    conflated: int
    cuts: tuple[str, ...]

    @property
    def cut_offs(self) -> int:
        """How often its connection ended."""
        return len(self.cuts)


async def starved(kind: Kind, feeding: Feed, of: Gateway, number: int) -> list[Starved]:
    """Let the clients follow a flood beside busy loops; their lines have this number and the next ones."""
    records = {name: Record() for name in _CLIENTS}
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        running = []
        for i, (name, (follow, transport)) in enumerate(_CLIENTS.items()):
            own = await stack.enter_async_context(line(kind, FREE, number + i, of.port))
            running.append(tasks.create_task(_follow(follow, own, transport, records[name])))
        await wait_until(lambda: all(record.began for record in records.values()), "the clients are connected", 60)
        known = len(feeding.prices)
        async with _busy_loops():
            await feeding.flow(_RATE, TICKS / _RATE)
            while (left := known + TICKS - len(feeding.prices)) > 0:  # the publisher too lacks a processor
                await feeding.burst(min(left, _TOGETHER))
            await _until_all_came(records, await feeding.alert())
        for task in running:
            task.cancel()
    published = list(feeding.prices)[known:]
    return [
        Starved(name, len(published), len(record.prices.intersection(published)), record.conflated, tuple(record.cuts))
        for name, record in records.items()
    ]


async def _follow(follow: Callable[[Line, str, Record], Awaitable[None]], own: Line, transport: str, record: Record) -> None:
    await follow(own, transport, record)


async def _until_all_came(records: dict[str, Record], last_alert: int) -> None:
    clock = asyncio.get_running_loop().time
    deadline = clock() + _DONE_WITHIN
    while clock() < deadline:
        if all(last_alert in record.alerts for record in records.values()):
            return
        await asyncio.sleep(_LOOK)


@asynccontextmanager
async def _busy_loops() -> AsyncGenerator[None]:
    loops = [await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass") for _ in range(_LOOPS)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            await loop.wait()
