"""The one table of events: their types, payloads, and what each consumer has to know about them.

The reader of the log, the ``/events`` filter, AsyncAPI, ``fx-gateway watch``, the recorder and the alert watch derive what
they know from it, and the dashboard does so through AsyncAPI. To add an event, add a member to ``EventType``, a row here and
a model in ``payloads``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from app.realtime.contract.payloads import (
    CorrelationAlert,
    DataReady,
    EventPayload,
    FeedStatus,
    Gap,
    PriceAlert,
    PriceUpdate,
    SourceChanged,
    VolatilityAlert,
)


class EventType(StrEnum):
    """The types of event. Clients see all but the heartbeat."""

    PRICE_UPDATE = "price_update"
    VOLATILITY_ALERT = "volatility_alert"
    CORRELATION_ALERT = "correlation_alert"
    PRICE_ALERT = "price_alert"
    DATA_READY = "data_ready"
    SOURCE_CHANGED = "source_changed"
    FEED_STATUS = "feed_status"
    GAP = "gap"
    HEARTBEAT = "heartbeat"


@dataclass(frozen=True, slots=True)
class EventKind:
    """What is known about the events of one type."""

    summary: str
    """One line for AsyncAPI."""
    model: type[EventPayload] | None
    """The payload, with the event's id as its first member; None for an event that clients do not see."""
    pairs: tuple[str, ...] = ()
    """The members that name the pairs it concerns. An event without any concerns every client."""
    figures: tuple[str, str] | None = None
    """Of an alert, the members that hold the value and the threshold it crossed."""
    headline: str | None = None
    """A line for a terminal, with members of the payload in braces; None for an event that is not shown as news."""

    @property
    def visible(self) -> bool:
        """True where clients see it."""
        return self.model is not None


EVENTS: Mapping[EventType, EventKind] = MappingProxyType(
    {
        EventType.PRICE_UPDATE: EventKind("A new price of a pair", PriceUpdate, pairs=("instrument",)),
        EventType.VOLATILITY_ALERT: EventKind(
            "The volatility of a pair has passed a threshold",
            VolatilityAlert,
            pairs=("instrument",),
            figures=("volatility", "threshold"),
            headline="{instrument}: {message}",
        ),
        EventType.CORRELATION_ALERT: EventKind(
            "The correlation of two pairs has changed; a client that follows both gets it once",
            CorrelationAlert,
            pairs=("pair1", "pair2"),
            figures=("correlation", "threshold"),
            headline="{pair1} and {pair2}: {message}",
        ),
        EventType.PRICE_ALERT: EventKind(
            "A price has reached a level that a user set",
            PriceAlert,
            pairs=("instrument",),
            figures=("price", "level"),
            headline="{instrument}: {message}",
        ),
        EventType.DATA_READY: EventKind("New data can be fetched; every client gets this, subscribed or not", DataReady),
        EventType.SOURCE_CHANGED: EventKind(
            "Prices come from another source from here on; every client gets this, subscribed or not",
            SourceChanged,
            headline="prices now come from {source}: {reason}",
        ),
        EventType.FEED_STATUS: EventKind(
            "The source of prices has fallen silent, so that prices are stale, or quotes again; every client gets this",
            FeedStatus,
            headline="{message}",
        ),
        EventType.GAP: EventKind("Events between two cursors were lost on the server's side", Gap, headline="gap: {message}"),
        EventType.HEARTBEAT: EventKind("A process is alive", None),
    }
)

VISIBLE = frozenset(type.value for type, kind in EVENTS.items() if kind.visible)
"""The types that clients see. An entry of an unknown type is passed over: a newer gateway may have written it."""

ALERTS = frozenset(type for type, kind in EVENTS.items() if kind.figures is not None)
"""The types that are alerts: recorded as such, and sent to people."""

PAYLOADS: Mapping[EventType, type[EventPayload]] = MappingProxyType(
    {type: kind.model for type, kind in EVENTS.items() if kind.model is not None}
)
"""The model of each type that clients see, in the order of the table."""
