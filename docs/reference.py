"""mkdocs hook: generate parts of pages from the code, the specifications, README.md and CONTRIBUTING.md.

A page marks the place with ``<!-- reference: rest -->``. Nothing is copied into ``docs/``, so nothing has to be kept in step.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer.core
import typer.main
import yaml

from app.config import Settings
from app.market.pair import DEFAULT_PAIRS
from fx_gateway.cli import cli

_PROJECT = Path(__file__).parent.parent
_SPECS = _PROJECT / "openapi"
_MARKER = re.compile(r"^<!-- reference: (\w+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace the markers of a page; mkdocs calls this for each one."""
    return _MARKER.sub(lambda marker: _PARTS[marker[1]](), markdown)


# ------------------------------------------------------------------ REST


def rest() -> str:
    """Describe every operation of openapi.json, a section each, grouped by tag."""
    spec = json.loads((_SPECS / "openapi.json").read_text(encoding="utf-8"))
    by_tag: dict[str, list[str]] = {}
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            lines = list(_operation(spec, method.upper(), path, operation))
            by_tag.setdefault(operation.get("tags", ["other"])[0], []).append("\n".join(lines))
    return "\n\n".join("\n\n".join([f"## {tag.capitalize()}", *sections]) for tag, sections in by_tag.items())


def _operation(spec: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {operation['summary']} {{ #{operation['operationId']} }}"
    yield f"\n`{method} {path}`\n"
    yield f"{operation.get('description', '')}\n"
    if operation.get("parameters"):
        yield "| parameter | in | type | meaning |"
        yield "| --- | --- | --- | --- |"
        for parameter in operation["parameters"]:
            name = f"`{parameter['name']}`" + (" (required)" if parameter.get("required") else "")
            schema = parameter.get("schema", {})
            default = f" Default `{json.dumps(schema['default'])}`." if schema.get("default") is not None else ""
            meaning = _cell(parameter.get("description", "")) + ("." if default else "") + default
            kind = _type(spec, schema).removesuffix(" or null")
            yield f"| {name} | {parameter['in']} | {kind} | {meaning} |"
        yield ""
    if "requestBody" in operation:
        types = {kind: _type(spec, content.get("schema", {})) for kind, content in operation["requestBody"]["content"].items()}
        yield "Body: " + ", ".join(f"{name} as `{kind}`" for kind, name in types.items()) + ".\n"
    yield "| status | answer |"
    yield "| --- | --- |"
    for status, response in operation["responses"].items():
        yield f"| {'other' if status == 'default' else status} | {_cell(response['description'])} |"


# ------------------------------------------------------------------ events


def events() -> str:
    """Describe every message of asyncapi.yaml, those of the gateway first, each with a table of its fields."""
    spec = yaml.safe_load((_SPECS / "asyncapi.yaml").read_text(encoding="utf-8"))
    messages = spec["components"]["messages"]
    sent = {"send": set[str](), "receive": set[str]()}
    for operation in spec["operations"].values():
        for reference in operation.get("messages", []):
            sent[operation["action"]].add(reference["$ref"].rpartition("/")[2])
    parts = []
    for action, title in (("send", "From the gateway"), ("receive", "From the client")):
        parts.append(f"## {title}")
        parts += ["\n".join(_message(spec, name, messages[name])) for name in messages if name in sent[action]]
    return "\n\n".join(parts)


def _message(spec: Mapping[str, Any], name: str, message: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{message.get('name', name)}` {{ #{name} }}"
    for key in ("summary", "description"):
        if message.get(key):
            yield f"\n{message[key].strip()}"
    payload = _resolved(spec, message.get("payload", {}))
    if payload.get("properties"):
        needed = set(payload.get("required", ()))
        yield "\n| field | type | meaning |"
        yield "| --- | --- | --- |"
        for field, schema in payload["properties"].items():
            optional = "" if field in needed else " (optional)"
            yield f"| `{field}`{optional} | {_type(spec, schema)} | {_cell(_description(spec, schema))} |"


# ------------------------------------------------------------------ settings and commands


def settings() -> str:
    """Return a table of the settings in ``app.config``."""
    rows = [
        f"| `{name.upper()}` | {_default(field.default)} | {_cell(field.description or '')} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *rows])


def _default(value: object) -> str:
    match value:
        case None | ():
            return ""
        case tuple() if value == DEFAULT_PAIRS:
            return "the twenty"
        case tuple():
            return f"`{','.join(map(str, value))}`"
        case _:
            return f"`{value}`"


def commands() -> str:
    """Describe every command of ``fx-gateway`` with its arguments and options."""
    group = typer.main.get_command(cli)
    assert isinstance(group, typer.core.TyperGroup)
    return "\n\n".join("\n".join(_command(name, command)) for name, command in group.commands.items())


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"### `fx-gateway {name}` {{ #{name} }}"
    yield f"\n{(command.help or '').strip()}\n"
    if command.params:
        yield "| argument or option | default | meaning |"
        yield "| --- | --- | --- |"
    for parameter in command.params:
        if parameter.param_type_name == "option":
            spelled = ", ".join(f"`{part}`" for part in parameter.opts)
        else:
            spelled = f"`{parameter.name.upper()}`"
        shown = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
        default = "required" if parameter.required else _default(getattr(shown, "value", shown))
        yield f"| {spelled} | {default} | {_cell(parameter.help or '')} |"


# ------------------------------------------------------------------ README.md and CONTRIBUTING.md


def sources() -> str:
    """Return the README's table of the sources of prices."""
    text = (_PROJECT / "README.md").read_text(encoding="utf-8")
    return text.partition("## Real prices\n\n")[2].partition("\n\n")[0]


def contributing() -> str:
    """Return CONTRIBUTING.md without its title, its links relative to ``docs/``."""
    text = (_PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return text.partition("\n")[2].replace("](docs/", "](")


# ------------------------------------------------------------------ schemas


def _resolved(spec: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        target: Any = spec
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    return schema


def _description(spec: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    return str(schema.get("description") or _resolved(spec, schema).get("description") or "")


def _type(spec: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Name the type of a value in a few words."""
    if "$ref" in schema and "properties" in _resolved(spec, schema):
        return str(schema["$ref"]).rpartition("/")[2]
    schema = _resolved(spec, schema)
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " ".join(f"`{value}`" for value in schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_type(spec, part) for part in schema[key]))
    kind = schema.get("type", "value")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return f"list of {_type(spec, schema.get('items', {}))}"
    return str(schema.get("title", "object")) if kind == "object" else str(kind)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


_PARTS = {
    "rest": rest,
    "events": events,
    "settings": settings,
    "commands": commands,
    "sources": sources,
    "contributing": contributing,
}
