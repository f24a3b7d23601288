"""Alerts of the past."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import desc, or_, select, tuple_

from app.storage.alerts.rows import StoredAlert, alert_of
from app.storage.database.database import Database
from app.storage.database.limit import positive
from app.storage.database.log_ids import numbers_of
from app.storage.database.tables import AlertRow, table_of

_ALERTS = table_of(AlertRow)


class Alerts:
    """The alerts in the database, written by a recorder."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        *,
        pairs: Sequence[str] | None = None,
        types: Sequence[str] | None = None,
        severities: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int,
        before: str | None = None,
    ) -> list[StoredAlert]:
        """Return up to ``limit`` alerts that meet every condition given, newest first.

        ``pairs`` match an alert for any of them, whether it is the first or the second pair of a correlation. The time is in
        ``[start, end)``. With ``before``, the id of an alert, only older ones are returned. Raises InvalidCursor for a malformed
        id, and DatabaseUnavailable.
        """
        id = tuple_(_ALERTS.c.milliseconds, _ALERTS.c.number)
        query = select(_ALERTS).order_by(desc(_ALERTS.c.milliseconds), desc(_ALERTS.c.number)).limit(positive(limit))
        if pairs is not None:
            query = query.where(or_(_ALERTS.c.pair1.in_(pairs), _ALERTS.c.pair2.in_(pairs)))
        if types is not None:
            query = query.where(_ALERTS.c.type.in_(types))
        if severities is not None:
            query = query.where(_ALERTS.c.severity.in_(severities))
        if start is not None:
            query = query.where(_ALERTS.c.time >= start)
        if end is not None:
            query = query.where(_ALERTS.c.time < end)
        if before is not None:
            query = query.where(id < tuple_(*numbers_of(before)))
        async with self._database.read() as connection:
            return [alert_of(row) for row in await connection.execute(query)]
