"""Rows that the database refuses: put aside with the reason, so that one of them does not stop those beside it."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import desc, func, insert, select
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import InvalidCursor
from app.market.clock import utc_now
from app.storage.database.database import Database, refuses_values
from app.storage.database.limit import positive
from app.storage.database.log_ids import id_of, numbers_of
from app.storage.database.tables import RefusedEventRow, table_of

REFUSALS = (StatementError, ValueError, TypeError, ArithmeticError)
"""What is raised for values that cannot be stored, by the database, its driver or a column type. See ``is_refusal``."""

Row = Mapping[str, object]

_REFUSED = table_of(RefusedEventRow)
_LONGEST_TYPE = 100
_LONGEST_PAYLOAD = 100_000
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class RefusedEvent:
    """An event of the log, or a row made of it, that could not be stored.

    ``id`` is its cursor, that of the batch for a bar; ``type`` is its type, ``bar`` for a bar. All texts are ASCII,
    with everything else escaped; ``time`` is when it was put aside, aware UTC.
    """

    id: str
    type: str
    payload: str
    reason: str
    time: datetime

    @classmethod
    def of(cls, id: str, type: str, payload: Row | bytes, error: Exception | str) -> "RefusedEvent":
        """Return what is put aside of this payload because of this error, with the time of now."""
        data = _printable(_text(payload)) if isinstance(payload, bytes) else json.dumps(payload, default=_text)
        reason = _printable(error if isinstance(error, str) else _reason(error))
        return cls(id, _printable(type)[:_LONGEST_TYPE], data[:_LONGEST_PAYLOAD], reason[:_LONGEST_REASON], utc_now())


class RefusedEvents:
    """The events put aside, in the database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self) -> int:
        """Return how many are kept."""
        async with self._database.read() as connection:
            count: int = (await connection.execute(select(func.count()).select_from(_REFUSED))).scalar_one()
        return count

    async def newest(self, limit: int) -> list[RefusedEvent]:
        """Return the last ones, newest first."""
        query = select(_REFUSED).order_by(desc(_REFUSED.c.id)).limit(positive(limit))
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [RefusedEvent(id_of(row.milliseconds, row.number), row.type, row.payload, row.reason, row.time) for row in rows]


def is_refusal(error: Exception) -> bool:
    """Return whether an error of ``REFUSALS`` is about the values of a row, not about the statement."""
    return refuses_values(error) if isinstance(error, StatementError) else True


async def put_aside(connection: AsyncConnection, refused: Sequence[RefusedEvent]) -> None:
    """Store what was refused."""
    rows = []
    for event in refused:
        milliseconds, number = _numbers(event.id)
        rows.append(
            {
                "milliseconds": milliseconds,
                "number": number,
                "type": event.type,
                "payload": event.payload,
                "reason": event.reason,
                "time": event.time,
            }
        )
    if rows:
        await connection.execute(insert(_REFUSED), rows)


async def write_what_goes(
    connection: AsyncConnection, rows: Sequence[Row], write: Callable[[Sequence[Row]], Awaitable[object]]
) -> list[tuple[Row, Exception]]:
    """Write rows by halves, so that all are written but those that the database refuses; return these with the reasons."""
    if not rows:
        return []
    try:
        async with connection.begin_nested():
            await write(rows)
    except REFUSALS as error:
        if not is_refusal(error):
            raise
        if len(rows) == 1:
            return [(rows[0], error)]
    else:
        return []
    middle = len(rows) // 2
    first = await write_what_goes(connection, rows[:middle], write)
    return first + await write_what_goes(connection, rows[middle:], write)


def _numbers(id: str) -> tuple[int, int]:
    """Return the numbers of an id; zeros for one that no column holds, which only other programs write."""
    try:
        return numbers_of(id)
    except InvalidCursor:
        return 0, 0


def _reason(error: Exception) -> str:
    cause = error.driver_exception if isinstance(error, DBAPIError) else getattr(error, "orig", None)
    fault = cause or error
    return f"{fault.__class__.__name__}: {fault}"


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _printable(text: str) -> str:
    """Return a text as ASCII, with everything else escaped."""
    return "".join(letter if letter.isascii() and letter.isprintable() else ascii(letter)[1:-1] for letter in text)
