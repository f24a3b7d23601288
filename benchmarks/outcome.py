"""The outcome of one server in one scenario."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.subjects import Subject


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures of one server under one load. Times are in seconds, memory in bytes; None means not measured.

    ``load`` describes the load. ``delivered`` and ``expected`` are deliveries summed over all clients. ``took`` is the time from
    the first event to the last delivery or the end of the flow. ``cpu`` is the CPU time of the serving process meanwhile,
    ``memory`` its growth per client, ``rss`` its resident memory. ``received`` counts the bytes that the clients read.
    ``figures`` are specific to the scenario, named with their units. ``troubles`` lists what limits the trust in the figures.
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
    received: int | None = None
    sustained: bool = True
    figures: Mapping[str, float | str] = field(default_factory=dict)
    troubles: tuple[str, ...] = ()

    @property
    def cpu_per_delivery(self) -> float | None:
        """CPU seconds of the server per delivery."""
        return self.cpu / self.delivered if self.cpu is not None and self.delivered else None

    @property
    def bytes_per_delivery(self) -> float | None:
        """Bytes on the line per delivery, with all framing above TCP."""
        return self.received / self.delivered if self.received is not None and self.delivered else None

    @property
    def per_cpu_second(self) -> float | None:
        """Deliveries per CPU second of the server."""
        return self.delivered / self.cpu if self.cpu and self.delivered else None

    @property
    def per_second(self) -> float | None:
        """Deliveries per second."""
        return self.delivered / self.took if self.delivered is not None and self.took else None
