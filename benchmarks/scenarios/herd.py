"""Clients that all resume at once, while others follow a live stream."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.flow import Flow
from benchmarks.outcome import Outcome
from benchmarks.stand import Bench, stand
from benchmarks.subjects import GATEWAY_WEBSOCKET, Subject

_AT_ONCE = 1000
_MISSED = 200
_LIVE_RATE = 20


@dataclass(frozen=True, slots=True)
class Herd:
    """The herd resumes from one cursor; the stream lasts long enough that the herd gets live events too."""

    key: str = "herd"
    title: str = "5,000 websocket clients resume at once, 100 follow a live stream"
    returning: int = 5000
    live: int = 100
    subjects: Sequence[Subject] = (GATEWAY_WEBSOCKET,)

    @property
    def clients(self) -> int:
        """The most concurrent clients."""
        return self.returning + self.live

    async def measure(self, subject: Subject, bench: Bench) -> list[Outcome]:
        """Measure the latency of the live clients meanwhile, and what the herd received."""
        flow = Flow(_LIVE_RATE, 1, bench.seconds(12, 10))
        async with stand(subject, bench, self.clients) as running:
            # Connect the herd once before, so that memory and caches are as after a network failure.
            await running.load.ask("connect", clients=self.returning, at_once=_AT_ONCE)
            cursor = (await running.publish(Flow(1000, 20, 0.02), ids=True))["ids"][-1]
            await running.load.ask("finish", expected=0)
            await running.load.ask("disconnect")
            missed = (await running.publish(Flow(1000, 20, _MISSED / 1000), ids=True))["ids"]
            stayed = await running.crowd("stayed")
            await stayed.ask("connect", clients=self.live)
            await stayed.ask("count", sample_every=1)
            await running.load.ask("count", sample_every=1_000_000, ids=True)
            cpu_before = running.cpu
            async with asyncio.TaskGroup() as tasks:
                publishing = tasks.create_task(running.publish(flow, ids=True))
                said = await running.load.ask("connect", clients=self.returning, since=cursor, at_once=_AT_ONCE)
                recovered = await running.load.ask("finish", expected=_MISSED)
            ids = publishing.result()["ids"]
            counted = await stayed.ask("finish", expected=flow.events)
            returned = await running.load.ask("finish", expected=_MISSED + len(ids), ids=[*missed, *ids])
            figures: dict[str, float | str] = {
                "s until all have resumed": said["took"],
                "s more until all missed events arrived": recovered["waited"],
                "got every missed and later event once, in order": f"{returned['exact']:,} of {self.returning:,}",
                "highest latency of the live clients, ms": 1e3 * (counted["longest"] or 0),
                "% of a core used by the resuming clients": 100 * said["cpu_share"],
            }
            return [
                Outcome(
                    self.key, subject, f"{self.live} live at {flow}, {self.returning:,} resume with {_MISSED} missed events each",
                    delivered=counted["delivered"] + returned["delivered"], expected=counted["expected"] + returned["expected"],
                    cpu=running.cpu - cpu_before, p50=counted["p50"], p99=counted["p99"], rss=running.rss, figures=figures,
                )
            ]  # fmt: skip
