"""Heartbeats: what each process reports about itself in the log, written and read by one codec."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator

from app.market.clock import rfc3339, utc_now
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import ORIGIN, Draft, Event, cursor_order, draft
from app.realtime.contract.fields import LARGEST_COUNT
from app.validation import plain_text

_Name = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(plain_text)]
_Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
_MOST_NAMES = 100


class _Heartbeat(BaseModel):
    """What every process reports: ``node`` is a name of the process that lasts as long as it runs."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    node: _Name


class GatewayHeartbeat(_Heartbeat):
    """Written by a gateway, which waits to read it back: proof that its subscription to the log delivers."""

    role: Literal["gateway"] = "gateway"


class FeedHeartbeat(_Heartbeat):
    """Written by the feed: its source, and the quotes dropped since it began, by reason.

    ``sources`` gives the state (``active``, ``standby``, ``silent`` …) of each source by its name; a feed that names none has
    its one source active.
    """

    role: Literal["feed"] = "feed"
    source: _Name
    simulated: bool
    sources: Mapping[_Name, _Name] = Field(default_factory=lambda read: {read["source"]: "active"}, max_length=_MOST_NAMES)
    dropped: Mapping[_Name, _Count] = Field(default_factory=dict, max_length=_MOST_NAMES)


class RecorderHeartbeat(_Heartbeat):
    """Written by the recorder: the position in the log up to which everything is in the database.

    ``recorded`` counts events, ``lost`` those that were trimmed from the log before they were recorded,
    ``losses_of_unknown_size`` the times that it could not tell how many were lost, as when the log was emptied, ``late``
    quotes that came too late for any bar, and ``refused`` what is kept aside because the database does not take it.
    """

    role: Literal["recorder"] = "recorder"
    cursor: str = ORIGIN
    seq: _Count = 0
    recorded: _Count = 0
    lost: _Count = 0
    losses_of_unknown_size: _Count = 0
    late: _Count = 0
    refused: _Count = 0

    @field_validator("cursor")
    @classmethod
    def _is_a_cursor(cls, cursor: str) -> str:
        cursor_order(cursor)
        return cursor

    @property
    def order(self) -> tuple[int, int]:
        """The cursor as numbers that sort in the order of the log."""
        return cursor_order(self.cursor)


Heartbeat = GatewayHeartbeat | FeedHeartbeat | RecorderHeartbeat

_MODELS: Mapping[object, type[Heartbeat]] = MappingProxyType(
    {"gateway": GatewayHeartbeat, "feed": FeedHeartbeat, "recorder": RecorderHeartbeat}
)


def heartbeat(sign: Heartbeat, timestamp: datetime | None = None) -> Draft:
    """Return the event of a heartbeat at ``timestamp``, aware, by default now."""
    return draft(EventType.HEARTBEAT, {**sign.model_dump(), "timestamp": rfc3339(timestamp or utc_now())})


def heartbeat_of(event: Event) -> Heartbeat | None:
    """Return the heartbeat of an event of the log, None for a role that this gateway does not know.

    Raises ValueError or InvalidCursor for one that is malformed.
    """
    role = event.body.get("role")
    model = _MODELS.get(role) if isinstance(role, str) else None
    return None if model is None else model.model_validate(event.body)
