"""Query parameters that several endpoints share. Errors begin with the name of the parameter."""

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query
from pydantic import WithJsonSchema

from app.errors import InvalidPair, InvalidRequest
from app.market.bars.candle import Granularity
from app.market.clock import RFC3339_DATE, RFC3339_OFFSET, RFC3339_TIME, parse_time
from app.market.pair import CurrencyPair, TrackedPairs
from app.realtime.contract.event import resumed_cursor
from app.realtime.contract.fields import SPELLED_PAIR

_NUMBER = r"-?\d{1,12}(\.\d{1,9})?"
_RFC3339 = f"{RFC3339_DATE}[Tt ]{RFC3339_TIME}({RFC3339_OFFSET})|{RFC3339_DATE}"


def several(one: str) -> str:
    """The pattern of comma-separated values that each match ``one``."""
    return f" *({one}) *(, *({one}) *)*"


def one_of(names: Iterable[str]) -> str:
    """The pattern of any of the names."""
    return "|".join(sorted(names))


def described(pattern: str, *examples: str) -> WithJsonSchema:
    """Put the pattern of a text into OpenAPI only. The text is checked when it is parsed, with a better message."""
    schema: dict[str, Any] = {"type": "string", "pattern": f"^({pattern})$"}
    return WithJsonSchema(schema | {"examples": list(examples)} if examples else schema)


SpelledPairs = Annotated[str, described(several(SPELLED_PAIR))]
MomentText = Annotated[str, described(f"{_NUMBER}|{_RFC3339}")]
CursorText = Annotated[str, described(r"\d{1,20}-\d{1,20}")]

Instrument = Annotated[
    # A slash would begin another part of the path.
    Annotated[str, described(SPELLED_PAIR.replace("[_/]", "_"), "EUR_USD", "EURUSD")],
    Path(description="A pair in any accepted spelling without a slash"),
]
PairsOrAll = Annotated[
    Annotated[str, described(rf"\*|{several(SPELLED_PAIR)}", "EUR_USD,GBP_USD", "*")],
    Query(description="Pairs, comma separated, or `*` for all"),
]
StartTime = Annotated[
    MomentText | None,
    Query(
        description="Start, inclusive: RFC 3339 with an offset, a date, which is its midnight in UTC, or seconds since 1970",
        examples=["2026-01-30T00:00:00Z", "2026-01-30", "1769731200"],
    ),
]
EndTime = Annotated[
    MomentText | None,
    Query(
        description="End, exclusive: RFC 3339 with an offset, a date, which is its midnight in UTC, or seconds since 1970",
        examples=["2026-01-31T00:00:00Z", "2026-01-31", "1769817600"],
    ),
]
EndedBy = Annotated[
    MomentText | None,
    Query(
        description="Use only bars that had ended by this time: RFC 3339 with an offset, a date, which is its midnight in UTC, "
        "or seconds since 1970",
        examples=["2026-01-31T00:00:00Z", "2026-01-31", "1769817600"],
    ),
]
BarLength = Annotated[Granularity | None, Query(description="The length of the bars; H1 if only another parameter is given")]


async def resumed_from(
    since: Annotated[
        CursorText | None,
        Query(
            description="Begin after this event. `last_event_id` and `lastEventId` are other names for it; of several cursors "
            "the newest counts",
            examples=["1764000000000-0"],
        ),
    ] = None,
    last_event_id: Annotated[str | None, Query(include_in_schema=False)] = None,
    last_event_id_of_polyfills: Annotated[str | None, Query(alias="lastEventId", include_in_schema=False)] = None,
    header: Annotated[
        Annotated[str, described(r"(\d{1,20}-\d{1,20})?")] | None,
        Header(
            alias="Last-Event-ID",
            description="Begin after this event; sent by a browser that reconnects, and takes precedence over the query",
        ),
    ] = None,
) -> str | None:
    """The cursor that a request resumes from, None for a request without one. Raises InvalidCursor.

    The header wins: a browser writes it when it reconnects, with the address that the page gave it at the start.
    """
    return header or resumed_cursor(since, last_event_id, last_event_id_of_polyfills)


ResumedFrom = Annotated[str | None, Depends(resumed_from)]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = re.compile(_NUMBER, re.ASCII)
_TIME = re.compile(_RFC3339, re.ASCII)
_DATE = re.compile(RFC3339_DATE, re.ASCII)
_FIRST_YEAR, _LAST_YEAR = 1900, 2199


def moment(name: str, text: str | None) -> datetime | None:
    """Parse the parameter ``name`` to a time in UTC, None if it is missing. Raises InvalidRequest."""
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
    if _TIME.fullmatch(text) is None:  # parse_time accepts more than RFC 3339, such as weeks
        raise ValueError("not RFC 3339")
    return parse_time(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text.upper())


def interval(start_time: str | None, end_time: str | None) -> tuple[datetime | None, datetime | None]:
    """Parse ``start_time`` and ``end_time``. Raises InvalidRequest, also for an empty or reversed interval."""
    start, end = moment("start_time", start_time), moment("end_time", end_time)
    if start is not None and end is not None and end <= start:
        raise InvalidRequest("end_time: has to be later than start_time")
    return start, end


def listed(name: str, texts: Sequence[str] | None, allowed: Collection[str]) -> list[str] | None:
    """The values of a parameter, repeated or comma separated. Raises InvalidRequest for any that is not ``allowed``."""
    if texts is None:
        return None
    values = [value.strip(" ") for text in texts for value in text.split(",")]
    for value in values:
        if value not in allowed:
            raise InvalidRequest(f"{name}: {value[:40]!r} is not one of {', '.join(sorted(allowed))}")
    return values


def listed_pairs(texts: Sequence[str] | None, tracked: TrackedPairs) -> list[str] | None:
    """The names of the pairs of a parameter like that of ``listed``. Raises InvalidPair."""
    if texts is None:
        return None
    return [tracked.find(value.strip(" ")).name for text in texts for value in text.split(",")]


def pairs_or_all(text: str, tracked: TrackedPairs) -> frozenset[str]:
    """The names of the pairs of a ``PairsOrAll``. Raises InvalidPair."""
    return frozenset(tracked.names if text == "*" else (tracked.find(name.strip(" ")).name for name in text.split(",")))


def two_pairs(pair1: str, pair2: str, tracked: TrackedPairs) -> tuple[CurrencyPair, CurrencyPair]:
    """Two tracked pairs. Raises InvalidPair, also if they are the same."""
    first, second = tracked.find(pair1), tracked.find(pair2)
    if first == second:
        raise InvalidPair("pair1 and pair2 are the same pair")
    return first, second
