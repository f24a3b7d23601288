"""What threshold alerts remember between the runs of a job, so that one is not told twice of the same."""

from collections.abc import Mapping

from sqlalchemy import func, select

from app.storage.database.database import Database
from app.storage.database.tables import AlertStateRow, table_of
from app.storage.database.upsert import upsert

_STATES = table_of(AlertStateRow)


class AlertStates:
    """States by a key, each a little JSON that only the alerts understand. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, prefix: str) -> dict[str, bytes]:
        """The states whose keys begin with ``prefix``, by their whole keys."""
        # Not LIKE, which on SQLite takes capitals for small letters.
        query = select(_STATES).where(func.substr(_STATES.c.key, 1, len(prefix)) == prefix)
        async with self._database.read() as connection:
            return {row.key: row.data for row in await connection.execute(query)}

    async def save(self, states: Mapping[str, bytes]) -> None:
        """Remember these states in the place of those under the same keys; the others stay."""
        async with self._database.begin() as connection:
            await upsert(connection, _STATES, [{"key": key, "data": states[key]} for key in sorted(states)])
