"""The README says what the code does."""

import re

from pydantic_core import PydanticUndefined

from app.config import Settings
from app.market.pair import DEFAULT_PAIRS
from fx_gateway.cli import cli
from tests.project import PROJECT

_README = (PROJECT / "README.md").read_text()


def settings_table() -> list[str]:
    """A row of the README's table for each setting."""
    rows = []
    for name, field in Settings.model_fields.items():
        assert field.default is not PydanticUndefined, name
        rows.append(f"| `{name.upper()}` | {_shown(field.default)} | {field.description} |")
    return rows


def test_every_setting_stands_in_the_table_as_the_code_has_it() -> None:
    table = re.findall(r"^\| `[A-Z_]+` \|.*$", _README, re.MULTILINE)
    assert "\n".join(table) == "\n".join(settings_table())


def test_every_command_is_described() -> None:
    for command in cli.registered_commands:
        assert command.callback is not None
        assert f"`fx-gateway {command.name or command.callback.__name__}" in _README


def _shown(default: object) -> str:
    match default:
        case None | () | "":
            return ""
        case tuple() if default == DEFAULT_PAIRS:
            return "the twenty"
        case tuple():
            return f"`{','.join(map(str, default))}`"
        case _:
            return f"`{default}`"
