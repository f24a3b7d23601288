"""The built pages for browsers, each under a strict content security policy and without anything from other hosts."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from app.errors import NotFound
from app.routers.operation.admin import CLOSED

BUILT = Path(__file__).parents[2] / "pages"
"""The folder of the built pages."""

_OPERATOR_PAGE = "admin.html"
PAGES = {
    "/": "index.html",
    "/docs": "docs.html",
    "/docs/events": "events.html",
    "/redoc": "redoc.html",
    "/admin": _OPERATOR_PAGE,
}
"""The file of each page, by its path."""

DOCUMENTS = {"/docs/asyncapi.yaml": "asyncapi.yaml", "/docs/events.d.ts": "events.d.ts"}

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".ts": "text/plain; charset=utf-8",  # by its own type, a browser takes a .ts file for a video
    ".yaml": "application/yaml; charset=utf-8",
}

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{styles}; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# Redoc adds two style elements: an empty one that it fills later, and one for its scroll bars.
_STYLES = {
    "redoc.html": " 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='"
}

_UNBUILT = "The pages are not built. In a clone of the project, `make pages` builds them. Everything else works without them.\n"

_CLOSED = f"{CLOSED}.\n"

_GREETING = """\
FX Gateway

Open this page in a browser for the dashboard. For programs:

  {prefix}/api/v1/prices/all        newest prices
  {prefix}/stream?pairs=*           live prices and alerts (Server-Sent Events)
  {prefix}/socket.io/               the same over Socket.IO
  {prefix}/api/v1/info              version, pairs, limits and all endpoints
  {prefix}/openapi.json             description of the REST interface
  {prefix}/health                   state of the gateway
"""


@dataclass(frozen=True, slots=True)
class Part:
    """A built file, plain and compressed."""

    type: str
    plain: bytes
    compressed: bytes

    def response(self, request: Request, headers: Mapping[str, str]) -> Response:
        """The file, compressed if the client accepts it."""
        compressed = _takes_gzip(request.headers.get("accept-encoding", ""))
        coding = {"Content-Encoding": "gzip"} if compressed else {}
        content = self.compressed if compressed else self.plain
        varying = {"Vary": "Accept, Accept-Encoding"}
        return Response(content, media_type=self.type, headers={**_SECURITY, **varying, **headers, **coding})


def read_parts(folder: Path) -> dict[str, Part]:
    """Read the built files, by name; none if nothing is built."""
    return {
        file.name: Part(_TYPES[file.suffix], file.read_bytes(), Path(f"{file}.gz").read_bytes())
        for file in sorted(folder.glob("*"))
        if file.suffix in _TYPES
    }


def router(folder: Path = BUILT, *, operator: bool = False) -> APIRouter:
    """Serve the pages of a folder. The files are read now; later ones are not served.

    Without ``operator`` the operator page is refused: without tokens it could show nothing.
    """
    routes = APIRouter(include_in_schema=False)
    parts = read_parts(folder)
    assets = parts.keys() - {*PAGES.values(), *DOCUMENTS.values()}
    for path, name in PAGES.items():
        page = _closed if name == _OPERATOR_PAGE and not operator else _page(name, parts.get(name))
        routes.add_api_route(path, page, methods=["GET", "HEAD"])
    for path, name in DOCUMENTS.items():
        routes.add_api_route(path, _document(parts.get(name)), methods=["GET", "HEAD"])

    @routes.api_route("/assets/{name}", methods=["GET", "HEAD"])
    async def asset(request: Request, name: str) -> Response:
        """A part of a page. Its name contains a hash of its contents, so that it never changes. Raises NotFound."""
        # Only names read at the start are served: the text of a client never becomes part of a path.
        if name not in assets:
            raise NotFound("There is no such asset")
        return parts[name].response(request, {"Cache-Control": "public, max-age=31536000, immutable"})

    return routes


def _page(name: str, part: Part | None) -> Callable[[Request], Awaitable[Response]]:
    security = {
        "Content-Security-Policy": _POLICY.format(styles=_STYLES.get(name, "")),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }

    async def page(request: Request) -> Response:
        """The page; at ``/``, a plain list of addresses for clients other than browsers."""
        if name == PAGES["/"] and "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse(
                _GREETING.format(prefix=request.scope.get("root_path", "")),
                headers={**_SECURITY, "Vary": "Accept, Accept-Encoding"},
            )
        return _unbuilt() if part is None else part.response(request, security)

    return page


def _document(part: Part | None) -> Callable[[Request], Awaitable[Response]]:
    async def document(request: Request) -> Response:
        """A document for programs."""
        return _unbuilt() if part is None else part.response(request, {"Cache-Control": "no-cache"})

    return document


async def _closed() -> Response:
    """The reason why the page is closed."""
    return PlainTextResponse(_CLOSED, 403, headers={**_SECURITY, "Cache-Control": "no-store"})


def _unbuilt() -> Response:
    return PlainTextResponse(_UNBUILT, 503, headers={**_SECURITY, "Cache-Control": "no-store"})


def _takes_gzip(accepted: str) -> bool:
    """Whether ``Accept-Encoding`` allows gzip. A weight of 0 forbids it."""
    codings = dict(coding.replace(" ", "").lower().partition(";")[::2] for coding in accepted.split(","))
    weight = codings.get("gzip", codings.get("*", "q=0"))
    return weight.rstrip("0.") != "q="
