"""Ids of log entries, stored as numbers that sort as the log does."""

import re

from app.errors import InvalidCursor

_ID = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)
_LARGEST = 2**63 - 1


def numbers_of(id: str) -> tuple[int, int]:
    """Return the milliseconds and the number of an id like ``1764000000000-0``. Raises InvalidCursor."""
    match = _ID.fullmatch(id)
    if match is None or max(numbers := (int(match[1]), int(match[2]))) > _LARGEST:
        raise InvalidCursor("Invalid cursor: the id of an event is needed, like 1764000000000-0")
    return numbers


def id_of(milliseconds: int, number: int) -> str:
    """Return the id made of these numbers."""
    return f"{milliseconds}-{number}"
