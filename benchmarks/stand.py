"""A stand: one server with its clients, its publisher and its Valkey."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from app.run.embedded import private_valkey
from benchmarks.flow import Flow
from benchmarks.outcome import Outcome
from benchmarks.processes import Companion, Cores, MeasurementFailed, RunningServer, companion, on_cores, server
from benchmarks.subjects import Subject, launch

_FIRST_CLIENTS = 10
_FIRST_EVENTS = 40
_WARM_UP_SECONDS = 1.0
_SAMPLES = 20_000
_SETTLES_WITHIN = 0.3
_BUSY = 0.85


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements share: the cores, the folder of prepared programs, and whether rough figures are enough."""

    cores: Cores
    prepared: Path
    quick: bool = False

    def seconds(self, whole: float, quick: float) -> float:
        """Return the duration to use."""
        return quick if self.quick else whole


class Stand:
    """A running server. ``crowd`` starts another process of clients beside the first."""

    def __init__(self, subject: Subject, bench: Bench, folder: Path, running: RunningServer, valkey: RunningServer) -> None:
        self.subject = subject
        self.server = running
        self._bench = bench
        self._folder = folder
        self._valkey = valkey
        self._stack = AsyncExitStack()
        self.largest = 0
        self.load: Companion
        self.publisher: Companion

    async def __aenter__(self) -> "Stand":
        self.load = await self.crowd("load")
        self.publisher = await self._stack.enter_async_context(
            companion("benchmarks.publisher", self._valkey.url, folder=self._folder, cores=self._bench.cores.others)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def crowd(self, name: str, module: str = "benchmarks.load") -> Companion:
        """Start a process of clients of this server."""
        return await self._stack.enter_async_context(
            companion(
                module, self.subject.dialect, self.server.url, folder=self._folder, cores=self._bench.cores.others, name=name
            )
        )

    @property
    def cpu(self) -> float:
        """CPU seconds the server has used."""
        return cpu_of(self.server.pid)

    @property
    def rss(self) -> int:
        """Resident memory of the server, in bytes."""
        return memory_of(self.server.pid)

    async def fill(self, clients: int, flowing: bool = True, **how: object) -> tuple[dict[str, Any], float]:
        """Connect the clients; return the load's answer, and the memory per client without one-time allocations."""
        await self.load.ask("connect", clients=_FIRST_CLIENTS)
        if flowing:
            await self.warm_up(Flow(_FIRST_EVENTS, _FIRST_EVENTS, 1))
        await self.load.ask("disconnect")
        await asyncio.sleep(_SETTLES_WITHIN)
        before = self.rss
        said = await self.load.ask("connect", clients=clients, **how)
        await asyncio.sleep(_SETTLES_WITHIN)
        return said, (self.rss - before) / clients

    async def warm_up(self, flow: Flow) -> None:
        """Run a flow without measuring it."""
        await self.load.ask("count", sample_every=1000)
        await self.publish(flow)
        await self.load.ask("finish", expected=flow.events)

    async def publish(self, flow: Flow, ids: bool = False) -> dict[str, Any]:
        """Publish a flow and return the publisher's answer, with the ids if asked."""
        return await self.publisher.ask("publish", bursts=flow.bursts, burst=flow.burst, rate=flow.rate, ids=ids)

    async def run(self, scenario: str, load: str, flow: Flow, clients: int, memory: float | None) -> Outcome:
        """Measure one flow, after a short warm-up of the same kind."""
        await self.warm_up(Flow(flow.rate, flow.burst, min(_WARM_UP_SECONDS, flow.seconds)))
        await self.load.ask("count", sample_every=max(1, flow.events * clients // _SAMPLES))
        began, cpu_before = time.monotonic(), self.cpu
        published = await self.publish(flow)
        ended = time.monotonic()
        counted = await self.load.ask("finish", expected=flow.events)
        cpu = self.cpu - cpu_before
        took = max(ended, counted["last_arrival"]) - began
        sustained = took < flow.lasts + max(0.1 * flow.lasts, flow.burst / flow.rate)
        return Outcome(
            scenario=scenario,
            subject=self.subject,
            load=load,
            delivered=counted["delivered"],
            expected=counted["expected"],
            took=took,
            cpu=cpu,
            p50=counted["p50"],
            p99=counted["p99"],
            memory=memory,
            rss=self.rss,
            received=counted["bytes"],
            sustained=sustained,
            troubles=troubles_of(counted, flow, published["took"], sustained, cpu / took),
        )


def troubles_of(
    counted: Mapping[str, Any], flow: Flow, published_in: float, sustained: bool, server_share: float
) -> tuple[str, ...]:
    """Describe what limits the trust in a measurement. Shares are of one core."""
    found = []
    if counted["cpu_share"] > _BUSY:
        found.append(f"the clients used {counted['cpu_share']:.0%} of their core, so latency and losses are partly due to them")
    if published_in > 1.05 * flow.lasts + 0.1:
        found.append("the publisher did not reach the rate")
    if not sustained:
        found.append(
            f"deliveries did not keep up: the server used {server_share:.0%} of its core, the clients "
            f"{counted['cpu_share']:.0%} of theirs"
        )
    if counted["lost"]:
        found.append(f"{counted['lost']} connections were lost")
    return tuple(found)


@asynccontextmanager
async def stand(subject: Subject, bench: Bench, clients: int, settings: Mapping[str, str] | None = None) -> AsyncGenerator[Stand]:
    """Start everything for up to ``clients`` clients, with extra ``settings`` of the gateway. Raises MeasurementFailed."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="fx-bench-")))
        valkey = await stack.enter_async_context(_valkey(folder, bench.cores))
        how = launch(subject, valkey.url, folder, clients, bench.prepared, bench.cores, settings or {})
        running = await stack.enter_async_context(server(how.command, how.variables, folder=folder, cores=bench.cores.server))
        try:
            yield await stack.enter_async_context(Stand(subject, bench, folder, running, valkey))
        except (OSError, psutil.Error) as error:
            raise MeasurementFailed(f"a process exited early: {error}") from None


def cpu_of(pid: int) -> float:
    """Return the CPU seconds a process has used: all threads, user and kernel time."""
    if sys.platform == "linux":
        # The CPU clock of the process, see clock_getcpuclockid(3). /proc counts only in hundredths of a second.
        return time.clock_gettime(~pid << 3 | 2)
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def memory_of(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    return psutil.Process(pid).memory_info().rss


@asynccontextmanager
async def _valkey(folder: Path, cores: Cores) -> AsyncGenerator[RunningServer]:
    own = psutil.Process()
    others = {child.pid for child in own.children()}
    async with AsyncExitStack() as stack:
        with on_cores(cores.others):
            url = await stack.enter_async_context(private_valkey(folder))
        [pid] = {child.pid for child in own.children()} - others
        yield RunningServer(url, pid)
