"""The check that a request has only the query parameters that its endpoint declares."""

from collections.abc import Callable
from functools import cache
from inspect import isroutine
from typing import Any, get_type_hints

from fastapi import params
from starlette.requests import HTTPConnection

from app.errors import UnknownParameter


async def known_parameters(request: HTTPConnection) -> None:
    """A dependency of every endpoint. Raises UnknownParameter for a query parameter that the endpoint does not declare.

    A misspelt parameter that is ignored would answer another question than the one that was asked.
    """
    check_parameters(request)


def check_parameters(request: HTTPConnection) -> None:
    """Raise UnknownParameter if the query has a parameter that the endpoint of the request does not declare."""
    if not request.scope["query_string"]:
        return
    known = query_parameters(request.scope["endpoint"])
    for name in request.query_params:
        if name not in known:
            listed = f"the parameters are {', '.join(sorted(known))}" if known else "this endpoint takes none"
            raise UnknownParameter(f"Unknown parameter: {name[:40]}; {listed}")


@cache
def query_parameters(endpoint: Callable[..., Any]) -> frozenset[str]:
    """Return the names of the query parameters that an endpoint declares with ``Query``, those of its dependencies included."""
    names: set[str] = set()
    for name, hint in get_type_hints(endpoint, include_extras=True).items():
        for declared in getattr(hint, "__metadata__", ()):
            if isinstance(declared, params.Query):
                names.add(declared.alias or name)
            elif isinstance(declared, params.Depends) and isroutine(declared.dependency):
                names |= query_parameters(declared.dependency)
    return frozenset(names)
