"""How often a client may send requests."""

from collections.abc import Callable


class RequestLimit:
    """At most ``requests`` in a window of ``window`` seconds. With 0 requests there is no limit.

    A window begins with the first request after the previous window has ended.
    """

    __slots__ = ("_clock", "_ends_at", "_made", "requests", "window")

    def __init__(self, requests: int, window: float, clock: Callable[[], float]) -> None:
        self.requests = requests
        self.window = window
        self._clock = clock
        self._ends_at = float("-inf")
        self._made = 0

    def take(self) -> float:
        """Count one request. Return 0 if it may be answered, otherwise the seconds until the window ends."""
        if not self.requests:
            return 0
        now = self._clock()
        if now >= self._ends_at:
            self._ends_at, self._made = now + self.window, 0
        self._made += 1
        return 0 if self._made <= self.requests else self._ends_at - now

    @property
    def made(self) -> int:
        """Requests counted in the newest window, those beyond the limit included."""
        return self._made

    @property
    def remaining(self) -> int:
        """Requests left in this window."""
        return max(0, self.requests - self._made)

    @property
    def over(self) -> int:
        """Requests made beyond the limit in this window."""
        return max(0, self._made - self.requests)

    @property
    def resets_in(self) -> float:
        """Seconds until the window ends."""
        return max(0.0, self._ends_at - self._clock())
