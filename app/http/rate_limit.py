"""The rate limit of the REST interface and its headers."""

import time
from collections import OrderedDict
from collections.abc import Callable
from math import ceil

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import TooManyRequests
from app.http.problems import problem_response
from app.realtime.transports.limit import RequestLimit

_PREFIXES = ("/api/", "/admin/")


class RateLimitMiddleware:
    """Limit each client address to ``requests`` requests in ``window`` seconds under ``/api/`` and ``/admin/``; 0 sets no limit.

    The headers are those of draft-ietf-httpapi-ratelimit-headers and the older ``X-RateLimit`` ones, whose ``Reset`` is
    the Unix time at which the window ends.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        requests: int,
        window: float,
        most_clients: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Beyond ``most_clients`` addresses, the one that has been idle the longest is forgotten."""
        self._app = app
        self._requests = requests
        self._window = window
        self._most_clients = most_clients
        self._clock = clock
        self._limits: OrderedDict[str, RequestLimit] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._requests or scope["type"] != "http" or not _route_path(scope).startswith(_PREFIXES):
            await self._app(scope, receive, send)
            return
        limit = self._limit_of(scope["client"][0] if scope.get("client") else "")
        wait = limit.take()

        async def send_with_limit(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_headers(limit))
            await send(message)

        if wait:
            error = TooManyRequests(f"Rate limit exceeded: {limit.requests} requests in {limit.window:g} s", wait)
            await problem_response(error, Request(scope))(scope, receive, send_with_limit)
        else:
            await self._app(scope, receive, send_with_limit)

    def _limit_of(self, address: str) -> RequestLimit:
        limit = self._limits.get(address)
        if limit is None:
            limit = self._limits[address] = RequestLimit(self._requests, self._window, self._clock)
            if len(self._limits) > self._most_clients:
                self._limits.popitem(last=False)
        else:
            self._limits.move_to_end(address)
        return limit


def _route_path(scope: Scope) -> str:
    """The path below the mount point of the application."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _headers(limit: RequestLimit) -> dict[str, str]:
    resets_in = ceil(limit.resets_in)
    return {
        "RateLimit-Policy": f'"default";q={limit.requests};w={ceil(limit.window)}',
        "RateLimit": f'"default";r={limit.remaining};t={resets_in}',
        "X-RateLimit-Limit": str(limit.requests),
        "X-RateLimit-Remaining": str(limit.remaining),
        "X-RateLimit-Reset": str(ceil(time.time()) + resets_in),
    }
