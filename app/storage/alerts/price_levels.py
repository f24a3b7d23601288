"""The levels that users wait for."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update
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
        """Every level, or those of one pair, the oldest first."""
        query = select(_LEVELS).order_by(_LEVELS.c.created, _LEVELS.c.id)
        if pair is not None:
            query = query.where(_LEVELS.c.pair == pair.name)
        async with self._database.read() as connection:
            return [_level_of(row) for row in await connection.execute(query)]

    async def get(self, id: str) -> PriceLevel:
        """The level of an id. Raises NotFound."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(_LEVELS).where(_LEVELS.c.id == id))).one_or_none()
        if row is None:
            raise _not_found(id)
        return _level_of(row)

    async def count(self) -> int:
        """How many levels there are."""
        async with self._database.read() as connection:
            count: int = (await connection.execute(select(func.count()).select_from(_LEVELS))).scalar_one()
        return count

    async def version(self) -> int:
        """A number that changes whenever levels are added or deleted, cheap to ask for every second."""
        query = select(_VERSIONS.c.number).where(_VERSIONS.c.name == _LEVELS.name)
        async with self._database.read() as connection:
            version: int | None = (await connection.execute(query)).scalar_one_or_none()
        return version or 0

    async def add(self, level: PriceLevel) -> None:
        """Keep a new level, whose id is new too."""
        async with self._database.begin() as connection:
            await connection.execute(insert(_LEVELS).values(_row_of(level)))
            await _raise_version(connection)

    async def delete(self, id: str) -> None:
        """Forget a level. Raises NotFound."""
        async with self._database.begin() as connection:
            if not (await connection.execute(delete(_LEVELS).where(_LEVELS.c.id == id))).rowcount:
                raise _not_found(id)
            await _raise_version(connection)

    async def save(self, levels: Sequence[PriceLevel]) -> None:
        """Remember how far levels have come: ``armed``, ``triggered`` and ``last_triggered``. Those deleted meanwhile stay so."""
        if not levels:
            return
        # In one order always: two processes that save the same levels in different orders wait for each other on PostgreSQL.
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
    return {
        "id": level.id,
        "pair": level.pair.name,
        "direction": level.direction.value,
        "level": level.level,
        "severity": level.severity,
        "message": level.message,
        "repeat": level.repeat,
        "cooldown_seconds": level.cooldown_seconds,
        "created": level.created,
        "armed": level.armed,
        "triggered": level.triggered,
        "last_triggered": level.last_triggered,
    }


def _level_of(row: Any) -> PriceLevel:
    return PriceLevel(
        row.id,
        CurrencyPair.parse(row.pair),
        Direction(row.direction),
        row.level,
        row.severity,
        row.message,
        row.repeat,
        row.cooldown_seconds,
        row.created,
        row.armed,
        row.triggered,
        row.last_triggered,
    )
