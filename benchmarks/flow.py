"""Events as they are published."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flow:
    """``rate`` events a second, ``burst`` written together, for ``seconds``."""

    rate: float
    burst: int
    seconds: float

    @property
    def bursts(self) -> int:
        """How many bursts that makes, at least one."""
        return max(1, round(self.rate * self.seconds / self.burst))

    @property
    def events(self) -> int:
        """How many events that makes."""
        return self.bursts * self.burst

    @property
    def lasts(self) -> float:
        """The seconds that these need at the rate."""
        return self.events / self.rate

    def __str__(self) -> str:
        return f"{self.rate:,g}/s in bursts of {self.burst}" if self.burst > 1 else f"{self.rate:,g}/s one by one"
