"""The beginning of a stream: ``stream_opened``, then a snapshot or what was missed, then live events."""

from dataclasses import dataclass

import orjson

from app.market.clock import rfc3339, utc_now
from app.realtime.contract.answers import StreamOpened
from app.realtime.contract.event import Event, cursor_order
from app.realtime.hub.hub import Hub
from app.realtime.hub.ring import Held
from app.realtime.hub.subscription import Interest, Subscription


@dataclass(frozen=True, slots=True)
class Opening:
    """What a client asks for when it opens a stream.

    ``since`` is the cursor that it resumes from and ``held`` what ``Hub.holds`` found for it.
    """

    interest: Interest
    since: str | None = None
    held: Held | None = None
    snapshot: bool = True


def open_stream(hub: Hub, client: Subscription, opening: Opening, *, before: bytes = b"") -> None:
    """Send ``stream_opened`` and follow: one synchronous step, so that its cursor is where the stream begins.

    ``before`` goes ahead of its frame.
    """
    interest, held = opening.interest, opening.held
    recovered = None if opening.since is None else held is not None
    snapshot = opening.snapshot or recovered is False
    cursor = hub.cursor if held is None else held.cursor
    opened = StreamOpened(
        recovered=recovered,
        pairs=[name for name in hub.pairs.names if name in interest.pairs],
        cursor=cursor,
        format=interest.format.value,
        sources=hub.book.sources(interest.pairs),
        timestamp=rfc3339(utc_now()),
    )
    # A client that resumed from here without the prices of its snapshot would never get them, so they bring the first id. One
    # that resumes has a cursor, and the ids of what it missed are its next.
    is_behind = snapshot and bool(hub.book.snapshot(interest.pairs)) if held is None else cursor != hub.cursor
    resumable = interest.follows and not is_behind
    event = Event(cursor, cursor_order(cursor), int(resumable), "stream_opened", (), orjson.dumps(opened.model_dump()))
    client.send_frame(before + client.framing.event(event))
    hub.follow(client, interest, held=held, snapshot=snapshot)
