"""Constraints on acceptable requests that JSON Schema cannot express, for requests generated from the description."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import schemathesis

from tests.contract.furnished import PAIRS

_PAIR = re.compile("[A-Za-z]{3}[_/]?[A-Za-z]{3}")
_FIRST, _LAST = datetime(1900, 1, 2, tzinfo=UTC), datetime(2199, 12, 30, tzinfo=UTC)
_PAST = "2026-01-30T00:00:00Z"


def agree(case: "schemathesis.Case[Any]") -> None:
    """Turn a request that matches its description into an acceptable one.

    A pair becomes one that is tracked, a time one that the calendar has, and a cursor one of numbers that fit 64 bits; and
    members that have to fit each other do.
    """
    if case.headers is not None and "Last-Event-ID" in case.headers:
        case.headers["Last-Event-ID"] = "0-0"  # headers are generated without their pattern
    for members in (case.path_parameters, case.query, *_objects(case.body)):
        for name, value in members.items():
            if name in _REPAIRS:
                members[name] = _in_texts(_REPAIRS[name], value)
        if "start_time" in members and "end_time" in members:
            del members["end_time"]
        if _plain(members.get("pair1")) == _plain(members.get("pair2")) is not None:
            members["pair1"], members["pair2"] = PAIRS[:2]
        if "bid" in members and "ask" in members:
            members["bid"], members["ask"] = "1.1", "1.2"
            members.pop("mid", None)
        if "level" in members:
            members["level"] = _at_three_decimals(members["level"])


def _objects(body: object) -> Iterator[dict[str, Any]]:
    """Every object in a body."""
    if isinstance(body, dict):
        yield body
        for inner in body.values():
            yield from _objects(inner)
    elif isinstance(body, list):
        for inner in body:
            yield from _objects(inner)


def _in_texts(repair: Callable[[str], str], value: object) -> object:
    if isinstance(value, list):
        return [_in_texts(repair, item) for item in value]
    return repair(value) if isinstance(value, str) else value


def _tracked(text: str) -> str:
    def spelled_alike(match: re.Match[str]) -> str:
        pair = match[0] if _plain(match[0]) in map(_plain, PAIRS) else PAIRS[sum(map(ord, match[0])) % len(PAIRS)]
        return pair.lower() if match[0].islower() else pair

    return _PAIR.sub(spelled_alike, text)


def _plain(text: object) -> str | None:
    return text.upper().replace("/", "").replace("_", "") if isinstance(text, str) else None


def _of_the_calendar(text: str) -> str:
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        return text if _FIRST.timestamp() <= float(text) <= _LAST.timestamp() else "0"
    try:
        time = datetime.fromisoformat(text.upper())
    except ValueError:
        return _PAST
    return text if _FIRST <= (time if time.tzinfo else time.replace(tzinfo=UTC)) <= _LAST else _PAST


def _before_now(text: str) -> str:
    return _PAST


def _of_64_bits(text: str) -> str:
    return "-".join(str(int(number) % 2**63) for number in text.split("-"))


def _at_three_decimals(level: float | str) -> float | str:
    """A level that every pair has the decimals for, in the bounds of all levels also when it is rounded."""
    rounded = min(max(round(Decimal(str(level)), 3), Decimal("0.001")), Decimal(999_999_999))
    return str(rounded) if isinstance(level, str) else float(rounded)


_REPAIRS: Mapping[str, Callable[[str], str]] = {
    **dict.fromkeys(("instrument", "pair", "pairs", "pair1", "pair2"), _tracked),
    **dict.fromkeys(("start_time", "end_time", "timestamp"), _of_the_calendar),
    **dict.fromkeys(("since", "before"), _of_64_bits),
    "time": _before_now,
}
