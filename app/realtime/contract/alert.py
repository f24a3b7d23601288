"""Alerts as events of the log, and back: the one codec of rules, jobs, recorder and notifications."""

from datetime import datetime
from decimal import Decimal
from typing import cast

from app.market.alert import Alert, AlertType, PriceAlert, Severity
from app.market.clock import parse_time, rfc3339
from app.market.pair import CurrencyPair
from app.market.price_level import Direction
from app.realtime.contract.catalogue import EVENTS, EventType
from app.realtime.contract.event import Draft, Event, draft
from app.validation import as_plain_lines


def draft_of(alert: Alert, timestamp: datetime | None = None) -> Draft:
    """Return the event of an alert, published at ``timestamp``, by default the alert's own time.

    Prices are written at the precision of their pair, mids with one digit more where they need it. Control characters in the
    message become spaces.
    """
    type = EventType(alert.type)
    kind = EVENTS[type]
    assert kind.figures is not None
    value, threshold = kind.figures
    body: dict[str, object] = dict(zip(kind.pairs, alert.pairs, strict=True))
    if isinstance(alert, PriceAlert):
        pair = CurrencyPair.parse(alert.pairs[0])
        body |= {
            "level_id": alert.level_id,
            threshold: str(pair.round(alert.threshold)),
            "direction": alert.direction,
            value: str(pair.round_mid(alert.value)),
        }
    else:
        body |= {value: float(alert.value), threshold: float(alert.threshold)}
    return draft(
        type,
        body
        | {"severity": alert.severity, "message": as_plain_lines(alert.message), "timestamp": rfc3339(timestamp or alert.time)},
    )


def alert_of(event: Event) -> Alert:
    """Return the alert of an event of the log, at the time when it was published. Raises ValueError for one that is no alert.

    Its payload was checked when it was read from the log.
    """
    body, type, figures = event.body, event.type, EVENTS[EventType(event.type)].figures
    if figures is None:
        raise ValueError(f"{type} is no alert")
    value, threshold = (body[member] for member in figures)
    severity, message, time = Severity(body["severity"]), body["message"], parse_time(body["timestamp"])
    if type == EventType.PRICE_ALERT:
        direction = Direction(body["direction"])
        return PriceAlert(
            "price_alert", event.pairs, Decimal(value), Decimal(threshold), severity, message, time, body["level_id"], direction
        )
    return Alert(cast(AlertType, type), event.pairs, value, threshold, severity, message, time)
