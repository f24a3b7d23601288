"""Messages of a source that gave no new price."""

import logging
from collections import Counter

MALFORMED = "malformed"
"""The reason of a message that cannot be read."""

_logger = logging.getLogger(__name__)


class PassedOver:
    """Counts the messages passed over, by reason, and logs each count at 1, 10, 100 and so on.

    The messages themselves stay out of the log: what is not the provider's may hold anything.
    """

    def __init__(self, provider: str) -> None:
        """``provider`` is the name shown in the log."""
        self._provider = provider
        self.counts: Counter[str] = Counter()

    def note(self, reason: str) -> None:
        """Count a message passed over for this reason."""
        self.counts[reason] += 1
        count = self.counts[reason]
        if str(count).strip("0") == "1":
            level = logging.WARNING if reason == MALFORMED else logging.INFO
            _logger.log(level, "%s: messages passed over so far as %s: %d", self._provider, reason, count)
