"""The documents as files."""

import json
from pathlib import Path
from typing import Any

import yaml

from app.config import Settings
from app.main import create_app
from app.specs.asyncapi import asyncapi_document
from app.specs.openapi import openapi_document

OPENAPI_FILE = "openapi.json"
ASYNCAPI_FILE = "asyncapi.yaml"

_WIDTH = 100
_LONG = 80


def write_specs(folder: Path) -> None:
    """Write ``openapi.json`` and ``asyncapi.yaml`` into a folder, which is created if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in spec_files().items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def spec_files() -> dict[str, str]:
    """Return both documents as text, by the names of their files."""
    # Settings are the defaults, so that neither the environment nor a Redis can change the documents; nothing is opened.
    app = create_app(Settings.model_construct(), "redis://localhost")
    return {
        OPENAPI_FILE: json.dumps(openapi_document(app), indent=2, ensure_ascii=False) + "\n",
        ASYNCAPI_FILE: yaml.dump(asyncapi_document(), Dumper=_ReadableDumper, sort_keys=False, allow_unicode=True, width=_WIDTH),
    }


class _ReadableDumper(yaml.SafeDumper):
    """YAML for people: text of several lines is kept as blocks, lists are indented, and there are no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else ">" if len(text) > _LONG else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_ReadableDumper.add_representer(str, _text)
