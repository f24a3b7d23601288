"""Runs all cells at once: each client has a line of its own."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.lines.clients import Client, keep_following, session_over
from tests.lines.feed import Feed, feed
from tests.lines.figures import FREED_WITHIN, Figures, figures
from tests.lines.gateway import QUIET_PAIR, Gateway, gateway
from tests.lines.line import Kind, Line, line
from tests.lines.record import Record
from tests.lines.shape import FREE, Shape
from tests.lines.stock import node
from tests.private_valkey import PrivateValkey
from tests.waiting import wait_until

BURST = 400
"""Prices that are published together in the end."""
_VANISH_AFTER = 5.0
_BEYOND_FREED = 15.0
_BETWEEN = 0.1
_OPENED_WITHIN = 60.0
_CAUGHT_UP_WITHIN = 20.0
_BURST_WITHIN = 5.0
_LOOK = 0.25

COMPACT = " compact"
JAVASCRIPT = "JavaScript "


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    shapes: Sequence[Shape]
    transports: Sequence[str]
    seconds: float
    """How long prices flow once all clients are connected; after a pause they flow for a third of it again."""
    pause: float
    """Seconds without prices in between, after which a flood meets lines that carry nothing."""
    rate: float
    """Prices a second."""


@dataclass(frozen=True)
class Burst:
    """How many prices of one burst reached a client that reads at once."""

    transport: str
    received: int


@dataclass(frozen=True)
class Outcome:
    """What came of a plan."""

    plan: Plan
    kind: Kind
    cells: Sequence[Figures]
    bursts: Sequence[Burst]
    lag: float
    """The longest time for which this process, and so every client in it, did not get a processor, in seconds."""


@dataclass
class Cell:
    """A client on its line."""

    shape: Shape
    transport: str
    line: Line
    gateway: Gateway
    record: Record = field(default_factory=Record)
    task: asyncio.Task[None] | None = None
    freed: float | None = None


class Lag:
    """Measures how late the loop of this process is."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + 0.05
            await asyncio.sleep(0.05)
            self.longest = max(self.longest, clock() - due)


async def known_transports(of: Gateway, *, stock: bool) -> list[str]:
    """Return every transport that a gateway speaks, and its stock clients in JavaScript."""
    names = ["websocket", "polling", "sse", *(["plain"] if await of.speaks_plain() else [])]
    compact = [name + COMPACT for name in names] if await of.speaks_compact() else []
    return [*names, *compact, *([JAVASCRIPT + "websocket", JAVASCRIPT + "polling"] if stock else [])]


@asynccontextmanager
async def stand(kind: Kind, number: int) -> AsyncGenerator[tuple[Feed, Sequence[Gateway]]]:
    """A Valkey, a feed, and so many gateways."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fx-lines-")))
        data = folder / "valkey"
        data.mkdir()
        valkey = PrivateValkey(data, folder / "valkey.sock")
        valkey.start()
        stack.callback(valkey.kill)
        host = "127.0.0.1" if kind is Kind.PROXY else "0.0.0.0"
        gateways = [
            await stack.enter_async_context(gateway(valkey.url, folder / f"gateway{i}", host)) for i in range(1, number + 1)
        ]
        yield await stack.enter_async_context(feed(valkey.url)), gateways


async def carry_out(plan: Plan, kind: Kind, *, stock: bool, say: Callable[[str], None]) -> Outcome:
    """Measure. Lines that vanish have a gateway each, where the only client of a transport is theirs."""
    vanishing = [shape for shape in plan.shapes if shape.vanishes]
    lag = Lag()
    async with stand(kind, 1 + len(vanishing)) as (feeding, gateways), AsyncExitStack() as stack:
        known = await known_transports(gateways[0], stock=stock)
        wanted = [name for name in plan.transports or known if name in known]
        numbers = iter(range(1, 256))
        cells: list[Cell] = []
        for shape in plan.shapes:
            of = gateways[1 + vanishing.index(shape)] if shape.vanishes else gateways[0]
            for transport in wanted:
                if shape.vanishes and (COMPACT in transport or JAVASCRIPT in transport):
                    continue
                cells.append(Cell(shape, transport, await _opened_line(kind, shape, numbers, of, stack), of))
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(lag.run()), flowing := tasks.create_task(feeding.flow(plan.rate))]
            try:
                say(f"connecting {len(cells)} clients while prices flow, {plan.rate:g} a second")
                await _connect(cells, tasks, stack)
                watching = [tasks.create_task(_vanish(cell)) for cell in cells if cell.shape.vanishes]
                say(f"prices flow for {plan.seconds:g} s, then pause, then flow for {plan.seconds / 3:g} s")
                await asyncio.sleep(plan.seconds)
                feeding.stop()
                await flowing
                await asyncio.sleep(plan.pause)
                await feeding.flow(plan.rate, plan.seconds / 3)
                say("waiting for the last alert to arrive")
                await _until_caught_up(cells, await feeding.alert())
                outcome, longest = [], lag.longest
                for cell in cells:
                    outcome.append(figures(cell.shape, cell.line.began, cell.transport, cell.record, feeding))
                    await asyncio.sleep(_BETWEEN)  # the lines go on meanwhile
                bursts = await _burst(cells, feeding)
                if watching:
                    say("waiting for the places of clients that have vanished")
                    await asyncio.wait(watching)
            finally:
                for task in (*running, *(cell.task for cell in cells if cell.task)):
                    task.cancel()
    outcome = [replace(found, freed=cell.freed) for found, cell in zip(outcome, cells, strict=True)]
    return Outcome(plan, kind, outcome, bursts, longest)


async def _opened_line(kind: Kind, shape: Shape, numbers: Iterator[int], of: Gateway, stack: AsyncExitStack) -> Line:
    return await stack.enter_async_context(line(kind, shape, next(numbers), of.port))


async def _connect(cells: Sequence[Cell], tasks: asyncio.TaskGroup, stack: AsyncExitStack) -> None:
    """Connect one client after the other: all at once, and programs that start, they would keep the processors from the rest."""
    for cell in cells:
        transport = cell.transport.removeprefix(JAVASCRIPT).removesuffix(COMPACT)
        if cell.transport.startswith(JAVASCRIPT):
            cell.task = tasks.create_task(node(cell.line, transport, cell.record))
            await _opened([cell])
        else:
            http = await stack.enter_async_context(session_over(cell.line))
            pairs = QUIET_PAIR if cell.shape.quiet else "*"
            client = Client(cell.line, http, cell.record, pairs, compact=cell.transport.endswith(COMPACT))
            cell.task = tasks.create_task(keep_following(transport, client))
            await asyncio.sleep(_BETWEEN)
    await _opened(cells)


async def _opened(cells: Sequence[Cell]) -> None:
    def missing() -> str:
        waiting = [f"{cell.line}, {cell.transport} {cell.record.cuts}" for cell in cells if cell.record.began is None]
        return f"these clients are connected: {'; '.join(waiting)}"

    await wait_until(lambda: all(cell.record.began is not None for cell in cells), missing, _OPENED_WITHIN)


async def _vanish(cell: Cell) -> None:
    """Let a line vanish in the midst of the flow, and measure until the gateway has the client's place free."""
    await asyncio.sleep(_VANISH_AFTER)
    clock = asyncio.get_running_loop().time
    vanished = clock()
    cell.line.vanish()
    while (waited := clock() - vanished) < FREED_WITHIN + _BEYOND_FREED:
        if not (await cell.gateway.clients())[cell.transport]:
            cell.freed = waited
            return
        await asyncio.sleep(_LOOK)


async def _until_caught_up(cells: Sequence[Cell], last_alert: int) -> None:
    followed = [cell for cell in cells if not cell.shape.vanishes]
    deadline = asyncio.get_running_loop().time() + _CAUGHT_UP_WITHIN
    while asyncio.get_running_loop().time() < deadline:
        if all(last_alert in cell.record.alerts for cell in followed):
            break
        await asyncio.sleep(_LOOK)
    await asyncio.sleep(2)  # what was merged is told after the last event


async def _burst(cells: Sequence[Cell], feeding: Feed) -> list[Burst]:
    """Publish many prices at once, and count what reaches the clients that nothing hinders."""
    free = [cell for cell in cells if cell.shape == FREE]
    before, known = {cell.transport: len(cell.record.prices) for cell in free}, len(feeding.prices)
    if not free:
        return []
    await feeding.burst(BURST)
    assert len(feeding.prices) == known + BURST
    deadline = asyncio.get_running_loop().time() + _BURST_WITHIN
    while asyncio.get_running_loop().time() < deadline:
        if all(len(cell.record.prices) >= before[cell.transport] + BURST for cell in free):
            break
        await asyncio.sleep(_LOOK)
    return [Burst(cell.transport, len(cell.record.prices) - before[cell.transport]) for cell in free]
