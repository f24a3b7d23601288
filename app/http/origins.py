"""Which web pages may connect: judged once for REST, event streams and sockets alike."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit


class Origins:
    """The allowed web origins. A page of the gateway itself is always allowed; a client that is no web page has no origin."""

    def __init__(self, allowed: Iterable[str]) -> None:
        """``allowed`` are origins like ``https://example.com``; ``:*`` stands for any port, ``*`` alone for anyone."""
        self.pattern = "|".join(map(_expression, allowed)) or r"(?!)"
        self._allowed = re.compile(self.pattern)

    def allows(self, origin: str, environ: Mapping[str, Any]) -> bool:
        """True where a page of this origin may connect; ``environ`` is the request's WSGI environment."""
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
