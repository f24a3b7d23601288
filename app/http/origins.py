"""The web origins that may connect: one rule for REST, event streams and Socket.IO."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit


class Origins:
    """The allowed web origins. Pages of the gateway itself are always allowed. Clients other than browsers send no origin."""

    def __init__(self, allowed: Iterable[str]) -> None:
        """``allowed`` are origins like ``https://example.com``; ``:*`` means any port, ``*`` alone any origin."""
        self.pattern = "|".join(map(_expression, allowed)) or r"(?!)"
        self._allowed = re.compile(self.pattern)

    def allows(self, origin: str, environ: Mapping[str, Any]) -> bool:
        """Whether a page of this origin may connect. ``environ`` is the WSGI environment of its request."""
        return self._allowed.fullmatch(origin) is not None or _is_of(environ.get("HTTP_HOST"), origin)


def _is_of(host: object, origin: str) -> bool:
    try:
        return bool(host) and urlsplit(origin).netloc == host
    except ValueError:
        return False


def _expression(allowed: str) -> str:
    if allowed == "*":
        return ".*"
    if allowed.endswith(":*"):
        return re.escape(allowed.removesuffix(":*")) + r"(:\d{1,5})?"
    return re.escape(allowed)
