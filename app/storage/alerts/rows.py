"""Alerts as database rows and back."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from app.storage.database.log_ids import id_of, numbers_of


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert of the log.

    ``id`` is its cursor; ``pairs`` is one pair, or the two of a correlation. ``value`` is the figure that crossed the
    ``threshold``. ``data`` is the payload as JSON, without the id.
    """

    id: str
    type: str
    pairs: tuple[str, ...]
    severity: str
    value: Decimal
    threshold: Decimal
    message: str
    time: datetime
    data: bytes


def row_of(alert: StoredAlert) -> dict[str, object]:
    """Return the row of an alert. Raises ValueError unless it is for one pair or two."""
    if not 1 <= len(alert.pairs) <= 2:
        raise ValueError(f"an alert needs one pair or two, not {len(alert.pairs)}")
    milliseconds, number = numbers_of(alert.id)
    return {
        "milliseconds": milliseconds,
        "number": number,
        "type": alert.type,
        "pair1": alert.pairs[0],
        "pair2": alert.pairs[1] if len(alert.pairs) == 2 else None,
        "severity": alert.severity,
        "value": alert.value,
        "threshold": alert.threshold,
        "message": alert.message,
        "time": alert.time,
        "data": alert.data,
    }


def alert_of(row: Any) -> StoredAlert:
    """Return the alert of a row."""
    return StoredAlert(
        id_of(row.milliseconds, row.number),
        row.type,
        (row.pair1,) if row.pair2 is None else (row.pair1, row.pair2),
        row.severity,
        row.value,
        row.threshold,
        row.message,
        row.time,
        row.data,
    )
