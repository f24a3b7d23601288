"""What every scenario is."""

from collections.abc import Sequence
from typing import Protocol

from benchmarks.outcome import Outcome
from benchmarks.stand import Bench
from benchmarks.subjects import Subject


class Scenario(Protocol):
    """A load that servers are put to. ``title`` says which; ``subjects`` are those that can be, the gateway first."""

    @property
    def key(self) -> str:
        """What the command line calls it."""

    @property
    def title(self) -> str:
        """What the report calls it."""

    @property
    def subjects(self) -> Sequence[Subject]:
        """Who is measured."""

    @property
    def clients(self) -> int:
        """The most clients at once."""

    async def measure(self, subject: Subject, bench: Bench) -> list[Outcome]:
        """Measure one of the subjects. Raises MeasurementFailed."""
