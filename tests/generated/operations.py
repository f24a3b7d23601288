"""The operations of the OpenAPI document, for programs that call all of them."""

import json
from typing import Any

from tests.generated.tools import OPENAPI, PROGRAMS

UNNAMED = "UNNAMED_OPERATIONS"
"""The variable that gives a program what ``unnamed`` says."""

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def operations() -> dict[tuple[str, str], str]:
    """The id of every operation by its method and path."""
    return {(method, path): operation["operationId"] for method, path, operation in _described()}


def unnamed(program: str) -> str:
    """The operations that only read and that a program does not name, as JSON. It calls all of them alike.

    So a new endpoint is called by every generated client without a change to their programs. Parameters that an operation
    needs are given by their examples.
    """
    text = (PROGRAMS / program).read_text(encoding="utf-8")
    return json.dumps(
        [
            {
                "id": operation["operationId"],
                "name": camel(operation["operationId"]),
                "tag": operation["tags"][0],
                "path": path,
                "given": _given(operation),
            }
            for method, path, operation in _described()
            if method == "get" and not any(mark in text for mark in _marks(path, operation["operationId"]))
        ]
    )


def _marks(path: str, id: str) -> tuple[str, str, str]:
    """What names an operation in Python, and in TypeScript with the one generator and with the other."""
    return f"{id}.", f'"{path}"', f"gateway.{camel(id)}("


def camel(id: str) -> str:
    """The id of an operation in the spelling of JavaScript."""
    first, *others = id.split("_")
    return first + "".join(map(str.capitalize, others))


def _described() -> list[tuple[str, str, dict[str, Any]]]:
    paths = json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"]
    return [(method, path, paths[path][method]) for path in paths for method in _METHODS if method in paths[path]]


def _given(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """An example of each parameter that an operation needs, by where it stands."""
    given: dict[str, dict[str, Any]] = {"path": {}, "query": {}}
    for parameter in operation.get("parameters", []):
        if parameter["required"]:
            given[parameter["in"]][parameter["name"]] = parameter["schema"]["examples"][0]
    return given
