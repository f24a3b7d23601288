import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.schema import CreateTable

from app.errors import ConfigurationError, DatabaseUnavailable
from app.storage.database.database import Database, open_database
from app.storage.database.migration import upgrade
from app.storage.database.tables import Row

_MIGRATE = """
import asyncio, sys
from app.storage.database.database import open_database

async def migrate() -> None:
    async with open_database(sys.argv[1]) as database:
        await database.migrate()

sys.stdin.readline()
asyncio.run(migrate())
"""


async def revision(database: Database) -> object:
    async with database.read() as connection:
        return (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one()


async def tables(database: Database) -> set[str]:
    async with database.read() as connection:
        return set(await connection.run_sync(lambda connection: inspect(connection).get_table_names()))


async def test_the_migrations_make_the_tables_that_the_code_works_with(database: Database) -> None:
    def differences(connection: Connection) -> Any:
        return compare_metadata(MigrationContext.configure(connection), Row.metadata)

    async with database.read() as connection:
        assert await connection.run_sync(differences) == []
    assert await tables(database) == {*Row.metadata.tables, "alembic_version"}


async def test_on_sqlite_the_same_tables_have_no_row_ids(sqlite_url: str, tmp_path: Path) -> None:
    """Alembic does not compare this."""
    async with open_database(sqlite_url) as database:
        await database.migrate()
        dialect = database._engine.dialect
    reader = sqlite3.connect(tmp_path / "gateway.db")
    made = dict(reader.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    reader.close()
    without = {name for name, sql in made.items() if "WITHOUT ROWID" in sql}
    meant = Row.metadata.sorted_tables
    assert (
        without == {table.name for table in meant if "WITHOUT ROWID" in str(CreateTable(table).compile(dialect=dialect))} != set()
    )


async def test_a_database_of_older_code_is_brought_up_to_date_and_keeps_what_is_in_it(database_url: str) -> None:
    async with open_database(database_url) as database:
        async with database.begin() as connection:
            await connection.run_sync(upgrade, "0001")
            await connection.execute(text("INSERT INTO market_sessions VALUES ('Here', 'UTC', '08:00:00', '17:00:00', 'kept')"))
        assert "job_runs" not in await tables(database)
        await database.migrate()
        assert "job_runs" in await tables(database)
        async with database.read() as connection:
            assert (await connection.execute(text("SELECT description FROM market_sessions"))).scalar_one() == "kept"


async def test_to_migrate_again_changes_nothing(database: Database) -> None:
    before = await revision(database)
    await database.migrate()
    assert await revision(database) == before


async def test_a_database_of_newer_code_is_left_alone(database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match=r"revision 9999, .* a newer one has migrated it"):
        await database.migrate()
    assert await revision(database) == "9999"


async def test_any_number_of_processes_migrate_an_empty_database_at_once(database_url: str) -> None:
    command = [sys.executable, "-c", _MIGRATE, database_url]
    pipe = subprocess.PIPE
    processes = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stderr=pipe) for _ in range(3)]
    outputs = await asyncio.gather(*(process.communicate(b"\n") for process in processes))
    assert [(process.returncode, stderr) for process, (_, stderr) in zip(processes, outputs, strict=True)] == [(0, b"")] * 3
    async with open_database(database_url) as database:
        assert await tables(database) == {*Row.metadata.tables, "alembic_version"}


async def test_two_databases_are_migrated_at_once_by_one_process(sqlite_url: str, postgres_url: str) -> None:
    async with open_database(sqlite_url) as one, open_database(postgres_url) as other:
        await asyncio.gather(one.migrate(), other.migrate())
        assert await tables(one) == await tables(other) == {*Row.metadata.tables, "alembic_version"}


async def test_a_migration_that_fails_leaves_nothing_behind(database_url: str) -> None:
    async with open_database(database_url) as database:
        async with database.begin() as connection:
            await connection.execute(text("CREATE TABLE job_runs (a INTEGER)"))  # the last revision makes one of this name
        with pytest.raises(DatabaseUnavailable, match=r"^The tables cannot be created: \w+$"):
            await database.migrate()
        assert await tables(database) == {"job_runs"}
