"""The database of a test that names none: a SQLite file or, where TEST_DATABASE is ``postgres``, a PostgreSQL of its own."""

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
    """True where gateways of tests are to work on PostgreSQL."""
    kind = os.environ.get("TEST_DATABASE", "sqlite")
    assert kind in ("sqlite", "postgres"), f"TEST_DATABASE is {kind!r}"
    return kind == "postgres"


async def put_sqlite(file: Path) -> None:
    """Put a SQLite file with all tables there, unless there is one already; to make the tables takes much longer."""
    if not file.exists():
        template = await asyncio.to_thread(_sqlite_with_tables)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(template)


async def postgres_of(data_dir: Path) -> str:
    """The URL of the database that stands for the SQLite file in a folder, empty at first and the same at every call."""
    folder = data_dir.resolve()
    if folder not in _of_folders:
        _of_folders[folder] = await _create("template1")
    return _of_folders[folder]


async def migrated_postgres() -> str:
    """The URL of a new database that has all tables."""
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
    """The server that all tests of this process share, until the process ends."""
    server = new_postgres()
    atexit.register(server.close)
    server.forgo_safety()
    return server


@lru_cache
def _with_tables() -> str:
    """The name of a database with all tables, to be copied; to make them takes much longer."""

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
