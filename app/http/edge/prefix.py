"""The path prefix under which a proxy serves the gateway, whether the proxy takes it off or passes it on."""

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ConfigurationError

FIRST_SEGMENTS = frozenset(
    ("admin", "api", "assets", "docs", "health", "metrics", "openapi.json", "redoc", "socket.io", "stream", "ws")
)
"""What the gateway's own paths begin with."""


def checked_prefix(root_path: str) -> str:
    """Return the prefix of the settings, empty if there is none.

    Raises ConfigurationError for one that is also a path of the gateway, of which nothing could tell whether it was taken off.
    """
    if root_path and _is_own(root_path):
        raise ConfigurationError(f"ROOT_PATH: {root_path} is a path of the gateway itself")
    return root_path


class PrefixMiddleware:
    """Gives every request the full path and the prefix as its ``root_path``, from which endpoints derive the URLs they name.

    The prefix is ``root_path``, or else what the server has put into the scope, from a trusted proxy's header. Redirects that the
    router makes become relative: they stay on the host that the client used.
    """

    def __init__(self, app: ASGIApp, *, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        prefix: str = self._root_path or scope.get("root_path", "")
        if prefix:
            path: str = scope["path"]
            # A path that begins with such a prefix may have lost it. The header says that it has.
            taken_off = not self._root_path and _is_own(prefix)
            if path == prefix and not taken_off and scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
                # The page's own URLs are relative, so that it must not be shown at an address without the slash.
                query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
                headers = {"Location": f"{prefix.rpartition('/')[2]}/{query}"}
                await Response(status_code=307, headers=headers)(scope, receive, send)
                return
            if taken_off or not path.startswith(f"{prefix}/"):
                scope["path"] = prefix + path
                scope["raw_path"] = prefix.encode("ascii") + scope.get("raw_path", path.encode())
            scope["root_path"] = prefix

        async def send_relative(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 307:
                message["headers"] = [
                    (name, _relative(value) if name == b"location" else value) for name, value in message["headers"]
                ]
            await send(message)

        await self._app(scope, receive, send_relative)


def _is_own(prefix: str) -> bool:
    return prefix == "/api/v1" or prefix[1:] in FIRST_SEGMENTS


def _relative(location: bytes) -> bytes:
    """A URL without scheme and host."""
    scheme, mark, rest = location.partition(b"://")
    if not mark or b"/" in scheme:
        return location
    _, slash, path = rest.partition(b"/")
    return b"/" + path.lstrip(b"/") if slash else b"/"
