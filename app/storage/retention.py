"""Deletion of rows that have been kept long enough."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Table, delete, func, select, tuple_

from app.storage.database.database import Database
from app.storage.database.tables import (
    AlertRow,
    BestPairRow,
    CorrelationRow,
    EventRow,
    JobRunRow,
    MetricsRow,
    RefusedEventRow,
    TickRow,
    table_of,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHUNK = 5000
_DAY, _YEAR = timedelta(days=1), timedelta(days=365)


class Retention:
    """Deletes what is older than its kind of row is kept. Candles are kept for good."""

    def __init__(
        self,
        database: Database,
        *,
        ticks: timedelta = _DAY,
        events: timedelta = _YEAR,
        alerts: timedelta = _YEAR,
        job_runs: timedelta = _YEAR,
        metrics: timedelta = _YEAR,
        correlations: timedelta = _YEAR,
    ) -> None:
        """Each argument is how long that kind is kept.

        The best pairs are kept as long as the correlations, refused events as long as events.
        """
        self._database = database
        self._log = {table_of(TickRow): ticks, table_of(EventRow): events, table_of(AlertRow): alerts}
        runs, refused, figures = table_of(JobRunRow), table_of(RefusedEventRow), table_of(MetricsRow)
        cells, best = table_of(CorrelationRow), table_of(BestPairRow)
        # Figures of old bars that were computed just now are new.
        self._timed: list[tuple[Table, ColumnElement[datetime], timedelta]] = [
            (runs, runs.c.started, job_runs),
            (refused, refused.c.time, events),
            *(
                (table, func.coalesce(table.c.computed, table.c.time), kept)
                for table, kept in ((figures, metrics), (cells, correlations), (best, correlations))
            ),
        ]

    async def run(self, now: datetime) -> dict[str, int]:
        """Delete what is too old at ``now``, and return the number of deleted rows by table. Raises DatabaseUnavailable.

        Rows from the log are as old as their ids say, figures as old as their computation. Rows are deleted a few thousand at a
        time, so that no writer waits long.
        """
        deleted = {}
        for table, kept in self._log.items():
            milliseconds = (now - kept - _EPOCH) // timedelta(milliseconds=1)
            deleted[table.name] = await self._delete(table, table.c.milliseconds < milliseconds)
        for table, time, kept in self._timed:
            deleted[table.name] = await self._delete(table, time < now - kept)
        return deleted

    async def _delete(self, table: Table, too_old: ColumnElement[bool]) -> int:
        key = tuple_(*table.primary_key)
        some = select(*table.primary_key).where(too_old).limit(_CHUNK)
        deleted = 0
        while True:
            async with self._database.begin() as connection:
                count = (await connection.execute(delete(table).where(key.in_(some)))).rowcount
            deleted += count
            if count < _CHUNK:
                return deleted
