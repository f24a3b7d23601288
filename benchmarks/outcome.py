"""What one server showed in one scenario."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.subjects import Subject


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures of one server under one load. Times are in seconds, memory in bytes; None is what was not measured.

    ``load`` says what it was put to. ``delivered`` and ``expected`` are deliveries to all clients together, ``took`` is from the
    first event to the last delivery or the end of the flow, ``cpu`` what the serving process used meanwhile, ``memory`` its
    growth for each client, ``rss`` the whole of it. ``figures`` are those of this scenario alone, named with their units.
    ``troubles`` is what a reader should know before trusting the rest.
    """

    scenario: str
    subject: Subject
    load: str
    delivered: int | None = None
    expected: int | None = None
    took: float | None = None
    cpu: float | None = None
    p50: float | None = None
    p99: float | None = None
    memory: float | None = None
    rss: int | None = None
    sustained: bool = True
    figures: Mapping[str, float | str] = field(default_factory=dict)
    troubles: tuple[str, ...] = ()

    @property
    def cpu_per_delivery(self) -> float | None:
        """CPU seconds of the server for one delivery."""
        return self.cpu / self.delivered if self.cpu is not None and self.delivered else None

    @property
    def per_cpu_second(self) -> float | None:
        """Deliveries for a second of the server's CPU time."""
        return self.delivered / self.cpu if self.cpu and self.delivered else None

    @property
    def per_second(self) -> float | None:
        """Deliveries a second."""
        return self.delivered / self.took if self.delivered is not None and self.took else None
