"""Checks of texts that enter from outside, and what pydantic says of a wrong value, in words for clients and operators."""

import re
from collections.abc import Mapping
from typing import Any

_PREFIX = "Value error, "
_REFUSED = "control characters are not allowed"

PLAIN_LINES = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$"
"""The pattern of ``plain_lines`` for JSON schemas, whose texts have no surrogates anyway."""

_UNFIT = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
_UNFIT_IN_LINES = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def plain_text(text: str) -> str:
    """Return the text. Raises ValueError for control characters and surrogates, which not every database and program takes."""
    if _UNFIT.search(text):
        raise ValueError(_REFUSED)
    return text


def as_plain_lines(text: str) -> str:
    """Return the first 1000 characters of the text, with spaces for those that ``plain_lines`` refuses."""
    return _UNFIT_IN_LINES.sub(" ", text[:1000])


def plain_lines(text: str) -> str:
    """Return the text. Raises ValueError as ``plain_text`` does, but not for tabs and line ends."""
    if _UNFIT_IN_LINES.search(text):
        raise ValueError(_REFUSED)
    return text


def fault_message(fault: Mapping[str, Any]) -> str:
    """The message of one entry of ``ValidationError.errors()``, without the prefix that pydantic puts before ours."""
    return str(fault["msg"]).removeprefix(_PREFIX)
