"""What pydantic says of a wrong value, in words for clients and operators."""

from collections.abc import Mapping
from typing import Any

_PREFIX = "Value error, "


def fault_message(fault: Mapping[str, Any]) -> str:
    """The message of one entry of ``ValidationError.errors()``, without the prefix that pydantic puts before ours."""
    return str(fault["msg"]).removeprefix(_PREFIX)
