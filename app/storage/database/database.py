"""The database: PostgreSQL or SQLite behind one URL."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiosqlite
import asyncpg
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from app.errors import ConfigurationError, DatabaseUnavailable
from app.storage.database.migration import is_current, upgrade

_DRIVERS = {"postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
_ANSWER_WITHIN = 5.0
_FINISH_WITHIN = 8.0  # leaves two seconds for a hanging connection to close
_MIGRATE_WITHIN = 300.0
_PAUSE = 0.01
_WRITES = "fx_writes"
_INVALID_VALUES = (asyncpg.DataError, asyncpg.ProgramLimitExceededError)

# The options allowed in the query of a PostgreSQL URL, with their types. On connecting, the driver raises errors meant for
# programmers for any other option, and for a value of another type.
_POSTGRESQL_OPTIONS: Mapping[str, Callable[[str], str | int | float]] = {
    **dict.fromkeys(("host", "port", "user", "password", "passfile", "database"), str),
    **dict.fromkeys(("ssl", "target_session_attrs", "krbsrvname", "gsslib"), str),
    **dict.fromkeys(("timeout", "command_timeout"), float),
    **dict.fromkeys(("statement_cache_size", "max_cached_statement_lifetime", "max_cacheable_statement_size"), int),
    "prepared_statement_cache_size": int,
}


class Database:
    """An open database."""

    def __init__(self, engine: AsyncEngine, answer_within: float, finish_within: float) -> None:
        self._engine = engine
        self._answer_within = answer_within
        self._finish_within = finish_within

    async def ping(self) -> None:
        """Raise DatabaseUnavailable unless the database answers."""
        async with self._transaction(self._answer_within) as connection:
            await connection.execute(text("SELECT 1"))

    async def migrate(self) -> None:
        """Bring the tables up to date with this code, from an empty database or from those of older code.

        Any number of processes may call this at once: one migrates, the others wait for it. Raises DatabaseUnavailable, and
        ConfigurationError if newer code has migrated the database.
        """
        try:
            async with self.read() as connection:
                if await connection.run_sync(is_current):
                    return
            # The database answers, but altering large tables may take longer than an answer.
            async with self._transaction(_MIGRATE_WITHIN, writes=True) as connection:
                await connection.run_sync(_wait_for_each_other)
                await connection.run_sync(upgrade)
        except DBAPIError as error:  # no right to create tables, or foreign tables of the same names
            raise DatabaseUnavailable(f"The tables cannot be created: {type(error.driver_exception).__name__}") from error

    def begin(self, within: float | None = None) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a transaction that writes: committed on leaving, rolled back on an error.

        ``within`` is its time limit in seconds, by default that of all transactions.

        Raises DatabaseUnavailable, after which it is unknown whether the transaction was committed. A statement that the database
        rejects is a bug, and SQLAlchemy's exception for it is passed on.
        """
        return self._transaction(within or self._finish_within, writes=True)

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a transaction that only reads, with the limits and errors of ``begin``. On SQLite it never waits for a writer."""
        return self._transaction(self._finish_within)

    @asynccontextmanager
    async def _transaction(self, within: float, *, writes: bool = False) -> AsyncGenerator[AsyncConnection]:
        try:
            async with asyncio.timeout(within), self._engine.connect() as connection:
                await connection.execution_options(**{_WRITES: writes}, postgresql_readonly=not writes)
                async with connection.begin():
                    yield connection
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            if _is_fault_of_the_program(error):
                raise
            raise DatabaseUnavailable(f"The database does not answer: {type(error).__name__}") from error


def refuses_values(error: StatementError) -> bool:
    """Return True if the database or its driver answered that it cannot store these values."""
    if not isinstance(error, DBAPIError):
        return True  # raised by a column type
    return isinstance(error, (IntegrityError, DataError)) or isinstance(error.driver_exception, _INVALID_VALUES)


def _is_fault_of_the_program(error: Exception) -> bool:
    """Return True if the database answered, and answered that this cannot be done."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, StatementError)
    if isinstance(error, (IntegrityError, ProgrammingError, DataError, NotSupportedError)):
        return True
    # SQLAlchemy does not tell these from a lost connection: invalid values in asyncpg, invalid statements in SQLite.
    driver_error = error.driver_exception
    return isinstance(driver_error, _INVALID_VALUES) or (
        isinstance(driver_error, sqlite3.OperationalError) and driver_error.sqlite_errorcode == sqlite3.SQLITE_ERROR
    )


@asynccontextmanager
async def open_database(
    address: str, *, answer_within: float = _ANSWER_WITHIN, finish_within: float = _FINISH_WITHIN
) -> AsyncGenerator[Database]:
    """Open the database at the URL and close it on leaving. A missing SQLite file is created. Raises ConfigurationError.

    The database counts as unavailable when it gives no sign of life for ``answer_within`` seconds, because it cannot be reached
    or another program has locked it, and when a transaction takes longer than ``finish_within`` seconds.
    """
    url = _url(address)
    engine = _sqlite(url, answer_within) if url.get_backend_name() == "sqlite" else _postgresql(url, answer_within)
    try:
        yield Database(engine, answer_within, finish_within)
    finally:
        await engine.dispose()


class _SqliteConnection(sqlite3.Connection):
    """A connection that rolls back its transaction before it closes.

    SQLite keeps a closed connection, and with it the lock on the file, as long as a cursor of it is referenced. When a task was
    cancelled in the middle of a statement, that is until garbage collection.
    """

    def close(self) -> None:
        with suppress(sqlite3.ProgrammingError):  # closed already
            if self.in_transaction:
                self.rollback()
        super().close()


def _sqlite(url: URL, answer_within: float) -> AsyncEngine:
    if url.query:
        raise ConfigurationError("DATABASE_URL: SQLite takes no options")
    in_memory = url.database in (None, "", ":memory:")
    if url.database and not in_memory:
        _make_folder(Path(url.database).parent)
    engine = create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        pool_timeout=answer_within,
        # A database in memory exists in a single connection, which transactions use in turn.
        **({"pool_size": 1, "max_overflow": 0} if in_memory else {}),
        connect_args={"factory": _SqliteConnection, "timeout": answer_within},
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _postgresql(url: URL, answer_within: float) -> AsyncEngine:
    if "sslmode" in url.query:  # libpq's name, common in the URLs that hosting providers hand out
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": url.query["sslmode"]})
    options: dict[str, Any] = {"timeout": answer_within}
    for name, value in url.query.items():
        kind = _POSTGRESQL_OPTIONS.get(name)
        if kind is None:
            raise ConfigurationError(f"DATABASE_URL: PostgreSQL's driver has no option {name}")
        if kind is not str:
            options[name] = _number(name, value, kind)
    url = url.difference_update_query([name for name in options if name in url.query])
    return create_async_engine(url, pool_pre_ping=True, pool_timeout=answer_within, connect_args=options, hide_parameters=True)


def _number(name: str, value: str | tuple[str, ...], kind: Callable[[str], str | int | float]) -> str | int | float:
    try:
        return kind(value if isinstance(value, str) else value[-1])
    except ValueError:
        raise ConfigurationError(f"DATABASE_URL: the option {name} must be a number") from None


def _url(address: str) -> URL:
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise ConfigurationError("DATABASE_URL: not a database URL") from None
    driver = _DRIVERS.get(url.drivername.partition("+")[0])
    if driver is None:
        raise ConfigurationError("DATABASE_URL: postgresql:// or sqlite:// is needed")
    return url.set(drivername=driver)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"DATABASE_URL: the folder {folder} cannot be created: {error}") from None


def _prepare_sqlite(connection: Any, record: object) -> None:
    # Otherwise the driver begins transactions itself, too late and without IMMEDIATE.
    connection.isolation_level = None
    connection.run_async(_use_wal)


async def _use_wal(connection: aiosqlite.Connection) -> None:
    """Switch to WAL mode, in which readers and the one writer of a file do not wait for each other."""
    async with asyncio.timeout(_ANSWER_WITHIN):
        # When several processes open a new file at once, SQLite lets one of them change the mode and fails the others
        # immediately, ignoring the busy timeout.
        while not await _done(connection, "PRAGMA journal_mode=WAL"):  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(_PAUSE)
    await connection.execute_fetchall("PRAGMA synchronous=NORMAL")


async def _done(connection: aiosqlite.Connection, statement: str) -> bool:
    """Execute a statement; return False if it must wait for another connection."""
    try:
        await connection.execute_fetchall(statement)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


def _begin_sqlite(connection: Connection) -> None:
    """Begin a transaction. One that writes waits for other writers right away: once it has read anything, it no longer can."""
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _wait_for_each_other(connection: Connection) -> None:
    """Let one process through; the others wait until its transaction ends. On SQLite, BEGIN IMMEDIATE has done that."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('fx-gateway migration'))"))
