import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import ConfigurationError, DatabaseUnavailable
from app.storage.database.database import Database, open_database
from tests.waiting import wait_until

# --------------------------------------------------------------------- SQLite


async def test_a_sqlite_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "some" / "folder" / "gateway.db"
    async with open_database(f"sqlite:///{path}") as database:
        await database.ping()
    assert path.is_file()


async def test_a_sqlite_file_may_lie_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_database("sqlite:///gateway.db") as database:
        await database.ping()
    assert (tmp_path / "gateway.db").is_file()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
async def test_a_sqlite_database_may_live_in_memory(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_database(url) as database:
        await database.ping()
    assert list(tmp_path.iterdir()) == []


async def test_readers_and_the_writer_of_a_sqlite_file_do_not_wait_for_each_other(sqlite_url: str, tmp_path: Path) -> None:
    async with open_database(sqlite_url) as database:
        await database.ping()
        with sqlite3.connect(tmp_path / "gateway.db") as writer:
            assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            writer.execute("BEGIN EXCLUSIVE")
            await database.ping()
        writer.close()


async def test_an_existing_sqlite_file_is_kept(sqlite_url: str, tmp_path: Path) -> None:
    writer = sqlite3.connect(tmp_path / "gateway.db")
    writer.execute("CREATE TABLE kept (a)")
    writer.close()
    async with open_database(sqlite_url) as database:
        await database.ping()
    reader = sqlite3.connect(tmp_path / "gateway.db")
    assert reader.execute("SELECT name FROM sqlite_master").fetchall() == [("kept",)]
    reader.close()


def _a_folder(path: Path) -> None:
    path.mkdir()


def _no_database(path: Path) -> None:
    path.write_bytes(b"something else, longer than the header of a database" * 100)


@pytest.mark.parametrize("made", [_a_folder, _no_database])
async def test_a_file_that_is_no_database_does_not_answer(sqlite_url: str, tmp_path: Path, made: Callable[[Path], None]) -> None:
    made(tmp_path / "gateway.db")
    threads = threading.active_count()
    async with open_database(sqlite_url) as database:
        with pytest.raises(DatabaseUnavailable, match=r"^The database does not answer: \w+Error$"):
            await database.ping()
    await wait_until(lambda: threading.active_count() <= threads, "the driver's thread has ended")


async def test_a_folder_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "gateway.db", tmp_path / "file" / "folder" / "gateway.db", tmp_path / "a\0b" / "c.db"):
        with pytest.raises(ConfigurationError, match=r"^DATABASE_URL: the folder .* cannot be created: "):
            await use(f"sqlite:///{path}")


# ------------------------------------------------------------------ PostgreSQL


async def test_postgresql_answers(postgres_url: str) -> None:
    async with open_database(postgres_url) as database:
        await asyncio.gather(*(database.ping() for _ in range(10)))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql+asyncpg", "postgresql+psycopg2"])
async def test_other_words_for_postgresql_are_understood(postgres_url: str, scheme: str) -> None:
    async with open_database(postgres_url.replace("postgresql", scheme, 1)) as database:
        await database.ping()


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
async def test_the_sslmode_of_libpq_is_understood(postgres_url: str, mode: str) -> None:
    async with open_database(f"{postgres_url}&sslmode={mode}") as database:
        await database.ping()


@pytest.mark.parametrize(
    "option", ["timeout=3", "command_timeout=3.5", "statement_cache_size=0", "prepared_statement_cache_size=0"]
)
async def test_the_options_of_the_driver_are_understood(postgres_url: str, option: str) -> None:
    async with open_database(f"{postgres_url}&{option}") as database:
        await database.ping()


async def test_an_sslmode_is_not_passed_over() -> None:
    async with open_database("postgresql://127.0.0.1:1/db?sslmode=perhaps") as database:
        with pytest.raises(DatabaseUnavailable, match="InterfaceError"):  # the driver's word for a mode it does not know
            await database.ping()


async def test_a_database_that_does_not_exist_does_not_answer(postgres_url: str) -> None:
    async with open_database(postgres_url.replace("/postgres?", "/nothing?")) as database:
        with pytest.raises(DatabaseUnavailable):
            await database.ping()


async def test_a_refused_connection_is_no_answer_and_shows_no_password() -> None:
    async with open_database("postgresql://user:s3cret@127.0.0.1:1/db") as database:
        with pytest.raises(DatabaseUnavailable) as caught:
            await database.ping()
    assert "s3cret" not in str(caught.value)


# ---------------------------------------------------------------- transactions


async def make_table(database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE numbers (a INTEGER PRIMARY KEY)"))


async def count(database: Database) -> object:
    async with database.read() as connection:
        return (await connection.execute(text("SELECT count(*) FROM numbers"))).scalar_one()


async def add_and_fail(connection: AsyncConnection) -> None:
    await connection.execute(text("INSERT INTO numbers VALUES (2)"))
    raise ZeroDivisionError


async def test_a_transaction_is_committed_on_leaving_and_rolled_back_on_an_error(database_url: str) -> None:
    async with open_database(database_url) as database:
        await make_table(database)
        async with database.begin() as connection:
            await connection.execute(text("INSERT INTO numbers VALUES (1)"))
        with pytest.raises(ZeroDivisionError):
            async with database.begin() as connection:
                await add_and_fail(connection)
        assert await count(database) == 1


async def test_what_the_database_refuses_is_not_called_unavailable(database_url: str) -> None:
    async with open_database(database_url) as database:
        await make_table(database)
        with pytest.raises(IntegrityError):
            async with database.begin() as connection:
                await connection.execute(text("INSERT INTO numbers VALUES (1), (1)"))
        with pytest.raises(DBAPIError):
            async with database.begin() as connection:
                await connection.execute(text("SELECT * FROM nothing"))
        assert await count(database) == 0


async def test_a_value_that_postgresql_refuses_is_not_called_unavailable(postgres_url: str) -> None:
    async with open_database(postgres_url) as database:
        with pytest.raises(DBAPIError):
            async with database.read() as connection:
                await connection.execute(text("SELECT CAST(:value AS BIGINT)"), {"value": 2**70})


async def test_the_values_of_a_statement_are_in_no_error(database_url: str) -> None:
    async with open_database(database_url) as database:
        with pytest.raises(DBAPIError) as caught:
            async with database.begin() as connection:
                await connection.execute(text("INSERT INTO nothing VALUES (:value)"), {"value": "s3cret"})
    assert "s3cret" not in str(caught.value)


async def test_writers_of_one_database_take_turns(database_url: str) -> None:
    """Each reads before it writes, which on SQLite fails for all but one unless they wait as they begin."""
    async with open_database(database_url) as one, open_database(database_url) as other:
        await make_table(one)

        async def add(database: Database, number: int) -> None:
            async with database.begin() as connection:
                await connection.execute(text("SELECT count(*) FROM numbers"))
                await asyncio.sleep(0)
                await connection.execute(text("INSERT INTO numbers VALUES (:a)"), {"a": number})

        await asyncio.gather(*(add((one, other)[number % 2], number) for number in range(20)))
        assert await count(one) == await count(other) == 20


async def test_a_reader_sees_one_state_while_another_writes(sqlite_url: str) -> None:
    async with open_database(sqlite_url) as database:
        await make_table(database)
        async with database.read() as reader:
            assert (await reader.execute(text("SELECT count(*) FROM numbers"))).scalar_one() == 0
            async with database.begin() as writer:
                await writer.execute(text("INSERT INTO numbers VALUES (1)"))
            assert (await reader.execute(text("SELECT count(*) FROM numbers"))).scalar_one() == 0
        assert await count(database) == 1


async def test_a_database_in_memory_is_one_for_all_transactions() -> None:
    async with open_database("sqlite://") as database:
        await make_table(database)

        async def add(number: int) -> None:
            async with database.begin() as connection:
                await connection.execute(text("INSERT INTO numbers VALUES (:a)"), {"a": number})

        await asyncio.gather(*(add(number) for number in range(20)))
        assert await count(database) == 20


# ------------------------------------------------------------------------ URLs


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "not a database URL"),
        ("gateway.db", "not a database URL"),
        ("s3cret", "not a database URL"),
        ("postgresql://user:s3cret@host:port/db", "not a database URL"),
        ("postgresql://user:s3cret@[::1/db", "not a database URL"),
        ("mysql://user:s3cret@host/db", "postgresql:// or sqlite:// is needed"),
        ("http://user:s3cret@host/db", "postgresql:// or sqlite:// is needed"),
        ("postgresql://user:s3cret@host/db?foo=bar", "PostgreSQL's driver has no option foo"),
        (
            "postgresql://user:s3cret@host/db?sslmode=require&channel_binding=x",
            "PostgreSQL's driver has no option channel_binding",
        ),
        ("postgresql://user:s3cret@host/db?command_timeout=soon", "the option command_timeout must be a number"),
        ("sqlite:///gateway.db?foo=bar", "SQLite takes no options"),
    ],
)
async def test_a_url_of_something_else_is_a_configuration_error_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await use(url)
    assert str(caught.value) == f"DATABASE_URL: {message}"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


async def use(url: str) -> None:
    async with open_database(url):
        raise AssertionError("this is no database")
