"""Bulk upserts that bypass SQLAlchemy's type conversion: COPY on PostgreSQL, plain tuples on SQLite.

A column is a list of values, or one value for all rows. Values are text, integers, booleans or, for all rows, None; both
databases accept decimals and times as text.
"""

import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, TypeAlias

import asyncpg
from sqlalchemy import MetaData, Table, literal, literal_column, select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.database.upsert import Replaces, for_sqlite, from_rows

Value: TypeAlias = str | int | bool | None
Columns: TypeAlias = Mapping[str, Sequence[Value] | Value]

_INCOMING = "incoming_rows"
_LINES_AT_ONCE = 2000


async def bulk_upsert(connection: AsyncConnection, table: Table, columns: Columns, count: int, replaces: Replaces) -> int:
    """Upsert ``count`` rows given by columns like ``upsert``, and return how many were added or changed.

    Raises ConnectionError if the database becomes unavailable.
    """
    if connection.dialect.name == "sqlite":
        return await _into_sqlite(connection, table, columns, count, replaces)
    return await _into_postgresql(connection, table, columns, count, replaces)


async def _into_sqlite(connection: AsyncConnection, table: Table, columns: Columns, count: int, replaces: Replaces) -> int:
    # A constant in the statement costs nothing per row, unlike a parameter.
    constant = tuple((name, value) for name, value in columns.items() if not isinstance(value, list))
    statement = _sqlite_statement(table, replaces, constant)
    values = [columns[name] for name in table.c.keys() if isinstance(columns[name], list)]  # noqa: SIM118 - a collection of columns
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    try:
        # Rows are created one by one as SQLite consumes them: a list of tuples would keep the garbage collector busy.
        cursor = await driver.executemany(statement, zip(*values, strict=True))
        changed: int = cursor.rowcount
        await cursor.close()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # a fault of the statement
            raise
        raise ConnectionError(str(error)) from error
    return changed


@lru_cache(maxsize=16)
def _sqlite_statement(table: Table, replaces: Replaces, constant: tuple[tuple[str, Any], ...]) -> str:
    """Return the statement, whose parameters are the columns without a constant value, in the order of the table."""
    parameters: dict[str, Any] = {name: literal_column("?") for name in table.c.keys()}  # noqa: SIM118 - a collection of columns
    statement = for_sqlite(table, replaces).values(parameters | {name: literal(value) for name, value in constant})
    # Inline, or SQLAlchemy would have the keys returned.
    return str(statement.inline().compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))


async def _into_postgresql(connection: AsyncConnection, table: Table, columns: Columns, count: int, replaces: Replaces) -> int:
    incoming = table.to_metadata(MetaData(), name=_INCOMING)
    await connection.execute(text(f'CREATE TEMPORARY TABLE {_INCOMING} (LIKE "{table.name}") ON COMMIT DROP'))
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    names = sorted(table.c.keys(), key=lambda name: not isinstance(columns[name], list))
    try:
        await driver.copy_to_table(_INCOMING, source=_lines(columns, names), columns=names, format="csv")
    # COPY bypasses SQLAlchemy, which would have recognised these as a lost connection.
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.OperatorInterventionError) as error:
        raise ConnectionError(str(error)) from error
    result = await connection.execute(from_rows(table, select(*incoming.c), replaces))
    await connection.execute(text(f"DROP TABLE {_INCOMING}"))
    return result.rowcount


async def _lines(columns: Columns, names: Sequence[str]) -> AsyncIterator[bytes]:
    """Yield lines of CSV: varying columns first, then constant ones."""
    varying = [_texts(columns[name]) for name in names if isinstance(columns[name], list)]
    end = "".join(f",{_quoted(columns[name])}" for name in names if not isinstance(columns[name], list)) + "\n"
    lines = map(",".join, zip(*varying, strict=True))
    while some := list(islice(lines, _LINES_AT_ONCE)):
        yield (end.join(some) + end).encode()


def _texts(values: Sequence[Value] | Value) -> Iterable[str]:
    assert isinstance(values, list)
    return values if values and isinstance(values[0], str) else map(str, values)


def _quoted(value: object) -> str:
    if value is None:
        return ""
    return '"' + str(value).replace('"', '""') + '"'
