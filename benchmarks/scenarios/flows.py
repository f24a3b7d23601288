"""Clients on all pairs, at a steady rate of events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.flow import Flow
from benchmarks.outcome import Outcome
from benchmarks.stand import Bench, stand
from benchmarks.subjects import Subject


@dataclass(frozen=True, slots=True)
class Flows:
    """``rates`` are events per second to try: one for the gateway, rising ones for a peer until it falls behind."""

    key: str
    title: str
    clients: int
    burst: int
    rates: Mapping[Subject, Sequence[float]]
    seconds: float = 4
    quick_seconds: float = 1

    @property
    def subjects(self) -> Sequence[Subject]:
        """The subjects to measure."""
        return tuple(self.rates)

    async def measure(self, subject: Subject, bench: Bench) -> list[Outcome]:
        """Return the outcome at the highest rate the subject sustained, or at the lowest if it sustained none."""
        best: Outcome | None = None
        seconds = bench.seconds(self.seconds, self.quick_seconds)
        async with stand(subject, bench, self.clients) as running:
            _, memory = await running.fill(self.clients)
            for rate in self.rates[subject]:
                flow = Flow(rate, self.burst, seconds)
                outcome = await running.run(self.key, f"{self.clients:,} clients, {flow}", flow, self.clients, memory)
                if best is not None and not outcome.sustained:
                    best = replace(
                        best, troubles=(*best.troubles, f"at {rate:,g} events per second {'; '.join(outcome.troubles)}")
                    )
                    break
                best = outcome
                if not outcome.sustained:
                    break
        assert best is not None
        return [best]
