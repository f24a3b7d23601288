"""Bulk writes that report how many rows were added or changed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, ColumnCollection, ColumnElement, CursorResult, Select, Table, and_, bindparam, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

Columns = ColumnCollection[str, Any]
Replaces = Callable[[Columns, Columns], ColumnElement[bool]]
"""The condition under which the stored row, given first, is replaced by the new row of the same key, given second."""


def always(stored: Columns, new: Columns) -> ColumnElement[bool]:
    """The new row always replaces the stored one."""
    return and_(True)


async def insert_new(connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, object]]) -> int:
    """Add the rows whose keys are not in the table yet, and return how many were added."""
    return await _insert(connection, table, rows, None)


async def upsert(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, object]], replaces: Replaces = always
) -> int:
    """Add the rows whose keys are not in the table yet, and replace stored rows where ``replaces`` allows it.

    Every row has all columns of the table, and no two rows have the same key. Return how many rows were added or changed; a row
    equal to the stored one does not count.
    """
    return await _insert(connection, table, rows, replaces)


async def _insert(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, object]], replaces: Replaces | None
) -> int:
    if not rows:
        return 0
    result: CursorResult[Any]
    if connection.dialect.name == "sqlite":
        result = await connection.execute(for_sqlite(table, replaces), rows)
    else:
        # One array per column in a single statement is as fast as COPY and, unlike executemany, reports the number of rows.
        arrays = {name: [row[name] for row in rows] for name in table.c.keys()}  # noqa: SIM118 - a collection of columns
        result = await connection.execute(_for_postgresql(table, replaces), arrays)
    return result.rowcount


def for_sqlite(table: Table, replaces: Replaces | None) -> sqlite.Insert:
    """Return the SQLite statement that upserts rows given as parameters, or only inserts new ones without ``replaces``."""
    statement = sqlite.insert(table)
    if replaces is None:
        return statement.on_conflict_do_nothing()
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key), set_=_changes(table, new), where=_changed(table, new, replaces)
    )


def _for_postgresql(table: Table, replaces: Replaces | None) -> postgresql.Insert:
    arrays = [func.unnest(bindparam(column.name, type_=ARRAY(column.type)), type_=column.type) for column in table.c]
    return from_rows(table, select(*arrays), replaces)


def from_rows(table: Table, rows: Select[Any], replaces: Replaces | None) -> postgresql.Insert:
    """Return the PostgreSQL statement that upserts selected rows, or only inserts new ones without ``replaces``."""
    statement = postgresql.insert(table).from_select(list(table.c), rows)
    if replaces is None:
        return statement.on_conflict_do_nothing()
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key), set_=_changes(table, new), where=_changed(table, new, replaces)
    )


def _changes(table: Table, new: Columns) -> dict[str, ColumnElement[Any]]:
    return {column.name: new[column.name] for column in table.c if not column.primary_key}


def _changed(table: Table, new: Columns, replaces: Replaces) -> ColumnElement[bool]:
    differs = or_(*(column.is_distinct_from(new[column.name]) for column in table.c if not column.primary_key))
    return and_(replaces(table.c, new), differs)
