"""Ticks of the past, by the time at which they entered the log."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Text, desc, func, select, tuple_, type_coerce
from sqlalchemy import cast as sql_cast

from app.storage.database.database import Database
from app.storage.database.limit import positive
from app.storage.database.log_ids import id_of, numbers_of
from app.storage.database.tables import TickRow, table_of

_TICKS = table_of(TickRow)


class TickTexts(NamedTuple):
    """A stored tick: its id in the log, the quote with the digits that are stored, and its RFC 3339 time."""

    id: str
    time: str
    pair: str
    bid: str
    ask: str
    source: str
    kind: str


class Ticks:
    """The ticks in the database, written by a recorder."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        *,
        pairs: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        since: str | None = None,
        limit: int,
        last: bool = False,
    ) -> list[TickTexts]:
        """Return the first ``limit`` ticks that meet every condition given or, with ``last``, the last; oldest first.

        They entered the log in ``[start, end)`` and, with ``since``, after that id. Raises InvalidCursor for a malformed id, and
        DatabaseUnavailable.
        """
        async with self._database.read() as connection:
            query = select(*_columns(connection.dialect.name)).limit(positive(limit))
            query = (
                query.order_by(desc(_TICKS.c.milliseconds), desc(_TICKS.c.number))
                if last
                else query.order_by(_TICKS.c.milliseconds, _TICKS.c.number)
            )
            if pairs is not None:
                query = query.where(_TICKS.c.pair.in_(pairs))
            if start is not None:
                query = query.where(_TICKS.c.milliseconds >= _milliseconds(start))
            if end is not None:
                query = query.where(_TICKS.c.milliseconds < _milliseconds(end))
            if since is not None:
                query = query.where(tuple_(_TICKS.c.milliseconds, _TICKS.c.number) > tuple_(*numbers_of(since)))
            ticks = [TickTexts(id_of(first, second), *rest) for first, second, *rest in await connection.execute(query)]
        return ticks[::-1] if last else ticks


def _columns(dialect: str) -> list[ColumnElement[Any]]:
    ids, rest = [_TICKS.c.milliseconds, _TICKS.c.number], [_TICKS.c.source, _TICKS.c.kind]
    if dialect == "sqlite":  # where times and prices are stored as these texts
        time, bid, ask = (type_coerce(column, Text).label(column.name) for column in (_TICKS.c.time, _TICKS.c.bid, _TICKS.c.ask))
    else:
        utc = func.timezone("UTC", _TICKS.c.time)
        time = func.to_char(utc, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"', type_=Text).label("time")
        bid, ask = (sql_cast(column, Text).label(column.name) for column in (_TICKS.c.bid, _TICKS.c.ask))
    return [*ids, time, _TICKS.c.pair, bid, ask, *rest]


def _milliseconds(moment: datetime) -> int:
    """Return the first millisecond of the log that is not before a moment."""
    return -int(-moment.timestamp() * 1000 // 1)
