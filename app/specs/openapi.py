"""The REST interface as OpenAPI, generated from the application."""

from collections.abc import Mapping
from typing import Any

from app.main import GatewayApp

HOST = "localhost:5001"
"""The server that the documents name."""

Document = dict[str, Any]


def openapi_document(app: GatewayApp) -> Document:
    """Return the REST interface as OpenAPI 3.1, with paths and schemas in alphabetical order."""
    document = app.openapi()
    components = {kind: in_order(named) for kind, named in in_order(document.get("components", {})).items()}
    return {
        "openapi": document["openapi"],
        "info": document["info"],
        "servers": [{"url": f"http://{HOST}"}],
        "paths": in_order(document["paths"]),
        "components": components,
    } | {name: value for name, value in document.items() if name not in ("openapi", "info", "paths", "components")}


def in_order(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part of a document with its members in alphabetical order."""
    return dict(sorted(named.items()))
