"""Parameters that several endpoints take, read from the text of a query. Whatever is wrong with one is told with its name."""

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

from fastapi import Path, Query
from pydantic import WithJsonSchema

from app.errors import InvalidPair, InvalidRequest
from app.market.clock import RFC3339_DATE, RFC3339_OFFSET, RFC3339_TIME, parse_time
from app.market.pair import CurrencyPair, TrackedPairs
from app.realtime.contract.messages import SPELLED_PAIR

_NUMBER = r"-?\d{1,12}(\.\d{1,9})?"
_RFC3339 = f"{RFC3339_DATE}[Tt ]{RFC3339_TIME}({RFC3339_OFFSET})"


def several(one: str) -> str:
    """The pattern of values that each fit ``one``, comma separated."""
    return f" *({one}) *(, *({one}) *)*"


def one_of(names: Iterable[str]) -> str:
    """The pattern of any of the names."""
    return "|".join(sorted(names))


def described(pattern: str) -> WithJsonSchema:
    """What a text is, for whoever reads the description. It is checked where the text is read, and told in words there."""
    return WithJsonSchema({"type": "string", "pattern": f"^({pattern})$"})


SpelledPairs = Annotated[str, described(several(SPELLED_PAIR))]
SpelledPairsOrAll = Annotated[str, described(rf"\*|{several(SPELLED_PAIR)}")]
MomentText = Annotated[str, described(f"{_NUMBER}|{_RFC3339}")]
CursorText = Annotated[str, described(r"\d{1,20}-\d{1,20}")]

Instrument = Annotated[
    # A slash would begin another part of the path.
    Annotated[str, described(SPELLED_PAIR.replace("[_/]", "_"))],
    Path(description="A pair in any accepted spelling, but without a slash", examples=["EUR_USD", "EURUSD"]),
]
StartTime = Annotated[
    MomentText | None,
    Query(
        description="From this moment on, itself included: RFC 3339 with an offset, or seconds since 1970",
        examples=["2026-01-30T00:00:00Z", "1769731200"],
    ),
]
EndTime = Annotated[
    MomentText | None,
    Query(
        description="Up to this moment, itself not included: RFC 3339 with an offset, or seconds since 1970",
        examples=["2026-01-31T00:00:00Z", "1769817600"],
    ),
]
EndedBy = Annotated[
    MomentText | None,
    Query(
        description="Of the bars that had ended by this moment: RFC 3339 with an offset, or seconds since 1970",
        examples=["2026-01-31T00:00:00Z", "1769817600"],
    ),
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = re.compile(_NUMBER, re.ASCII)
_TIME = re.compile(_RFC3339, re.ASCII)
_FIRST_YEAR, _LAST_YEAR = 1900, 2199


def moment(name: str, text: str | None) -> datetime | None:
    """The time in UTC that the parameter ``name`` says, None where it is not given. Raises InvalidRequest."""
    if text is None:
        return None
    try:
        time = _moment(text)
    except (ValueError, OverflowError):
        raise InvalidRequest(f"{name}: RFC 3339 with an offset is needed (+ is written as %2B), or seconds since 1970") from None
    if not _FIRST_YEAR <= time.year <= _LAST_YEAR:
        raise InvalidRequest(f"{name}: a time from {_FIRST_YEAR} to {_LAST_YEAR} is needed")
    return time


def _moment(text: str) -> datetime:
    if _SECONDS.fullmatch(text):
        return _EPOCH + timedelta(microseconds=int(Decimal(text) * 1_000_000))
    if _TIME.fullmatch(text) is None:  # the library reads more than RFC 3339, such as weeks
        raise ValueError("not RFC 3339")
    return parse_time(text.upper())


def stretch(start_time: str | None, end_time: str | None) -> tuple[datetime | None, datetime | None]:
    """The times from ``start_time`` on and before ``end_time``. Raises InvalidRequest, also where that is no time at all."""
    start, end = moment("start_time", start_time), moment("end_time", end_time)
    if start is not None and end is not None and end <= start:
        raise InvalidRequest("end_time: has to be later than start_time")
    return start, end


def listed(name: str, texts: Sequence[str] | None, allowed: Collection[str]) -> list[str] | None:
    """The values of a parameter that is repeated or comma separated, or both. Raises InvalidRequest for any but ``allowed``."""
    if texts is None:
        return None
    values = [value.strip(" ") for text in texts for value in text.split(",")]
    for value in values:
        if value not in allowed:
            raise InvalidRequest(f"{name}: {value[:40]!r} is none of {', '.join(sorted(allowed))}")
    return values


def listed_pairs(texts: Sequence[str] | None, tracked: TrackedPairs) -> list[str] | None:
    """The names of the pairs of such a parameter. Raises InvalidPair."""
    if texts is None:
        return None
    return [tracked.find(value.strip(" ")).name for text in texts for value in text.split(",")]


def two_pairs(pair1: str, pair2: str, tracked: TrackedPairs) -> tuple[CurrencyPair, CurrencyPair]:
    """Two tracked pairs that are not the same. Raises InvalidPair."""
    first, second = tracked.find(pair1), tracked.find(pair2)
    if first == second:
        raise InvalidPair("pair1 and pair2 are the same pair")
    return first, second
