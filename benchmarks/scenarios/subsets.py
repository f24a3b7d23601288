"""Clients with different pairs, compared with clients that all have the same."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.market.pair import DEFAULT_PAIRS
from benchmarks.flow import Flow
from benchmarks.outcome import Outcome
from benchmarks.stand import Bench, stand
from benchmarks.subjects import GATEWAY_WEBSOCKET, Subject

_SEED = 1971


def random_subsets(clients: int) -> list[list[str]]:
    """Return a random non-empty subset of the pairs for each client; each pair is in it with probability one half."""
    chance = random.Random(_SEED)
    subsets: list[list[str]] = []
    while len(subsets) < clients:
        if subset := [pair for pair in DEFAULT_PAIRS if chance.random() < 0.5]:
            subsets.append(subset)
    return subsets


@dataclass(frozen=True, slots=True)
class Subsets:
    """Bursts to random subsets, then to equal ones with about as many deliveries."""

    key: str = "subsets"
    title: str = "500 websocket clients, each on different pairs"
    clients: int = 500
    subjects: Sequence[Subject] = (GATEWAY_WEBSOCKET,)

    async def measure(self, subject: Subject, bench: Bench) -> list[Outcome]:
        """Measure both on one server; the first outcome has its cost as a multiple of the second."""
        flow = Flow(1000, len(DEFAULT_PAIRS), bench.seconds(4, 1))
        different = random_subsets(self.clients)
        equal = [list(DEFAULT_PAIRS[: len(DEFAULT_PAIRS) // 2])] * self.clients
        outcomes = []
        async with stand(subject, bench, self.clients) as running:
            for name, pairs in (("different subsets", different), ("the same 10 pairs", equal)):
                _, memory = await running.fill(self.clients, pairs=pairs)
                outcomes.append(await running.run(self.key, f"{name}, {flow}", flow, self.clients, memory))
                await running.load.ask("disconnect")
        first, second = outcomes
        assert first.cpu_per_delivery is not None
        assert second.cpu_per_delivery is not None
        assert first.cpu is not None
        assert second.cpu is not None
        figures = {
            "× CPU per delivery of equal subsets": first.cpu_per_delivery / second.cpu_per_delivery,
            "× CPU of equal subsets": first.cpu / second.cpu,
        }
        return [replace(first, figures=figures), second]
