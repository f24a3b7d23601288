"""Databases that stop, hang or are locked, and come back."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import DatabaseUnavailable
from app.storage.database.database import Database, open_database
from tests.postgres import PrivatePostgres
from tests.waiting import wait_until


async def test_while_postgresql_is_stopped_it_does_not_answer_and_afterwards_it_does(postgres: PrivatePostgres) -> None:
    async with open_database(postgres.url) as database:
        await database.ping()
        postgres.stop()
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable, match=r"^The database does not answer: \w+$"):
                await database.ping()
        with pytest.raises(DatabaseUnavailable):
            await database.migrate()
        postgres.start()
        await database.ping()


async def test_a_postgresql_that_was_restarted_answers_at_once(postgres: PrivatePostgres) -> None:
    async with open_database(postgres.url) as database:
        await database.ping()
        postgres.stop()
        postgres.start()
        await database.ping()


@pytest.mark.parametrize("connected", [True, False])
async def test_a_postgresql_that_hangs_does_not_answer(postgres: PrivatePostgres, connected: bool) -> None:
    async with open_database(postgres.url) as opened, open_database(postgres.url, answer_within=1) as database:
        if connected:
            await opened.ping()
            await database.ping()
        postgres.pause()
        with pytest.raises(DatabaseUnavailable, match=r"^The database does not answer: TimeoutError$"):
            await database.ping()
        postgres.resume()
        await opened.ping()


@pytest.mark.parametrize("statement_follows", [True, False])
async def test_a_transaction_that_hangs_ends_and_the_next_works(postgres: PrivatePostgres, statement_follows: bool) -> None:
    async def hang(database: Database) -> None:
        async with database.begin() as connection:
            await connection.execute(text("SELECT 1"))
            postgres.pause()
            if statement_follows:
                await connection.execute(text("SELECT 2"))

    async with open_database(postgres.url, finish_within=1) as database:
        async with asyncio.timeout(30):  # two seconds more for the connection to close, and a busy machine
            with pytest.raises(DatabaseUnavailable, match=r"^The database does not answer: TimeoutError$"):
                await hang(database)
        postgres.resume()
        await database.ping()


async def test_a_connection_lost_within_a_transaction_is_no_answer_and_the_next_works(postgres: PrivatePostgres) -> None:
    async def lose(database: Database) -> None:
        async with database.begin() as connection:
            await connection.execute(text("SELECT 1"))
            postgres.stop()
            await connection.execute(text("SELECT 2"))

    async with open_database(postgres.url) as database:
        with pytest.raises(DatabaseUnavailable):
            await lose(database)
        postgres.start()
        async with database.begin() as connection:
            assert await one(connection) == 1


async def test_a_sqlite_file_that_another_keeps_locked_is_unavailable_until_it_is_free(sqlite_url: str, tmp_path: Path) -> None:
    async with open_database(sqlite_url, answer_within=0.2) as database:
        await database.migrate()
        other = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable, match="OperationalError"):
            async with database.begin():
                raise AssertionError("the file is locked")
        other.execute("ROLLBACK")
        other.close()
        async with database.begin() as connection:
            assert await one(connection) == 1


async def one(connection: AsyncConnection) -> object:
    return (await connection.execute(text("SELECT 1"))).scalar_one()


async def test_a_new_sqlite_file_that_another_process_is_making_is_waited_for(sqlite_url: str, tmp_path: Path) -> None:
    """SQLite refuses to change the mode of such a file at once, whatever time it was given."""
    other = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
    other.execute("CREATE TABLE numbers (a)")
    other.execute("BEGIN IMMEDIATE")
    threads = threading.active_count()
    async with open_database(sqlite_url, answer_within=0.2) as database:
        with pytest.raises(DatabaseUnavailable):
            await database.ping()
    await wait_until(lambda: threading.active_count() <= threads, "the driver's thread has ended")
    asyncio.get_running_loop().call_later(0.1, other.execute, "COMMIT")
    async with open_database(sqlite_url) as database:
        await database.ping()
    assert not other.in_transaction
    other.close()


async def test_a_sqlite_file_that_cannot_be_written_is_unavailable(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "gateway.db").mkdir()
    threads = threading.active_count()
    async with open_database(sqlite_url) as database:
        with pytest.raises(DatabaseUnavailable):
            await database.migrate()
    await wait_until(lambda: threading.active_count() <= threads, "the driver's thread has ended")
