"""Cross-origin requests of browsers: https://fetch.spec.whatwg.org/#http-cors-protocol."""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.origins import Origins, header

EXPOSED = (
    "Allow", "Content-Disposition", "Date", "ETag", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After",
    "WWW-Authenticate", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
)  # fmt: skip
"""Headers of answers that pages may read, beside those that they always may."""

METHODS = ("GET", "HEAD", "POST", "DELETE")

MOST_HEADERS = 64
"""Names of headers that are granted to one request."""

_LONGEST_NAME = 128
_MAX_AGE = 7200
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


class CorsMiddleware:
    """Answers preflight requests, and lets the pages of allowed origins read answers.

    Every header that a page asks for is granted: libraries for tracing, caching and errors add their own, and the gateway trusts
    none that a page could not send anyway.
    """

    def __init__(self, app: ASGIApp, *, origins: Origins, credentials: bool = False) -> None:
        """With ``credentials``, allowed pages may send cookies and what else a browser keeps for the site."""
        self._app = app
        self._origins = origins
        self._credentials = credentials
        self._any = origins.listed.all and not credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin = header(scope, b"origin")
        if origin is not None and scope["method"] == "OPTIONS" and header(scope, b"access-control-request-method"):
            await self._preflight(origin, scope, send)
            return
        granted = self._granted(origin) if origin is not None and self._origins.allows(scope) else {}

        async def send_with_grant(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(granted)
                if granted:
                    headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED)
                if not self._any:
                    headers.add_vary_header("Origin")
            await send(message)

        await self._app(scope, receive, send_with_grant)

    def _granted(self, origin: str) -> dict[str, str]:
        """The headers that let a page of this origin read the answer; none for the gateway's own, which need none."""
        if not self._origins.listed.matches(origin):
            return {}
        allowed = {"Access-Control-Allow-Origin": "*" if self._any else origin}
        return {**allowed, "Access-Control-Allow-Credentials": "true"} if self._credentials else allowed

    async def _preflight(self, origin: str, scope: Scope, send: Send) -> None:
        allowed = self._origins.allows(scope)
        headers = Headers(
            {
                "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, "
                "Access-Control-Request-Private-Network",
                "Cache-Control": "no-store",
                **(self._grants(origin, scope) if allowed else {}),
            }
        )
        status = 204 if allowed else 403
        await send({"type": "http.response.start", "status": status, "headers": headers.raw})
        await send({"type": "http.response.body", "body": b""})

    def _grants(self, origin: str, scope: Scope) -> dict[str, str]:
        granted = self._granted(origin)
        if not granted:
            return granted
        granted |= {"Access-Control-Allow-Methods": ", ".join(METHODS), "Access-Control-Max-Age": str(_MAX_AGE)}
        names = _tokens(header(scope, b"access-control-request-headers") or "")
        if names:
            granted["Access-Control-Allow-Headers"] = ", ".join(names)
        if header(scope, b"access-control-request-private-network") == "true":
            granted["Access-Control-Allow-Private-Network"] = "true"
        return granted


def _tokens(text: str) -> Sequence[str]:
    """The names of headers in a list. A lone ``*`` would grant every header, also those that were not asked for."""
    names = (name.strip() for name in text.split(",", MOST_HEADERS)[:MOST_HEADERS])
    return [name for name in names if len(name) <= _LONGEST_NAME and name != "*" and _TOKEN.fullmatch(name)]
