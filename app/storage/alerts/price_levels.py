"""The price levels that users have set."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import RowMapping, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import NotFound
from app.market.pair import CurrencyPair
from app.market.price_level import Direction, PriceLevel
from app.storage.database.database import Database
from app.storage.database.tables import PriceLevelRow, VersionRow, table_of
from app.storage.database.upsert import insert_new

_LEVELS = table_of(PriceLevelRow)
_VERSIONS = table_of(VersionRow)


class PriceLevels:
    """The price levels in the database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, pair: CurrencyPair | None = None) -> list[PriceLevel]:
        """Return every level, or those of one pair, oldest first."""
        query = select(_LEVELS).order_by(_LEVELS.c.created, _LEVELS.c.id)
        if pair is not None:
            query = query.where(_LEVELS.c.pair == pair.name)
        async with self._database.read() as connection:
            return [_level_of(row) for row in (await connection.execute(query)).mappings()]

    async def get(self, id: str) -> PriceLevel:
        """Return the level with an id. Raises NotFound."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(_LEVELS).where(_LEVELS.c.id == id))).mappings().one_or_none()
        if row is None:
            raise _not_found(id)
        return _level_of(row)

    async def count(self) -> int:
        """Return the number of levels."""
        async with self._database.read() as connection:
            count: int = (await connection.execute(select(func.count()).select_from(_LEVELS))).scalar_one()
        return count

    async def version(self) -> int:
        """Return a number that changes whenever levels are added or deleted; it is cheap enough to poll every second."""
        query = select(_VERSIONS.c.number).where(_VERSIONS.c.name == _LEVELS.name)
        async with self._database.read() as connection:
            version: int | None = (await connection.execute(query)).scalar_one_or_none()
        return version or 0

    async def add(self, level: PriceLevel) -> None:
        """Store a new level with a new id."""
        async with self._database.begin() as connection:
            await connection.execute(insert(_LEVELS).values(_row_of(level)))
            await _raise_version(connection)

    async def delete(self, id: str) -> None:
        """Delete a level. Raises NotFound."""
        async with self._database.begin() as connection:
            if not (await connection.execute(delete(_LEVELS).where(_LEVELS.c.id == id))).rowcount:
                raise _not_found(id)
            await _raise_version(connection)

    async def save(self, levels: Sequence[PriceLevel]) -> None:
        """Update ``armed``, ``triggered`` and ``last_triggered`` of these levels. Those deleted in the meantime stay deleted."""
        if not levels:
            return
        # Always in the same order: on PostgreSQL two processes that update the same rows in different orders deadlock.
        states = [
            {"of_id": level.id, "armed": level.armed, "triggered": level.triggered, "last_triggered": level.last_triggered}
            for level in sorted(levels, key=lambda level: level.id)
        ]
        async with self._database.begin() as connection:
            await connection.execute(update(_LEVELS).where(_LEVELS.c.id == bindparam("of_id")), states)


async def _raise_version(connection: AsyncConnection) -> None:
    await insert_new(connection, _VERSIONS, [{"name": _LEVELS.name, "number": 0}])
    mine = update(_VERSIONS).where(_VERSIONS.c.name == _LEVELS.name)
    await connection.execute(mine.values(number=_VERSIONS.c.number + 1))


def _not_found(id: str) -> NotFound:
    return NotFound(f"No price level has the id {id[:40]!r}")


def _row_of(level: PriceLevel) -> dict[str, object]:
    return asdict(level) | {"pair": level.pair.name, "direction": level.direction.value}


def _level_of(row: RowMapping) -> PriceLevel:
    return PriceLevel(**{**row, "pair": CurrencyPair.parse(row["pair"]), "direction": Direction(row["direction"])})
