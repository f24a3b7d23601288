"""Exponential backoff with full jitter, so that many clients of one server do not all return at once."""

import random

_SHORTEST_LIMIT = 1.0
_LONGEST_LIMIT = 30.0
_HEALTHY_AFTER = 60.0


class Backoff:
    """Pauses between failing attempts: random from 0 to a limit that starts at 1 s and doubles up to 30 s.

    An attempt that lasted a minute or longer resets the limit to 1 s.
    """

    def __init__(self) -> None:
        self.limit = _SHORTEST_LIMIT

    def pause_after(self, lasted: float) -> float:
        """Return the seconds to wait after an attempt that failed after ``lasted`` seconds."""
        if lasted >= _HEALTHY_AFTER:
            self.limit = _SHORTEST_LIMIT
        pause = random.uniform(0, self.limit)
        self.limit = min(self.limit * 2, _LONGEST_LIMIT)
        return pause
