"""The default database of a test: a SQLite file or, with ``TEST_DATABASE=postgres``, a PostgreSQL database."""

import asyncio
import atexit
import os
from functools import lru_cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
from sqlalchemy.engine import make_url

from app.storage.database.database import open_database
from tests.postgres import PrivatePostgres, new_postgres

_numbers = count(1)
_of_folders: dict[Path, str] = {}


def on_postgres() -> bool:
    """True if tests are to run gateways on PostgreSQL by default."""
    kind = os.environ.get("TEST_DATABASE", "sqlite")
    assert kind in ("sqlite", "postgres"), f"TEST_DATABASE is {kind!r}"
    return kind == "postgres"


async def put_sqlite(file: Path) -> None:
    """Copy a migrated SQLite file there unless one exists; migrating takes much longer."""
    if not file.exists():
        template = await asyncio.to_thread(_sqlite_with_tables)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(template)


async def postgres_of(data_dir: Path) -> str:
    """The URL of the database that replaces the SQLite file of a folder: empty at first, the same on every call."""
    folder = data_dir.resolve()
    if folder not in _of_folders:
        _of_folders[folder] = await _create("template1")
    return _of_folders[folder]


async def migrated_postgres() -> str:
    """The URL of a new, migrated database."""
    return await _create(await asyncio.to_thread(_with_tables))


async def _create(template: str) -> str:
    name = f"test_{next(_numbers)}"
    server = await asyncio.to_thread(_server)
    connection = await asyncpg.connect(server.url)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    finally:
        await connection.close()
    return _url(name)


@lru_cache
def _server() -> PrivatePostgres:
    """The server that all tests of this process share."""
    server = new_postgres()
    atexit.register(server.close)
    server.forgo_safety()
    return server


@lru_cache
def _with_tables() -> str:
    """The name of a migrated database, used as a template; migrating takes much longer than copying."""

    async def make() -> None:
        async with open_database(await _create("template1")) as database:
            await database.migrate()

    first = next(_numbers)
    asyncio.run(make())
    return f"test_{first + 1}"


@lru_cache
def _sqlite_with_tables() -> bytes:
    async def make(file: Path) -> None:
        async with open_database(f"sqlite:///{file}") as database:
            await database.migrate()

    with TemporaryDirectory(prefix="fx-") as folder:
        file = Path(folder) / "gateway.db"
        asyncio.run(make(file))
        return file.read_bytes()


def _url(name: str) -> str:
    return make_url(_server().url).set(database=name).render_as_string(hide_password=False)
