"""``/api/v1/events``: the event log in pages, and publishing to it."""

from collections.abc import AsyncGenerator, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Union

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from app.errors import CursorExpired, Forbidden, InvalidRequest, PayloadTooLarge
from app.http.bodies import InvalidBody, read_body
from app.http.files.exports import ChosenFormat, Format, exported, with_files
from app.http.files.tables import Column, Kind, Row
from app.http.gateway import CurrentGateway, Gateway
from app.http.parameters import PairsOrAll, ResumedFrom, described, one_of, pairs_or_all, several
from app.http.refusals import (
    LATE_BODY,
    NO_REDIS,
    NO_TOKEN,
    RATE_LIMITED,
    UNKNOWN_CURSOR,
    UNKNOWN_PAIR,
    WRONG_LIMIT,
    refusals,
)
from app.realtime.contract.catalogue import PAYLOADS, VISIBLE, EventType
from app.realtime.contract.event import Event
from app.realtime.contract.fields import Cursor, Message
from app.realtime.hub.hub import Hub
from app.realtime.hub.subscription import Interest
from app.realtime.log.log import LogReader
from app.routers.live.publishing import CLOSED, described_body, drafts_in, token_checked

router = APIRouter(prefix="/api/v1", tags=["events"])

_MOST = 1000
_BY_DEFAULT = 100
_COLUMNS = (Column("id", Kind.TEXT), Column("type", Kind.TEXT), Column("data", Kind.JSON))
_SCAN_LIMIT = 10_000
_READ_SIZE = 256
_LARGEST_BODY = 1024 * 1024

if TYPE_CHECKING:
    Payload = Message
else:
    Payload = Union[tuple(PAYLOADS.values())]  # noqa: UP007 - known at run time only


class LoggedEvent(Message):
    """An event as the streams carry it."""

    id: Cursor | None = Field(description="Null for a gap, from which a client cannot resume")
    type: EventType
    data: Payload = Field(description="The payload as the streams carry it, by the type")


class EventPage(Message):
    """A page of the log."""

    events: list[LoggedEvent] = Field(description="The events, oldest first")
    next: Cursor = Field(description="Pass this as `since` to continue; it advances even if the page is empty")
    more: bool = Field(description="False if the page reaches the end of the log")


class PublishedIds(Message):
    """The ids of the published events, in the order of the body."""

    ids: list[Cursor] = Field(description="One id per event")


@router.get(
    "/events",
    operation_id="get_events",
    summary="Past events",
    response_model=EventPage,
    responses=with_files(
        UNKNOWN_PAIR,
        UNKNOWN_CURSOR,
        WRONG_LIMIT,
        CursorExpired("Cursor expired: the log does not hold 1764000000000-0"),
        RATE_LIMITED,
        NO_REDIS,
    ),
)
async def get_events(
    request: Request,
    gateway: CurrentGateway,
    format: ChosenFormat,
    since: ResumedFrom,
    pairs: PairsOrAll = "*",
    types: Annotated[
        Annotated[str, described(several(one_of(VISIBLE)))] | None,
        Query(description="Types, comma separated; all by default", examples=["volatility_alert,data_ready"]),
    ] = None,
    limit: Annotated[
        int | None,
        Query(ge=1, le=_MOST, description=f"Maximum number of events; without it {_BY_DEFAULT} in JSON, and all in a file"),
    ] = None,
) -> Response:
    """Return events with the ids and payloads of the streams, so that a client can continue on a stream from any of them.

    Without `since` the first page begins with the oldest retained event.
    A request scans a bounded part of the log: with a filter, a page may be short or empty although `more` is true.
    A `gap` reports events lost by the server. It is returned whatever the filter, and `limit` does not count it.
    """
    wanted = _filter(gateway.hub, pairs, types)
    if format is not Format.JSON:
        return await exported(request, format, "events", _COLUMNS, _file_rows(gateway, since, wanted, limit))
    events, next, more = await gateway.from_redis(_page(gateway.hub, since, wanted, limit or _BY_DEFAULT))
    rows = b",".join(map(_row, events))
    body = b'{"events":[%s],"next":"%s","more":%s}' % (rows, next.encode(), b"true" if more else b"false")
    return Response(body, media_type="application/json")


@router.post(
    "/events",
    operation_id="publish_events",
    summary="Publish events",
    status_code=HTTPStatus.ACCEPTED,
    dependencies=[token_checked],
    responses=refusals(
        NO_TOKEN,
        Forbidden(CLOSED),
        LATE_BODY,
        PayloadTooLarge(f"The body is larger than {_LARGEST_BODY} bytes"),
        InvalidBody("Invalid instrument: XXX_YYY", 2),
        RATE_LIMITED,
        NO_REDIS,
    ),
    openapi_extra=described_body(),
)
async def publish_events(gateway: CurrentGateway, request: Request) -> PublishedIds:
    """Publish one event, or a list of up to 1000, in at most 1 MiB. They are written to the log together or not at all.

    A missing `message` or time is filled in. After a 503 it is unknown whether the events were written.
    """
    body = await read_body(request, _LARGEST_BODY, gateway.limits.body)
    drafts = drafts_in(body, gateway.hub.pairs)
    return PublishedIds(ids=await gateway.from_redis(gateway.publisher.publish(drafts)))


def _filter(hub: Hub, pairs: str, types: str | None) -> Callable[[Event], bool]:
    """Whether an event matches the query. Raises InvalidPair, InvalidRequest."""
    interest = Interest(pairs_or_all(pairs, hub.pairs))
    chosen = VISIBLE if types is None else frozenset(_type(name.strip(" ")) for name in types.split(","))

    def wanted(event: Event) -> bool:
        return event.type in chosen and hub.sees(event) and interest.wants(event)

    return wanted


def _type(name: str) -> EventType:
    if name not in VISIBLE:
        raise InvalidRequest(f"Invalid type: {name[:40]}; the types are {', '.join(sorted(VISIBLE))}")
    return EventType(name)


async def _reader(hub: Hub, since: str | None) -> LogReader:
    """A reader of the events after ``since``. Raises InvalidCursor, CursorExpired, LogUnavailable."""
    if since is None:
        return hub.log.reader()
    held = await hub.find(since)
    if held is None:
        raise CursorExpired(f"Cursor expired: the log does not hold {since}")
    return hub.log.reader(held.cursor, held.seq)


async def _page(hub: Hub, since: str | None, wanted: Callable[[Event], bool], limit: int) -> tuple[list[Event], str, bool]:
    """Return up to ``limit`` wanted events and the gaps between them, the next cursor, and whether there are more events.

    The cursor is the last event scanned, wanted or not, so that a filter that matches nothing still advances.
    """
    reader = await _reader(hub, since)
    page: list[Event] = []
    next, found, scanned = reader.cursor, 0, 0
    size = min(limit + 1, _READ_SIZE)  # without a filter, one read is usually enough
    while found < limit and scanned < _SCAN_LIMIT:
        position = reader.cursor
        events = await reader.read(size)
        if reader.cursor == position:
            return page, next, False
        for event in events:
            # A gap comes before the event that reveals it, and is found again by a reader that starts before that event.
            fits = not event.is_cursor or wanted(event)
            if fits and found == limit:
                return page, next, True
            if fits:
                page.append(event)
            if event.is_cursor:
                next = event.id
                found += fits
        scanned, size = scanned + size, _READ_SIZE
    return page, next, True


async def _file_rows(
    gateway: Gateway, since: str | None, wanted: Callable[[Event], bool], limit: int | None
) -> AsyncGenerator[list[Row]]:
    """Yield the rows of a file: without a limit all events up to the end of the log. A page without any ends nothing."""
    left, more = limit, True
    while more and (left is None or left > 0):
        size = _MOST if left is None else left
        events, since, more = await gateway.from_redis(_page(gateway.hub, since, wanted, size))
        yield [(event.id if event.is_cursor else None, str(event.type), event.payload) for event in events]
        left = None if left is None else left - sum(event.is_cursor for event in events)


def _row(event: Event) -> bytes:
    """An item of the list: the payload is that of the streams, byte for byte."""
    id = b'"%s"' % event.id.encode() if event.is_cursor else b"null"
    return b'{"id":%s,"type":%s,"data":%s}' % (id, orjson.dumps(event.type), event.payload)
