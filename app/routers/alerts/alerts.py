"""``/api/v1/alerts``: past alerts."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import partial
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from app.http.files.exports import ChosenFormat, Format, exported, with_files
from app.http.files.tables import Column, Kind, Row
from app.http.gateway import CurrentGateway, Gateway
from app.http.parameters import (
    CursorText,
    EndTime,
    SpelledPairs,
    StartTime,
    described,
    interval,
    listed,
    listed_pairs,
    one_of,
    several,
)
from app.http.refusals import NO_DATABASE, RATE_LIMITED, UNKNOWN_PAIR, WRONG_LIMIT
from app.market.clock import rfc3339
from app.realtime.contract.catalogue import ALERTS
from app.realtime.contract.fields import Cursor, Message, Severity
from app.realtime.contract.payloads import CorrelationAlert, PriceAlert, VolatilityAlert
from app.storage.alerts.rows import StoredAlert

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])

_MOST = 1000
_BY_DEFAULT = 50
_COLUMNS = (
    Column("time", Kind.TIME),
    Column("type", Kind.TEXT),
    Column("pair1", Kind.TEXT),
    Column("pair2", Kind.TEXT),
    Column("severity", Kind.TEXT),
    Column("value", Kind.NUMBER),
    Column("threshold", Kind.NUMBER),
    Column("message", Kind.TEXT),
    Column("id", Kind.TEXT),
)
_TYPES = frozenset(type.value for type in ALERTS)
_SEVERITIES = frozenset(get_args(Severity))


class PastVolatilityAlert(VolatilityAlert):
    """A past `volatility_alert`."""

    type: Literal["volatility_alert"] = Field(description="The type of its event")


class PastCorrelationAlert(CorrelationAlert):
    """A past `correlation_alert`."""

    type: Literal["correlation_alert"] = Field(description="The type of its event")


class PastPriceAlert(PriceAlert):
    """A past `price_alert`."""

    type: Literal["price_alert"] = Field(description="The type of its event")


PastAlert = Annotated[PastVolatilityAlert | PastCorrelationAlert | PastPriceAlert, Field(discriminator="type")]


class PastAlerts(Message):
    """A page of alerts, newest first."""

    count: int = Field(description="Number of alerts in this page", examples=[1])
    alerts: list[PastAlert] = Field(description="The alerts as the streams carried them, each with its type")
    next: Cursor | None = Field(description="Pass this as `before` to get the next page; null on the last page")


@router.get(
    "",
    operation_id="get_alerts",
    summary="Past alerts",
    response_model=PastAlerts,
    responses=with_files(UNKNOWN_PAIR, WRONG_LIMIT, RATE_LIMITED, NO_DATABASE),
)
async def get_alerts(
    request: Request,
    gateway: CurrentGateway,
    format: ChosenFormat,
    pair: Annotated[
        list[SpelledPairs] | None,
        Query(description="Only these pairs, repeated or comma separated; a correlation alert matches by either pair"),
    ] = None,
    type: Annotated[
        list[Annotated[str, described(several(one_of(_TYPES)))]] | None,
        Query(description=f"Only these types, repeated or comma separated: {', '.join(sorted(_TYPES))}"),
    ] = None,
    severity: Annotated[
        list[Annotated[str, described(several(one_of(_SEVERITIES)))]] | None,
        Query(description="Only these severities, repeated or comma separated: info, warning, critical"),
    ] = None,
    start_time: StartTime = None,
    end_time: EndTime = None,
    limit: Annotated[
        int | None,
        Query(ge=1, le=_MOST, description=f"Maximum number of alerts; without it {_BY_DEFAULT} in JSON, and all in a file"),
    ] = None,
    before: Annotated[
        CursorText | None, Query(description="Only alerts older than the one with this id", examples=["1764000000000-0"])
    ] = None,
) -> Response:
    """Return the alerts that match all parameters, with the ids and payloads of the streams."""
    start, end = interval(start_time, end_time)
    read = partial(
        gateway.stores.alerts.page,
        pairs=listed_pairs(pair, gateway.hub.pairs),
        types=listed("type", type, _TYPES),
        severities=listed("severity", severity, _SEVERITIES),
        start=start,
        end=end,
    )
    if format is not Format.JSON:
        return await exported(request, format, "alerts", _COLUMNS, _file_rows(gateway, read, limit, before))
    size = limit or _BY_DEFAULT
    alerts = await gateway.from_database(read(limit=size + 1, before=before))
    shown = alerts[:size]
    next = b'"%s"' % shown[-1].id.encode() if len(alerts) > size else b"null"
    rows = b",".join(map(_row, shown))
    return Response(b'{"count":%d,"alerts":[%s],"next":%s}' % (len(shown), rows, next), media_type="application/json")


async def _file_rows(
    gateway: Gateway, read: Callable[..., Coroutine[Any, Any, list[StoredAlert]]], limit: int | None, before: str | None
) -> AsyncGenerator[list[Row]]:
    """Yield the rows of a file, without a limit those of all alerts, newest first."""
    left = limit
    while left is None or left > 0:
        size = _MOST if left is None else left
        alerts = await gateway.from_database(read(limit=size, before=before))
        if alerts:
            yield [_file_row(alert) for alert in alerts]
        if len(alerts) < size:
            return
        before = alerts[-1].id
        left = None if left is None else left - len(alerts)


def _file_row(alert: StoredAlert) -> Row:
    first, second = alert.pairs[0], alert.pairs[1] if len(alert.pairs) == 2 else None
    value, threshold = f"{alert.value:f}", f"{alert.threshold:f}"
    return (rfc3339(alert.time), alert.type, first, second, alert.severity, value, threshold, alert.message, alert.id)


def _row(alert: StoredAlert) -> bytes:
    """An item of the list: the payload as the streams carried it, with id and type in front."""
    return b'{"id":"%s","type":"%s",' % (alert.id.encode(), alert.type.encode()) + alert.data.lstrip()[1:]
