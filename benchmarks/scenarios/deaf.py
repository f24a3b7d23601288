"""Clients that never read, beside clients that do."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.flow import Flow
from benchmarks.outcome import Outcome
from benchmarks.stand import Bench, Stand, stand
from benchmarks.subjects import GATEWAY_WEBSOCKET, Subject

_LAGGING_TIMEOUT = 3
_SMALL_ROOM = 4096
_LOOKS_EVERY = 0.1
_FILLS_MEMORY = Flow(2000, 20, 3)
"""More events than the gateway keeps in memory, so that later growth is due to clients."""


@dataclass(frozen=True, slots=True)
class Deaf:
    """The same flow to the reading clients, first without the deaf ones, then with them until they are disconnected."""

    key: str = "deaf"
    title: str = "900 websocket clients, without and with 100 more that never read"
    clients: int = 1000
    deaf: int = 100
    subjects: Sequence[Subject] = (GATEWAY_WEBSOCKET,)

    async def measure(self, subject: Subject, bench: Bench) -> list[Outcome]:
        """Return both outcomes; the second with resident memory before, at its peak and after, and the number disconnected."""
        listening = self.clients - self.deaf
        flow = Flow(200, 20, bench.seconds(20, 12))
        settings = {"LAGGING_TIMEOUT": str(_LAGGING_TIMEOUT)}
        async with stand(subject, bench, self.clients, settings) as running:
            _, memory = await running.fill(listening)
            await running.warm_up(_FILLS_MEMORY)
            alone = await running.run(self.key, f"{listening} clients, {flow}", replace(flow, seconds=4), listening, memory)
            before = running.rss
            crowd = await running.crowd("deaf")
            await crowd.ask("connect", clients=self.deaf, room=_SMALL_ROOM)
            await crowd.ask("deaf")
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(_largest(running))
                with_them = await running.run(self.key, f"{listening} and {self.deaf} deaf, {flow}", flow, listening, memory)
                watching.cancel()
            closed = (await crowd.ask("closed"))["closed"]
            figures: dict[str, float | str] = {
                "RSS MiB before": before / 2**20,
                "peak": max(running.largest, running.rss) / 2**20,
                "after": running.rss / 2**20,
                "disconnected": f"{closed} of {self.deaf}",
            }
            if alone.p99 and with_them.p99:
                figures["× p99 without deaf clients"] = with_them.p99 / alone.p99
        return [alone, replace(with_them, figures=figures)]


async def _largest(running: Stand) -> None:
    while True:
        running.largest = max(running.largest, running.rss)
        await asyncio.sleep(_LOOKS_EVERY)
