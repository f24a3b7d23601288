"""Tables of plain rows, and their forms as text: CSV and newline-delimited JSON."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import orjson

Row = Sequence[Any]


class Kind(StrEnum):
    """What a column holds. Every kind may be None.

    ``TIME``: RFC 3339 text, UTC. ``NUMBER``: a float, or the text of a decimal, whose digits the text forms keep. ``INTEGER``: an
    int. ``FLAG``: a bool, or 0 or 1. ``TEXT``: a str. ``JSON``: the bytes of a JSON value, which other forms hold as text.
    """

    TIME = "time"
    NUMBER = "number"
    INTEGER = "integer"
    FLAG = "flag"
    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    kind: Kind


class Encoder(Protocol):
    """Encodes a table piece by piece."""

    def begin(self) -> bytes:
        """Return what stands before the rows."""

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return the next rows."""

    def end(self) -> bytes:
        """Return what stands after the rows."""


class CsvEncoder:
    """RFC 4180 with a header line and newlines. Flags are 1 and 0; None is an empty field."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._flags = [index for index, column in enumerate(columns) if column.kind is Kind.FLAG]
        self._json = [index for index, column in enumerate(columns) if column.kind is Kind.JSON]

    def begin(self) -> bytes:
        return _csv([[column.name for column in self._columns]])

    def rows(self, rows: Sequence[Row]) -> bytes:
        return _csv([self._fields(row) for row in rows] if self._flags or self._json else rows)

    def end(self) -> bytes:
        return b""

    def _fields(self, row: Row) -> Row:
        fields = list(row)
        for index in self._flags:
            fields[index] = None if fields[index] is None else int(fields[index])
        for index in self._json:
            fields[index] = None if fields[index] is None else fields[index].decode()
        return fields


def _csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


class NdjsonEncoder:
    """One JSON object on each line, with numbers as numbers."""

    def __init__(self, columns: Sequence[Column]) -> None:
        members = [(b"%s:" % orjson.dumps(column.name), _JSON_OF[column.kind]) for column in columns]
        self._members: list[tuple[bytes, Callable[[Any], bytes]]] = members

    def begin(self) -> bytes:
        return b""

    def rows(self, rows: Sequence[Row]) -> bytes:
        return b"".join([self._line(row) for row in rows])

    def end(self) -> bytes:
        return b""

    def _line(self, row: Row) -> bytes:
        pairs = zip(self._members, row, strict=True)
        members = [name + (b"null" if value is None else encoded(value)) for (name, encoded), value in pairs]
        return b"{%s}\n" % b",".join(members)


def _number(value: float | str) -> bytes:
    return value.encode() if isinstance(value, str) else orjson.dumps(value)


def _one_line(value: bytes) -> bytes:
    """Return JSON without line breaks, which may stand between its members but not inside of its texts."""
    return value.replace(b"\r", b" ").replace(b"\n", b" ")


_JSON_OF: dict[Kind, Callable[[Any], bytes]] = {
    Kind.TIME: orjson.dumps,
    Kind.NUMBER: _number,
    Kind.INTEGER: orjson.dumps,
    Kind.FLAG: lambda value: b"true" if value else b"false",
    Kind.TEXT: orjson.dumps,
    Kind.JSON: _one_line,
}
