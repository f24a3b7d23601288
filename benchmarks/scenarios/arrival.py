"""Many clients connect at once, then idle."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.outcome import Outcome
from benchmarks.stand import Bench, stand
from benchmarks.subjects import Subject

_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Arrival:
    """Clients connect, subscribe and idle: measures time, CPU and memory."""

    key: str
    title: str
    clients: int
    subjects: Sequence[Subject]

    async def measure(self, subject: Subject, bench: Bench) -> list[Outcome]:
        """Measure from the first connect to the last confirmation, with many in flight; then memory."""
        # Bare uvicorn sends no events, so it cannot warm up with any.
        flowing = subject.key != "uvicorn"
        async with stand(subject, bench, self.clients) as running:
            await running.load.ask("connect", clients=10)
            await running.load.ask("disconnect")
            cpu_before = running.cpu
            said, memory = await running.fill(self.clients, flowing, at_once=_AT_ONCE)
            cpu, rss = running.cpu - cpu_before, running.rss
        figures = {
            "s until all are subscribed": said["took"],
            "CPU ms per client": 1e3 * cpu / self.clients,
            "% of a core used by the clients": 100 * said["cpu_share"],
        }
        load = f"{self.clients:,} clients connect, {_AT_ONCE:,} in flight"
        return [Outcome(self.key, subject, load, memory=memory, rss=rss, figures=figures)]
