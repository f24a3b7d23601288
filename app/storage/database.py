"""The database: PostgreSQL or SQLite behind one URL."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.errors import ConfigurationError, DatabaseUnavailable

_DRIVERS = {"postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
_ANSWER_WITHIN = 5.0


class Database:
    """An open database."""

    def __init__(self, engine: AsyncEngine, answer_within: float = _ANSWER_WITHIN) -> None:
        self._engine = engine
        self._answer_within = answer_within

    async def ping(self) -> None:
        """Raises DatabaseUnavailable where the database does not answer."""
        try:
            async with asyncio.timeout(self._answer_within), self._engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise DatabaseUnavailable(f"The database does not answer: {type(error).__name__}") from error


@asynccontextmanager
async def open_database(address: str) -> AsyncGenerator[Database]:
    """The database at the URL, closed on leaving. A SQLite file is made where there is none. Raises ConfigurationError."""
    url = _url(address)
    if url.get_backend_name() == "sqlite":
        if url.database:
            _make_folder(Path(url.database).parent)
        engine = create_async_engine(url, connect_args={"timeout": _ANSWER_WITHIN})
        event.listen(engine.sync_engine, "connect", _use_wal)
    else:
        engine = create_async_engine(url, pool_pre_ping=True, connect_args={"timeout": _ANSWER_WITHIN})
    try:
        yield Database(engine)
    finally:
        await engine.dispose()


def _url(address: str) -> URL:
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise ConfigurationError("DATABASE_URL: not a database URL") from None
    driver = _DRIVERS.get(url.drivername.partition("+")[0])
    if driver is None:
        raise ConfigurationError("DATABASE_URL: postgresql:// or sqlite:// is needed")
    if driver == "postgresql+asyncpg" and "sslmode" in url.query:  # libpq's word, which providers put into their URLs
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": url.query["sslmode"]})
    return url.set(drivername=driver)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"DATABASE_URL: the folder {folder} cannot be made: {error}") from None


def _use_wal(connection: Any, record: object) -> None:
    """Readers and the one writer of a SQLite file do not wait for each other in WAL mode."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
