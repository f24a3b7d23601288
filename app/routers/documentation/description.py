"""The parts of the OpenAPI document that FastAPI cannot derive: groups, shared schemas, paths of example problems."""

import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from app.http.problems import MEDIA_TYPE, ProblemDetails


def register(app: FastAPI, groups: Mapping[str, str], schemas: Mapping[str, Any]) -> None:
    """Complete the OpenAPI document of the application.

    ``groups`` are the descriptions of the tags, and ``schemas`` those of bodies that endpoints read themselves, by name.
    """
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        if "tags" in document:  # FastAPI caches the document, so that it is complete already
            return document
        components = document.setdefault("components", {}).setdefault("schemas", {})
        for schema in components.values():
            _plain_maps(schema)
        for name, schema in {ProblemDetails.__name__: ProblemDetails.model_json_schema(), **schemas}.items():
            components.setdefault(name, schema)
        for path, operations in document["paths"].items():
            for operation in operations.values():
                _place_problems(path, operation)
                for parameter in operation.get("parameters", []):
                    if parameter["in"] == "header":
                        _without_null(parameter["schema"])
        # No token is needed, except where an operation says otherwise.
        document["security"] = []
        document["tags"] = [{"name": name, "description": text} for name, text in groups.items()]
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _plain_maps(part: object) -> None:
    """Rewrite maps with a pattern for their names as ``additionalProperties`` with ``propertyNames``.

    The meaning is the same, but few client generators give ``patternProperties`` a type.
    """
    if isinstance(part, dict):
        if len(part.get("patternProperties", {})) == 1:
            [(pattern, values)] = part.pop("patternProperties").items()
            part |= {"propertyNames": {"pattern": pattern}, "additionalProperties": values}
        for inner in part.values():
            _plain_maps(inner)
    elif isinstance(part, list):
        for inner in part:
            _plain_maps(inner)


def _without_null(schema: dict[str, Any]) -> None:
    """Rewrite a schema that allows null as one that does not: a header may be missing, but has no null."""
    allowed = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(allowed) == 1:
        del schema["anyOf"]
        schema |= allowed[0]


def _place_problems(path: str, operation: dict[str, Any]) -> None:
    """Set the ``instance`` of each example problem to the path of the operation, with the examples of its parameters."""
    shown = {parameter["name"]: _example(parameter) for parameter in operation.get("parameters", [])}
    instance = re.sub(r"\{(\w+)\}", lambda name: shown[name[1]], path)
    for response in operation["responses"].values():
        content = response.get("content", {}).get(MEDIA_TYPE, {})
        # A copy: operations share their declared responses.
        content["examples"] = {
            name: example | {"value": example["value"] | {"instance": instance}}
            for name, example in content.get("examples", {}).items()
        }


def _example(parameter: Mapping[str, Any]) -> str:
    return str(parameter["schema"].get("examples", [""])[0])
