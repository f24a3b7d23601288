"""What threshold alerts remember between the runs of a job, so that the same alert is not raised twice."""

from collections.abc import Mapping

from sqlalchemy import func, select

from app.storage.database.database import Database
from app.storage.database.tables import AlertStateRow, table_of
from app.storage.database.upsert import upsert

_STATES = table_of(AlertStateRow)


class AlertStates:
    """States by key, each a small JSON document that only the alerts interpret. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, prefix: str) -> dict[str, bytes]:
        """Return the states whose keys start with ``prefix``, by their full keys."""
        # Not LIKE, which ignores case on SQLite.
        query = select(_STATES).where(func.substr(_STATES.c.key, 1, len(prefix)) == prefix)
        async with self._database.read() as connection:
            return {row.key: row.data for row in await connection.execute(query)}

    async def save(self, states: Mapping[str, bytes]) -> None:
        """Store these states, replacing those under the same keys; the others stay."""
        async with self._database.begin() as connection:
            await upsert(connection, _STATES, [{"key": key, "data": states[key]} for key in sorted(states)])
