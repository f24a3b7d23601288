"""The sessions of the trading day, as a table for people who look at the database."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select

from app.market.hours.session import Session
from app.storage.database.database import Database
from app.storage.database.tables import MarketSessionRow, table_of
from app.storage.database.upsert import upsert

_SESSIONS = table_of(MarketSessionRow)


class MarketSessions:
    """The sessions in the database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, sessions: Sequence[Session]) -> None:
        """Make the table hold exactly these sessions."""
        rows = [
            {
                "name": session.name,
                "timezone": session.zone.key,
                "opening": session.opening,
                "closing": session.closing,
                "description": session.description,
            }
            for session in sorted(sessions, key=lambda session: session.name)
        ]
        async with self._database.begin() as connection:
            await connection.execute(delete(_SESSIONS).where(_SESSIONS.c.name.not_in([session.name for session in sessions])))
            await upsert(connection, _SESSIONS, rows)

    async def all(self) -> list[Session]:
        """Return the sessions of the table, by name."""
        async with self._database.read() as connection:
            rows = (await connection.execute(select(_SESSIONS))).all()
        sessions = [Session(row.name, ZoneInfo(row.timezone), row.opening, row.closing, row.description) for row in rows]
        return sorted(sessions, key=lambda session: session.name)
