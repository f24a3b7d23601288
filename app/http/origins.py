"""The web origins that may connect: one rule for REST, event streams, Socket.IO and websockets."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from app.origin import DEFAULT_PORTS, AllowedOrigins, Authority, Origin
from app.quiet_log import by_client
from app.realtime.wire.forwarded import SCOPE_KEY, Forwarded

_logger = logging.getLogger(__name__)

Scope = Mapping[str, Any]


class Origins:
    """The origins of the settings, and the gateway's own. Clients other than browsers send no origin, and may connect."""

    def __init__(self, allowed: Iterable[str]) -> None:
        """``allowed`` are the entries of ``AllowedOrigins``. Raises ValueError."""
        self.listed = AllowedOrigins(allowed)

    def allows(self, scope: Scope) -> bool:
        """Whether the page that sends a request or opens a websocket may connect. A refusal is logged."""
        origin = header(scope, b"origin")
        if origin is None or self.listed.matches(origin) or is_own(origin, scope):
            return True
        client = scope.get("client")
        _logger.warning(
            "the origin %s is refused at %s; to allow its pages, add it to CORS_ALLOWED_ORIGINS",
            origin[:200],
            (header(scope, b"host") or "a request without a host")[:100],
            extra=by_client(client[0] if client else None, f"origin {origin[:200]}"),
        )
        return False


def is_own(origin: str, scope: Scope) -> bool:
    """Whether the origin is that of the gateway's own pages, as this client reaches them.

    The scheme is not compared, because a proxy that ends TLS need not say so. Where it leaves the port out, any will do.
    """
    if header(scope, b"sec-fetch-site") == "same-origin":  # the browser's own word, which a page cannot set
        return True
    page = Origin.parse(origin)
    host = Authority.parse(header(scope, b"host") or "")
    if page is None or host is None or page.scheme not in DEFAULT_PORTS or page.host != host.host:
        return False
    if page.port == (host.port or DEFAULT_PORTS[page.scheme]):
        return True
    forwarded: Forwarded | None = scope.get(SCOPE_KEY)
    if forwarded is None:
        return False
    if forwarded.port is not None:
        return page.port == forwarded.port
    return host.port is None and forwarded.host is None


def header(scope: Scope, name: bytes) -> str | None:
    """The value of a header, several values separated by commas, None if there is none."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return ",".join(values) if values else None
