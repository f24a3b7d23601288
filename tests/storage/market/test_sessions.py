from dataclasses import replace

from app.market.hours.session import SESSIONS
from app.storage.database.database import Database
from app.storage.market.sessions import MarketSessions


async def test_the_table_holds_the_sessions_and_no_others(database: Database) -> None:
    sessions = MarketSessions(database)
    assert await sessions.all() == []
    for _ in range(2):
        await sessions.write(SESSIONS)
        assert await sessions.all() == sorted(SESSIONS, key=lambda session: session.name)
    changed = replace(SESSIONS[0], description="changed")
    await sessions.write([changed, SESSIONS[1]])
    assert await sessions.all() == [changed, SESSIONS[1]]
    await sessions.write([])
    assert await sessions.all() == []
