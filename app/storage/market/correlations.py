"""Correlation matrices, and the pairs found fit for a purpose by them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Table, delete, func, insert, select

from app.storage.database.database import Database
from app.storage.database.tables import BestPairRow, CorrelationRow, table_of

_CELLS = table_of(CorrelationRow)
_BEST = table_of(BestPairRow)


@dataclass(frozen=True, slots=True)
class StoredCorrelation:
    """A cell of the matrix of a time, over ``window`` bars. ``correlation`` is None when ``observations`` were too few.

    ``computed`` is when it was computed, None in old rows.
    """

    pair1: str
    pair2: str
    time: datetime
    granularity: str
    window: int
    correlation: float | None
    observations: int
    computed: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredBestPair:
    """Two pairs of a category at the time of a matrix, and why; ``rank`` 1 is the best of its category.

    ``computed`` is when it was found, None in old rows.
    """

    pair1: str
    pair2: str
    time: datetime
    category: str
    correlation: float
    observations: int
    reason: str
    rank: int
    computed: datetime | None = None


class Correlations:
    """The matrices in the database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, matrix: Sequence[StoredCorrelation], best: Sequence[StoredBestPair]) -> None:
        """Write the matrix of a time and its best pairs, replacing what is stored for this time.

        Raises ValueError for cells of more than one time.
        """
        times = {cell.time for cell in matrix} | {pair.time for pair in best}
        if len(times) > 1:
            raise ValueError(f"a matrix has one time, not {len(times)}")
        written: tuple[tuple[Table, list[dict[str, object]]], ...] = (
            (_CELLS, [asdict(cell) for cell in matrix]),
            (_BEST, [asdict(pair) for pair in best]),
        )
        async with self._database.begin() as connection:
            for table, rows in written:
                await connection.execute(delete(table).where(table.c.time.in_(times)))
                if rows:
                    await connection.execute(insert(table), rows)

    async def newest(self) -> list[StoredCorrelation]:
        """Return the newest matrix, sorted by pairs; empty if there is none."""
        return await self._matrix(None)

    async def before(self, time: datetime) -> list[StoredCorrelation]:
        """Return the newest matrix from before a time, sorted by pairs; empty if there is none."""
        return await self._matrix(time)

    async def best(self, category: str | None = None) -> list[StoredBestPair]:
        """Return the best pairs of the newest matrix, of all categories or of one, by category and rank."""
        query = select(_BEST).where(_BEST.c.time == select(func.max(_CELLS.c.time)).scalar_subquery())
        if category is not None:
            query = query.where(_BEST.c.category == category)
        async with self._database.read() as connection:
            pairs = [StoredBestPair(**row) for row in (await connection.execute(query)).mappings()]
        # Sorted here, because PostgreSQL's order of texts depends on its locale.
        return sorted(pairs, key=lambda pair: (pair.category, pair.rank, pair.pair1, pair.pair2))

    async def _matrix(self, before: datetime | None) -> list[StoredCorrelation]:
        newest = select(func.max(_CELLS.c.time))
        if before is not None:
            newest = newest.where(_CELLS.c.time < before)
        async with self._database.read() as connection:
            rows = await connection.execute(select(_CELLS).where(_CELLS.c.time == newest.scalar_subquery()))
            cells = [StoredCorrelation(**row) for row in rows.mappings()]
        return sorted(cells, key=lambda cell: (cell.pair1, cell.pair2))
