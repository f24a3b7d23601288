"""Many clients that come at once, and what they take while they wait."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.outcome import Outcome
from benchmarks.stand import Bench, stand
from benchmarks.subjects import Subject

_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Arrival:
    """Clients connect and subscribe, and then are idle: the time, the CPU and the memory that this takes."""

    key: str
    title: str
    clients: int
    subjects: Sequence[Subject]

    async def measure(self, subject: Subject, bench: Bench) -> list[Outcome]:
        """From the first connect to the last confirmation, with many connects in flight; then memory."""
        # A server that cannot send events has none to warm up with.
        flowing = subject.key != "uvicorn"
        async with stand(subject, bench, self.clients) as running:
            await running.load.ask("connect", clients=10)
            await running.load.ask("disconnect")
            cpu_before = running.cpu
            said, memory = await running.fill(self.clients, flowing, at_once=_AT_ONCE)
            cpu, rss = running.cpu - cpu_before, running.rss
        figures = {
            "s until all are confirmed": said["took"],
            "CPU ms a client": 1e3 * cpu / self.clients,
            "% of their core used by the clients": 100 * said["cpu_share"],
        }
        load = f"{self.clients:,} clients arrive, {_AT_ONCE:,} at once"
        return [Outcome(self.key, subject, load, memory=memory, rss=rss, figures=figures)]
