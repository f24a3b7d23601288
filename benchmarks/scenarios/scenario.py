"""The protocol of a scenario."""

from collections.abc import Sequence
from typing import Protocol

from benchmarks.outcome import Outcome
from benchmarks.stand import Bench
from benchmarks.subjects import Subject


class Scenario(Protocol):
    """A load, described by ``title``, and the subjects that support it, the gateway first."""

    @property
    def key(self) -> str:
        """Its name on the command line."""

    @property
    def title(self) -> str:
        """Its heading in the report."""

    @property
    def subjects(self) -> Sequence[Subject]:
        """The subjects to measure."""

    @property
    def clients(self) -> int:
        """The most concurrent clients."""

    async def measure(self, subject: Subject, bench: Bench) -> list[Outcome]:
        """Measure one subject. Raises MeasurementFailed."""
