"""The pages for people, as the build step has made them: each under a strict content security policy, and all from here."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from app.errors import NotFound
from app.routers.operation.admin import CLOSED

BUILT = Path(__file__).parents[2] / "pages"
"""Where the build step puts the pages."""

_OPERATOR_PAGE = "admin.html"
_PAGES = {
    "/": "index.html",
    "/docs": "docs.html",
    "/docs/events": "events.html",
    "/redoc": "redoc.html",
    "/admin": _OPERATOR_PAGE,
}
_DOCUMENTS = {"/docs/asyncapi.yaml": "asyncapi.yaml", "/docs/events.d.ts": "events.d.ts"}

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".ts": "text/plain; charset=utf-8",  # a browser takes the type of a .ts file for a video
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
# Redoc adds one element for its styles, empty at first, and one for those of its scroll bars.
_STYLES = {
    "redoc.html": " 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='"
}

_UNBUILT = "The pages are not built. In a clone of the project `make run` builds them; everything else works without them.\n"

_CLOSED = f"{CLOSED}.\n"

_WORDS = """\
FX Gateway

A browser shows the prices here. For programs:

  /api/v1/prices/all        newest prices
  /stream?pairs=*           prices and alerts as they come (Server-Sent Events)
  /socket.io/               the same over Socket.IO
  /api/v1/info              what else there is
  /openapi.json             the REST interface described
  /health                   whether it works
"""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the pages, as it is and compressed."""

    type: str
    plain: bytes
    compressed: bytes

    def response(self, request: Request, headers: Mapping[str, str]) -> Response:
        """The file in the form that the client takes."""
        compressed = _takes_gzip(request.headers.get("accept-encoding", ""))
        coding = {"Content-Encoding": "gzip"} if compressed else {}
        content = self.compressed if compressed else self.plain
        varying = {"Vary": "Accept, Accept-Encoding"}
        return Response(content, media_type=self.type, headers={**_SECURITY, **varying, **headers, **coding})


def read_parts(folder: Path) -> dict[str, Part]:
    """The built files by their names; none where nothing is built."""
    return {
        file.name: Part(_TYPES[file.suffix], file.read_bytes(), Path(f"{file}.gz").read_bytes())
        for file in sorted(folder.glob("*"))
        if file.suffix in _TYPES
    }


def router(folder: Path = BUILT, *, operator: bool = False) -> APIRouter:
    """The pages in this folder. They are read now: what is not there yet is not served.

    The one for operators is refused unless ``operator`` is true: without tokens it could show nothing.
    """
    routes = APIRouter(include_in_schema=False)
    parts = read_parts(folder)
    assets = parts.keys() - {*_PAGES.values(), *_DOCUMENTS.values()}
    for path, name in _PAGES.items():
        page = _closed if name == _OPERATOR_PAGE and not operator else _page(name, parts.get(name))
        routes.add_api_route(path, page, methods=["GET", "HEAD"])
    for path, name in _DOCUMENTS.items():
        routes.add_api_route(path, _document(parts.get(name)), methods=["GET", "HEAD"])

    @routes.api_route("/assets/{name}", methods=["GET", "HEAD"])
    async def asset(request: Request, name: str) -> Response:
        """A part of a page. Its name is made from its contents, so it never changes. Raises NotFound."""
        # Only a name that was there at the start: what a client writes never becomes part of a path.
        if name not in assets:
            raise NotFound("There is no such part of a page")
        return parts[name].response(request, {"Cache-Control": "public, max-age=31536000, immutable"})

    return routes


def _page(name: str, part: Part | None) -> Callable[[Request], Awaitable[Response]]:
    security = {
        "Content-Security-Policy": _POLICY.format(styles=_STYLES.get(name, "")),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }

    async def page(request: Request) -> Response:
        """The page for browsers; at ``/``, where to go from here for others."""
        if name == _PAGES["/"] and "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse(_WORDS, headers={**_SECURITY, "Vary": "Accept, Accept-Encoding"})
        return _unbuilt() if part is None else part.response(request, security)

    return page


def _document(part: Part | None) -> Callable[[Request], Awaitable[Response]]:
    async def document(request: Request) -> Response:
        """A document that pages are made from, to fetch."""
        return _unbuilt() if part is None else part.response(request, {"Cache-Control": "no-cache"})

    return document


async def _closed() -> Response:
    """Why there is nothing to see."""
    return PlainTextResponse(_CLOSED, 403, headers={**_SECURITY, "Cache-Control": "no-store"})


def _unbuilt() -> Response:
    return PlainTextResponse(_UNBUILT, 503, headers={**_SECURITY, "Cache-Control": "no-store"})


def _takes_gzip(accepted: str) -> bool:
    """Whether ``Accept-Encoding`` names gzip, and not with the weight 0 that forbids it."""
    codings = dict(coding.replace(" ", "").lower().partition(";")[::2] for coding in accepted.split(","))
    weight = codings.get("gzip", codings.get("*", "q=0"))
    return weight.rstrip("0.") != "q="
