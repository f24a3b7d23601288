"""One server measured once: memory as its clients come, then CPU time and latency while events flow to them."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from app.embedded import private_valkey
from benchmarks.processes import Companion, Cores, MeasurementFailed, RunningServer, companion, on_cores, server
from benchmarks.subjects import Subject, launch

_FIRST_CLIENTS = 10
_FIRST_EVENTS = 40
_WARM_UP_SECONDS = 1.0
_SAMPLES = 20_000
_SETTLES_WITHIN = 0.3


@dataclass(frozen=True)
class Flow:
    """Events as they are published: ``rate`` a second, ``burst`` written together, for ``seconds``."""

    rate: float
    burst: int
    seconds: float

    @property
    def bursts(self) -> int:
        """How many bursts that makes, at least one."""
        return max(1, round(self.rate * self.seconds / self.burst))

    @property
    def events(self) -> int:
        """How many events that makes."""
        return self.bursts * self.burst

    @property
    def lasts(self) -> float:
        """The seconds that these need at the rate."""
        return self.events / self.rate


@dataclass(frozen=True)
class Figures:
    """What one flow through one server showed. Times are in seconds, memory in bytes.

    ``memory`` is what all clients took before anything was sent to them. ``took`` is from the first event to the last
    delivery, or to the end of the flow where that was later; ``published_in`` is what the publisher needed for the flow.
    ``least`` and ``most`` are what single clients got of ``expected``. CPU shares are parts of one core.
    """

    subject: Subject
    flow: Flow
    clients: int
    memory: int
    took: float
    published_in: float
    delivered: int
    expected: int
    least: int
    most: int
    lost: int
    cpu: float
    p50: float | None
    p99: float | None
    load_share: float
    publisher_share: float
    valkey_share: float

    @property
    def per_second(self) -> float:
        """Deliveries a second."""
        return self.delivered / self.took

    @property
    def cpu_per_delivery(self) -> float:
        """CPU seconds of the server for one delivery."""
        return self.cpu / max(1, self.delivered)

    @property
    def memory_per_client(self) -> float:
        """Bytes of the server for one client."""
        return self.memory / self.clients

    @property
    def sustained(self) -> bool:
        """True where deliveries kept up with the events, but for a last burst still under way."""
        return self.took < self.flow.lasts + max(0.1 * self.flow.lasts, self.flow.burst / self.flow.rate)


async def measure(subject: Subject, clients: int, flows: Sequence[Flow], cores: Cores, node_folder: Path | None) -> list[Figures]:
    """Start everything, measure each flow in turn, stop everything. Raises MeasurementFailed."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="fx-bench-")))
        valkey = await stack.enter_async_context(_valkey(folder, cores))
        how = launch(subject, valkey.url, folder, clients, node_folder)
        running = await stack.enter_async_context(server(how.command, how.variables, folder=folder, cores=cores.server))
        load = await stack.enter_async_context(
            companion("benchmarks.load", subject.transport, running.url, folder=folder, cores=cores.others)
        )
        publisher = await stack.enter_async_context(
            companion("benchmarks.publisher", valkey.url, folder=folder, cores=cores.others)
        )
        stand = _Stand(subject, clients, running, load, publisher, valkey)
        try:
            memory = await stand.fill()
            return [await stand.run(flow, memory) for flow in flows]
        except (OSError, psutil.Error) as error:
            raise MeasurementFailed(f"a process ended too early: {error}") from None


class _Stand:
    """A server with its clients, its publisher and its Valkey."""

    def __init__(
        self, subject: Subject, clients: int, running: RunningServer, load: Companion, publisher: Companion, valkey: RunningServer
    ) -> None:
        self._subject = subject
        self._clients = clients
        self._server = running
        self._load = load
        self._publisher = publisher
        self._valkey = valkey

    async def fill(self) -> int:
        """Bring up all clients and give the memory that they took, without what the first ones of all took once."""
        await self._load.ask("connect", clients=_FIRST_CLIENTS)
        await self._warm_up(Flow(_FIRST_EVENTS, _FIRST_EVENTS, 1))
        await self._load.ask("disconnect")
        await asyncio.sleep(_SETTLES_WITHIN)
        before = memory_of(self._server.pid)
        await self._load.ask("connect", clients=self._clients)
        await asyncio.sleep(_SETTLES_WITHIN)
        return memory_of(self._server.pid) - before

    async def run(self, flow: Flow, memory: int) -> Figures:
        """Measure one flow after a short one of its kind."""
        await self._warm_up(Flow(flow.rate, flow.burst, _WARM_UP_SECONDS))
        await self._load.ask("count", sample_every=max(1, flow.events * self._clients // _SAMPLES))
        began = time.monotonic()
        before = self._cpu()
        published = await self._publish(flow)
        beside = [after - was for was, after in zip(before, self._cpu(), strict=True)][1:]
        ended = time.monotonic()
        counted = await self._load.ask("finish", expected=flow.events)
        cpu = self._cpu()[0] - before[0]
        took = max(ended, counted["last_arrival"]) - began
        return Figures(
            subject=self._subject,
            flow=flow,
            clients=self._clients,
            memory=memory,
            took=took,
            published_in=published,
            delivered=counted["delivered"],
            expected=flow.events,
            least=counted["least"],
            most=counted["most"],
            lost=counted["lost"],
            cpu=cpu,
            p50=counted["p50"],
            p99=counted["p99"],
            load_share=counted["cpu_share"],
            publisher_share=beside[0] / (ended - began),
            valkey_share=beside[1] / (ended - began),
        )

    async def _warm_up(self, flow: Flow) -> None:
        await self._load.ask("count", sample_every=1000)
        await self._publish(flow)
        await self._load.ask("finish", expected=flow.events)

    async def _publish(self, flow: Flow) -> float:
        answer = await self._publisher.ask("publish", bursts=flow.bursts, burst=flow.burst, rate=flow.rate)
        took: float = answer["took"]
        return took

    def _cpu(self) -> list[float]:
        return [cpu_of(pid) for pid in (self._server.pid, self._publisher.pid, self._valkey.pid)]


def cpu_of(pid: int) -> float:
    """The CPU seconds a process has used, all its threads, in user code and in the kernel."""
    if sys.platform == "linux":
        # The process's own CPU clock, as clock_getcpuclockid(3) names it; /proc counts in hundredths of a second.
        return time.clock_gettime(~pid << 3 | 2)
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def memory_of(pid: int) -> int:
    """The resident bytes of a process."""
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
