"""The lines that are tried."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """What a line does to the packets on it, in seconds and in bytes a second; both directions have the same rate."""

    name: str
    rate: float | None = None
    delay: float = 0
    """From the gateway to the client."""
    loss: float = 0
    """The share of the packets from the gateway to the client that is lost."""
    stall: float = 0
    """How long nothing moves; what is on its way waits."""
    every: float = 0
    """The time from one stall to the next."""
    vanishes: bool = False
    """In the end nothing passes either way, and neither end hears of it."""
    quiet: bool = False
    """There are no prices on it, only heartbeats."""

    def after_stall(self, passed: float) -> float:
        """Return when something moves that is due after so many seconds: at once, or at the end of the stall."""
        if not self.stall:
            return passed
        into = passed % self.every
        return passed + max(0.0, self.every - into) if into > self.every - self.stall else passed

    def held_up(self, begins: float, ends: float) -> float:
        """Return the seconds between two moments in which nothing moved."""
        if not self.stall:
            return 0.0

        def until(passed: float) -> float:
            whole, rest = divmod(passed, self.every)
            return whole * self.stall + max(0.0, rest - (self.every - self.stall))

        return until(ends) - until(begins)


FREE = Shape("unhindered")
VANISHED = Shape("vanishes", vanishes=True)
QUIET = Shape("vanishes, quiet stream", vanishes=True, quiet=True)

SHAPES: Mapping[str, Shape] = {
    "1": Shape("1 KB/s", rate=1_000),
    "3": Shape("3 KB/s", rate=3_000),
    "8": Shape("8 KB/s", rate=8_000),
    "30": Shape("30 KB/s", rate=30_000),
    "loss": Shape("300 ms, 1 % loss", delay=0.3, loss=0.01),
    "stalls": Shape("30 KB/s, 5 s stalls", rate=30_000, stall=5, every=20),
    "free": FREE,
    "vanish": VANISHED,
    "quiet": QUIET,
}
"""By the key that names them on the command line. A KB is 1000 bytes, the heads of packets among them."""
