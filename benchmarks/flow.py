"""A flow: how events are published."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flow:
    """``rate`` events per second, published in bursts of ``burst``, for ``seconds``."""

    rate: float
    burst: int
    seconds: float

    @property
    def bursts(self) -> int:
        """Number of bursts, at least one."""
        return max(1, round(self.rate * self.seconds / self.burst))

    @property
    def events(self) -> int:
        """Number of events."""
        return self.bursts * self.burst

    @property
    def lasts(self) -> float:
        """Seconds that these events take at the rate."""
        return self.events / self.rate

    def __str__(self) -> str:
        return f"{self.rate:,g}/s in bursts of {self.burst}" if self.burst > 1 else f"{self.rate:,g}/s one by one"
