"""What the feed and the recorder report about themselves through the log."""

import logging

from app.errors import InvalidCursor
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import Event
from app.realtime.contract.heartbeat import FeedHeartbeat, RecorderHeartbeat, heartbeat_of

_MOST_SOURCES = 100
"""Far more than any feed has: a stream of invented names must not take all memory."""

_logger = logging.getLogger(__name__)


class Signs:
    """The last heartbeat of the feed and of the recorder, None before the first.

    ``silent`` are the sources that the feed has reported as silent. ``malformed`` counts heartbeats that could not be read:
    they change nothing.
    """

    def __init__(self) -> None:
        self.feed: FeedHeartbeat | None = None
        self.recorder: RecorderHeartbeat | None = None
        self.silent: frozenset[str] = frozenset()
        self.malformed = 0

    def hear(self, event: Event) -> None:
        """Take in a heartbeat or a ``feed_status``."""
        if event.type == EventType.FEED_STATUS:
            self._hear_status(event.body["source"], silent=event.body["status"] == "silent")
            return
        try:
            sign = heartbeat_of(event)
        except (ValueError, InvalidCursor):
            self.malformed += 1
            _logger.warning("heartbeat %s is malformed and ignored", event.id)
            return
        match sign:
            case FeedHeartbeat():
                self.feed = sign
                self.silent = frozenset(name for name, state in sign.sources.items() if state == "silent")
            case RecorderHeartbeat():
                self.recorder = sign

    def _hear_status(self, source: str, *, silent: bool) -> None:
        if not silent:
            self.silent -= {source}
        elif len(self.silent) < _MOST_SOURCES:
            self.silent |= {source}
        else:
            self.malformed += 1
