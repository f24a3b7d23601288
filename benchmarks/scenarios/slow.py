"""A client that reads half of what it is sent: how old are the prices it sees?"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.flow import Flow
from benchmarks.outcome import Outcome
from benchmarks.stand import Bench, stand
from benchmarks.subjects import GATEWAY_WEBSOCKET, PYTHON_SOCKETIO, Subject


@dataclass(frozen=True, slots=True)
class Slow:
    """One client on all pairs."""

    key: str = "slow"
    title: str = "One websocket client that reads half of the feed's bytes"
    clients: int = 1
    share: float = 0.5
    subjects: Sequence[Subject] = (GATEWAY_WEBSOCKET, PYTHON_SOCKETIO)

    async def measure(self, subject: Subject, bench: Bench) -> list[Outcome]:
        """Measure the age of the prices when they are read."""
        seconds = bench.seconds(20, 8)
        flow = Flow(1000, 20, seconds + 2)
        async with stand(subject, bench, self.clients) as running:
            reader = await running.crowd("slow", "benchmarks.slow")
            await reader.ask("connect")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(running.publish(flow))
                seen = await reader.ask("read", seconds=seconds, share=self.share)
            figures: dict[str, float | str] = {
                "s age of the oldest price read": seen["oldest"] if seen["oldest"] is not None else "no price",
                "s median age": seen["p50"] if seen["p50"] is not None else "no price",
                "prices read": str(seen["prices"]),
            }
            troubles = ("the server closed the connection",) if seen["closed"] else ()
            return [Outcome(self.key, subject, str(flow), rss=running.rss, figures=figures, troubles=troubles)]
