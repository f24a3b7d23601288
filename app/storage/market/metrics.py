"""The measures of volatility and their history."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Executable, and_, desc, func, select

from app.storage.database.database import Database
from app.storage.database.limit import positive
from app.storage.database.tables import MetricsRow, table_of
from app.storage.database.upsert import upsert

_METRICS = table_of(MetricsRow)


@dataclass(frozen=True, slots=True)
class StoredMetrics:
    """The figures of a pair at ``time``, the end of the newest bar they were computed from.

    ``data`` is JSON with all of them; ``volatility`` is the one, annualised, whose history can be queried, None when there were
    too few bars. ``simulated`` is True when the bars were of an invented source. ``computed`` is when the figures were computed,
    None in old rows.
    """

    pair: str
    granularity: str
    time: datetime
    data: bytes
    volatility: float | None
    simulated: bool
    computed: datetime | None = None


class Metrics:
    """The measures in the database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, rows: Sequence[StoredMetrics]) -> None:
        """Write measures, replacing those of the same pair, granularity and time."""
        keyed = {(row.pair, row.granularity, row.time): asdict(row) for row in rows}
        async with self._database.begin() as connection:
            await upsert(connection, _METRICS, [keyed[key] for key in sorted(keyed)])

    async def newest(self, pairs: Sequence[str]) -> dict[str, StoredMetrics]:
        """Return the newest measures of each pair; a pair without any is absent."""
        last = (
            select(_METRICS.c.pair, func.max(_METRICS.c.time).label("time"))
            .where(_METRICS.c.pair.in_(pairs))
            .group_by(_METRICS.c.pair)
            .subquery()
        )
        query = select(_METRICS).join(last, and_(_METRICS.c.pair == last.c.pair, _METRICS.c.time == last.c.time))
        return {row.pair: row for row in await self._metrics(query.order_by(_METRICS.c.granularity))}

    async def history(self, pair: str, granularity: str, before: datetime, count: int) -> list[StoredMetrics]:
        """Return up to ``count`` measures from before a time, newest first."""
        query = (
            select(_METRICS)
            .where(_METRICS.c.pair == pair, _METRICS.c.granularity == granularity, _METRICS.c.time < before)
            .order_by(desc(_METRICS.c.time))
            .limit(positive(count))
        )
        return await self._metrics(query)

    async def _metrics(self, query: Executable) -> list[StoredMetrics]:
        async with self._database.read() as connection:
            return [StoredMetrics(**row) for row in (await connection.execute(query)).mappings()]
