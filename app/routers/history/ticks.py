"""``/api/v1/ticks``: stored ticks and their spreads."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from app.http.files.exports import BATCH, ChosenFormat, Format, exported, with_files
from app.http.files.tables import Column, Kind, Row
from app.http.gateway import CurrentGateway, Gateway
from app.http.parameters import CursorText, EndTime, PairsOrAll, StartTime, interval, pairs_or_all
from app.http.refusals import NO_DATABASE, RATE_LIMITED, UNKNOWN_CURSOR, UNKNOWN_PAIR, WRONG_LIMIT
from app.market.quote import QuoteKind
from app.realtime.contract.fields import Cursor, Message, PairName, PriceText, SourceName, TimeText
from app.storage.market.ticks import TickTexts

router = APIRouter(prefix="/api/v1/ticks", tags=["ticks"])

_BY_DEFAULT = 100
_COLUMNS = (
    Column("time", Kind.TIME),
    Column("pair", Kind.TEXT),
    Column("bid", Kind.NUMBER),
    Column("ask", Kind.NUMBER),
    Column("spread", Kind.NUMBER),
    Column("source", Kind.TEXT),
    Column("kind", Kind.TEXT),
    Column("id", Kind.TEXT),
)


class StoredTick(Message):
    """A quote as it entered the log."""

    id: Cursor
    time: TimeText = Field(description="The time of the quote")
    instrument: PairName
    bid: PriceText
    ask: PriceText
    spread: PriceText = Field(description="The ask less the bid", examples=["0.00008"])
    source: SourceName
    kind: QuoteKind


class StoredTicks(Message):
    """Ticks in the order of the log."""

    count: int = Field(description="Number of ticks", examples=[100])
    ticks: list[StoredTick] = Field(description="The ticks, oldest first")
    next: Cursor | None = Field(description="Pass this as `since` to continue; null if there are no ticks")


@router.get(
    "",
    operation_id="get_ticks",
    summary="Stored ticks",
    response_model=StoredTicks,
    responses=with_files(UNKNOWN_PAIR, UNKNOWN_CURSOR, WRONG_LIMIT, RATE_LIMITED, NO_DATABASE),
)
async def get_ticks(
    request: Request,
    gateway: CurrentGateway,
    format: ChosenFormat,
    pairs: PairsOrAll,
    start_time: StartTime = None,
    end_time: EndTime = None,
    since: Annotated[
        CursorText | None, Query(description="Only ticks after the one with this id", examples=["1764000000000-0"])
    ] = None,
    limit: Annotated[
        int | None,
        Query(ge=1, le=BATCH, description=f"Maximum number of ticks; without it {_BY_DEFAULT} in JSON, and all in a file"),
    ] = None,
) -> Response:
    """Return ticks that entered the log within the interval, with their spreads, as long as the gateway keeps them.

    With `start_time` or `since` they are the first from there, without them the last before `end_time`, or before now.
    """
    start, end = interval(start_time, end_time)
    names = None if pairs == "*" else sorted(pairs_or_all(pairs, gateway.hub.pairs))
    forward = start is not None or since is not None
    size = limit if limit is not None else _BY_DEFAULT if format is Format.JSON else None
    batches = _batches(gateway, names, (start, end), since, size, last=size is not None and not forward)
    if format is not Format.JSON:
        return await exported(request, format, "ticks", _COLUMNS, _rows(batches))
    ticks: list[TickTexts] = await anext(batches, [])
    body = {"count": len(ticks), "ticks": [_item(tick) for tick in ticks], "next": ticks[-1].id if ticks else since}
    return Response(orjson.dumps(body), media_type="application/json")


async def _batches(
    gateway: Gateway,
    names: Sequence[str] | None,
    stretch: tuple[datetime | None, datetime | None],
    since: str | None,
    limit: int | None,
    *,
    last: bool,
) -> AsyncGenerator[list[TickTexts]]:
    """Yield the ticks of the pairs, without a limit all of them, each batch by a query of its own."""
    start, end = stretch
    left = limit
    while left is None or left > 0:
        size = BATCH if left is None else left if last else min(BATCH, left)
        query = gateway.stores.ticks.page(pairs=names, start=start, end=end, since=since, limit=size, last=last)
        ticks = await gateway.from_database(query)
        if ticks:
            yield ticks
        if last or len(ticks) < size:
            return
        since = ticks[-1].id
        left = None if left is None else left - len(ticks)


async def _rows(batches: AsyncGenerator[list[TickTexts]]) -> AsyncGenerator[list[Row]]:
    async for ticks in batches:
        yield [(tick.time, tick.pair, tick.bid, tick.ask, _spread(tick), tick.source, tick.kind, tick.id) for tick in ticks]


def _item(tick: TickTexts) -> dict[str, str]:
    return {
        "id": tick.id,
        "time": tick.time,
        "instrument": tick.pair,
        "bid": tick.bid,
        "ask": tick.ask,
        "spread": _spread(tick),
        "source": tick.source,
        "kind": tick.kind,
    }


def _spread(tick: TickTexts) -> str:
    return f"{Decimal(tick.ask) - Decimal(tick.bid):f}"
