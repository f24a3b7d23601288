"""``/api/v1/alerts``: the alerts of the past."""

from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from app.http.gateway import CurrentGateway
from app.http.parameters import (
    CursorText,
    EndTime,
    SpelledPairs,
    StartTime,
    described,
    listed,
    listed_pairs,
    one_of,
    several,
    stretch,
)
from app.http.problems import responses
from app.realtime.contract.event import ALERTS
from app.realtime.contract.messages import CorrelationAlert, Cursor, Message, PriceAlert, Severity, VolatilityAlert
from app.storage.alerts.rows import StoredAlert

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])

_TYPES = frozenset(type.value for type in ALERTS)
_SEVERITIES = frozenset(get_args(Severity))


class PastVolatilityAlert(VolatilityAlert):
    """A `volatility_alert` of the past."""

    type: Literal["volatility_alert"] = Field(description="The name of its event")


class PastCorrelationAlert(CorrelationAlert):
    """A `correlation_alert` of the past."""

    type: Literal["correlation_alert"] = Field(description="The name of its event")


class PastPriceAlert(PriceAlert):
    """A `price_alert` of the past."""

    type: Literal["price_alert"] = Field(description="The name of its event")


PastAlert = Annotated[PastVolatilityAlert | PastCorrelationAlert | PastPriceAlert, Field(discriminator="type")]


class PastAlerts(Message):
    """Alerts, the newest first."""

    count: int = Field(description="How many alerts these are", examples=[1])
    alerts: list[PastAlert] = Field(description="As the streams carried them, each with its type")
    next: Cursor | None = Field(description="Give this as `before` for the older ones; null where there are none")


@router.get("", operation_id="get_alerts", summary="Past alerts", response_model=PastAlerts, responses=responses(400, 429, 503))
async def get_alerts(
    gateway: CurrentGateway,
    pair: Annotated[
        list[SpelledPairs] | None,
        Query(description="Of any of these pairs, repeated or comma separated; of a correlation either pair counts"),
    ] = None,
    type: Annotated[
        list[Annotated[str, described(several(one_of(_TYPES)))]] | None,
        Query(description=f"Of these types, repeated or comma separated: {', '.join(sorted(_TYPES))}"),
    ] = None,
    severity: Annotated[
        list[Annotated[str, described(several(one_of(_SEVERITIES)))]] | None,
        Query(description="Of these severities, repeated or comma separated: info, warning, critical"),
    ] = None,
    start_time: StartTime = None,
    end_time: EndTime = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many alerts")] = 50,
    before: Annotated[
        CursorText | None, Query(description="Only alerts older than the one of this id", examples=["1764000000000-0"])
    ] = None,
) -> Response:
    """Alerts that fit every parameter given, with the ids and payloads of the streams."""
    start, end = stretch(start_time, end_time)
    alerts = await gateway.from_database(
        gateway.alerts.page(
            pairs=listed_pairs(pair, gateway.hub.pairs),
            types=listed("type", type, _TYPES),
            severities=listed("severity", severity, _SEVERITIES),
            start=start,
            end=end,
            limit=limit + 1,
            before=before,
        )
    )
    shown = alerts[:limit]
    next = b'"%s"' % shown[-1].id.encode() if len(alerts) > limit else b"null"
    rows = b",".join(map(_row, shown))
    return Response(b'{"count":%d,"alerts":[%s],"next":%s}' % (len(shown), rows, next), media_type="application/json")


def _row(alert: StoredAlert) -> bytes:
    """An alert for the list, its payload as the streams carried it."""
    return b'{"id":"%s","type":"%s",' % (alert.id.encode(), alert.type.encode()) + alert.data.lstrip()[1:]
