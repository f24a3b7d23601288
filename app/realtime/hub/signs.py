"""What the other processes say of themselves through the log."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from app.errors import InvalidCursor
from app.realtime.contract.event import Event, EventType, cursor_order

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FeedSign:
    """What the feed last said of itself: its source, what each of several sources is (``active``, ``standby`` …), and how many
    quotes it has dropped since it began, by the reason."""

    source: str
    simulated: bool
    sources: Mapping[str, str]
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RecorderSign:
    """What the recorder last said of itself: how far in the log it had come, and how many events it could not record."""

    order: tuple[int, int]
    seq: int
    lost: int


class Signs:
    """The last sign of the feed and of the recorder, None before there was one.

    ``silent`` are the sources from which nothing comes, as the feed says.
    """

    def __init__(self) -> None:
        self.feed: FeedSign | None = None
        self.silent: frozenset[str] = frozenset()
        self.recorder: RecorderSign | None = None

    def hear(self, event: Event) -> None:
        """Take in a heartbeat or the status of a feed."""
        facts = orjson.loads(event.bare)
        if event.type == EventType.FEED_STATUS:
            others = self.silent - {facts.get("source")}
            self.silent = others | {str(facts.get("source"))} if facts.get("status") == "silent" else others
            return
        try:
            match facts.get("role"):
                case "feed":
                    source, simulated = str(facts["source"]), bool(facts["simulated"])
                    sources = dict(facts.get("sources") or {source: "active"})
                    dropped = {reason: int(count) for reason, count in (facts.get("dropped") or {}).items()}
                    self.feed = FeedSign(source, simulated, sources, dropped)
                    self.silent = frozenset(name for name, state in sources.items() if state == "silent")
                case "recorder":
                    self.recorder = RecorderSign(cursor_order(facts["cursor"]), int(facts["seq"]), int(facts["lost"]))
        except (AttributeError, KeyError, TypeError, ValueError, InvalidCursor):
            _logger.warning("heartbeat %s says nothing that can be understood", event.id)
