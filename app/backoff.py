"""Waiting longer after each failure, by chance, so that many clients of one source do not all come back at once."""

import random

_SHORTEST_LIMIT = 1.0
_LONGEST_LIMIT = 30.0
_HEALTHY_AFTER = 60.0


class Backoff:
    """The pauses between attempts that fail: by chance from 0 to a limit, which is 1 s first and doubles up to 30 s.

    An attempt that went well for a minute brings the limit down to 1 s again.
    """

    def __init__(self) -> None:
        self.limit = _SHORTEST_LIMIT

    def pause_after(self, lasted: float) -> float:
        """Seconds to wait before the next attempt, after one that failed when it had lasted so many seconds."""
        if lasted >= _HEALTHY_AFTER:
            self.limit = _SHORTEST_LIMIT
        pause = random.uniform(0, self.limit)
        self.limit = min(self.limit * 2, _LONGEST_LIMIT)
        return pause
