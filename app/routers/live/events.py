"""``/api/v1/events``: the log in pages, and the way into it for other programs."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field
from starlette.responses import Response

from app.errors import CursorExpired, InvalidRequest
from app.http.bodies import read_body
from app.http.gateway import CurrentGateway
from app.http.parameters import CursorText, SpelledPairsOrAll, described, one_of, several
from app.http.problems import responses
from app.realtime.contract.event import Event, EventType
from app.realtime.contract.messages import (
    CorrelationAlert,
    Cursor,
    DataReady,
    FeedStatus,
    Gap,
    Message,
    PriceAlert,
    PriceUpdate,
    SourceChanged,
    VolatilityAlert,
)
from app.realtime.hub.hub import Hub
from app.realtime.hub.subscription import Interest
from app.realtime.log.log import LogReader
from app.routers.live.publishing import described_body, drafts_in, may_publish

router = APIRouter(prefix="/api/v1", tags=["events"])

_MOST_SCANNED = 10_000
_LARGEST_READ = 256
_LARGEST_BODY = 1024 * 1024

_VISIBLE_TYPES = frozenset(EventType) - {EventType.HEARTBEAT}


class LoggedEvent(Message):
    """An event as the streams carry it."""

    id: Cursor | None = Field(description="Null for a gap, which is no place to go on from")
    type: EventType
    data: PriceUpdate | VolatilityAlert | CorrelationAlert | PriceAlert | DataReady | SourceChanged | FeedStatus | Gap = Field(
        description="The payload, as the streams carry it: the type says which"
    )


class EventPage(Message):
    """A part of the log."""

    events: list[LoggedEvent] = Field(description="Oldest first")
    next: Cursor = Field(description="Give this as `since` to go on; it moves also where no event was found")
    more: bool = Field(description="False where the page ends because the log does")


class PublishedIds(Message):
    """The ids of the published events, in the order they were given."""

    ids: list[Cursor] = Field(description="One of each event")


@router.get(
    "/events",
    operation_id="get_events",
    summary="Past events",
    response_model=EventPage,
    responses=responses(400, 410, 429, 503),
)
async def get_events(
    gateway: CurrentGateway,
    since: Annotated[
        CursorText | None,
        Query(description="Begin after this event; without it, at the oldest retained", examples=["1764000000000-0"]),
    ] = None,
    pairs: Annotated[
        SpelledPairsOrAll, Query(description="Pairs, comma separated, or `*` for all", examples=["EUR_USD,GBP_USD"])
    ] = "*",
    types: Annotated[
        Annotated[str, described(several(one_of(_VISIBLE_TYPES)))] | None,
        Query(description="Types, comma separated; without it, all", examples=["volatility_alert,data_ready"]),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many events")] = 100,
) -> Response:
    """Events with the ids and payloads of the streams, so that a client may change to a stream at any of them.

    One request looks at a bounded part of the log: with a filter a page may be short, or empty, while `more` is true.
    A `gap` says that events are lost on the server's side; it comes whatever the filter, and `limit` does not count it.
    """
    wanted = _filter(gateway.hub, pairs, types)
    events, next, more = await gateway.from_redis(_page(gateway.hub, since, wanted, limit))
    rows = b",".join(map(_row, events))
    body = b'{"events":[%s],"next":"%s","more":%s}' % (rows, next.encode(), b"true" if more else b"false")
    return Response(body, media_type="application/json")


@router.post(
    "/events",
    operation_id="publish_events",
    summary="Publish events",
    status_code=HTTPStatus.ACCEPTED,
    dependencies=[Depends(may_publish)],
    responses=responses(401, 403, 408, 413, 422, 429, 503),
    openapi_extra=described_body(),
)
async def publish_events(gateway: CurrentGateway, request: Request) -> PublishedIds:
    """One event, or a list of up to 1000, in at most 1 MiB: all are written to the log together, or none is.

    `message` and times are filled in where they are missing. After a 503 nobody knows whether the events were written.
    """
    body = await read_body(request, _LARGEST_BODY, gateway.body_timeout)
    drafts = drafts_in(body, gateway.hub.pairs)
    return PublishedIds(ids=await gateway.from_redis(gateway.publisher.publish(drafts)))


def _filter(hub: Hub, pairs: str, types: str | None) -> Callable[[Event], bool]:
    """What of the log a client asks for. Raises InvalidPair, InvalidRequest."""
    names = hub.pairs.names if pairs == "*" else [hub.pairs.find(name.strip(" ")).name for name in pairs.split(",")]
    interest = Interest(frozenset(names))
    chosen = _VISIBLE_TYPES if types is None else frozenset(_type(name.strip(" ")) for name in types.split(","))

    def wanted(event: Event) -> bool:
        return event.type in chosen and hub.sees(event) and interest.wants(event)

    return wanted


def _type(name: str) -> EventType:
    if name not in _VISIBLE_TYPES:
        raise InvalidRequest(f"Invalid type: {name[:40]}; there are {', '.join(sorted(_VISIBLE_TYPES))}")
    return EventType(name)


async def _reader(hub: Hub, since: str | None) -> LogReader:
    """A reader that begins where a client asks. Raises InvalidCursor, CursorExpired, LogUnavailable."""
    if since is None:
        return hub.log.reader()
    held = await hub.find(since)
    if held is None:
        raise CursorExpired(f"Cursor expired: the log does not hold {since}")
    return hub.log.reader(held.cursor, held.seq)


async def _page(hub: Hub, since: str | None, wanted: Callable[[Event], bool], limit: int) -> tuple[list[Event], str, bool]:
    """Up to ``limit`` wanted events and the gaps between them, the cursor to go on from, and whether the log goes on.

    The cursor is the last event looked at, wanted or not, so that a filter that finds nothing does not stall.
    """
    reader = await _reader(hub, since)
    page: list[Event] = []
    next, found, scanned = reader.cursor, 0, 0
    size = min(limit + 1, _LARGEST_READ)  # most who filter nothing need no second read
    while found < limit and scanned < _MOST_SCANNED:
        position = reader.cursor
        events = await reader.read(size)
        if reader.cursor == position:
            return page, next, False
        for event in events:
            # A gap stands before the event it was noticed at, and is noticed again by who begins before that event.
            fits = not event.is_cursor or wanted(event)
            if fits and found == limit:
                return page, next, True
            if fits:
                page.append(event)
            if event.is_cursor:
                next = event.id
                found += fits
        scanned, size = scanned + size, _LARGEST_READ
    return page, next, True


def _row(event: Event) -> bytes:
    """An event for the list, its payload as the streams carry it, byte for byte."""
    id = b'"%s"' % event.id.encode() if event.is_cursor else b"null"
    return b'{"id":%s,"type":%s,"data":%s}' % (id, orjson.dumps(event.type), event.payload)
