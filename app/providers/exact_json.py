"""JSON from outside, with numbers exactly as written."""

import json
from collections.abc import Mapping
from decimal import Decimal, DecimalException

_MOST_DIGITS = 24


def read_object(text: str | bytes) -> dict[str, object]:
    """Return the JSON object in a text, its numbers exact. Raises ValueError for anything else."""
    try:
        value = json.loads(text, parse_float=Decimal)
    except (RecursionError, DecimalException):
        raise ValueError("JSON nested too deep, or a number out of bounds") from None
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def read_price(value: object) -> Decimal:
    """Return a positive price, given as a number or as the text of one. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise ValueError("no price")
    try:
        price = Decimal(value)
    except DecimalException:
        raise ValueError("no price") from None
    if not price.is_finite() or price <= 0 or len(price.as_tuple().digits) > _MOST_DIGITS or abs(price.adjusted()) > _MOST_DIGITS:
        raise ValueError("no price")
    return price


def read_objects(value: object) -> list[Mapping[str, object]]:
    """Return a list of objects. Raises ValueError for anything else."""
    if not isinstance(value, list) or not all(isinstance(element, dict) for element in value):
        raise ValueError("no list of objects")
    return value
