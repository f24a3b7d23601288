"""The documentation as a site."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from app.config import Settings
from fx_gateway.cli import cli
from tests.project import PROJECT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site. A wrong link, anchor or page without a place in the navigation stops the build."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=PROJECT,
        env={"PATH": "", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert (built.returncode, built.stderr) == (0, "")
    return folder


def test_a_page_asks_nobody_else_for_anything(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=\"?([^\" >]+)|<link[^>]*\shref=\"?([^\" >]+)", text)
        foreign = [address for pair in loaded for address in pair if re.match(r"(https?:)?//", address)]
        assert foreign == [], page


def test_no_marker_is_left_and_no_program_is_published(site: Path) -> None:
    assert not [page for page in site.rglob("*.html") if "<!-- reference:" in page.read_text(encoding="utf-8")]
    assert not list(site.rglob("*.py"))


def test_every_operation_stands_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "rest" / "index.html").read_text(encoding="utf-8")
    spec = json.loads((PROJECT / "openapi" / "openapi.json").read_text())
    operations = [operation["operationId"] for path in spec["paths"].values() for operation in path.values()]
    assert [name for name in operations if f'id="{name}"' not in text and f"id={name}" not in text] == []


def test_every_message_stands_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "events" / "index.html").read_text(encoding="utf-8")
    spec = yaml.safe_load((PROJECT / "openapi" / "asyncapi.yaml").read_text())
    assert [name for name in spec["components"]["messages"] if f'id="{name}"' not in text and f"id={name}" not in text] == []


def test_every_setting_and_command_stands_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "settings" / "index.html").read_text(encoding="utf-8")
    assert [name for name in Settings.model_fields if f"<code>{name.upper()}</code>" not in text] == []
    text = (site / "reference" / "commands" / "index.html").read_text(encoding="utf-8")
    for command in cli.registered_commands:
        assert command.callback is not None
        assert f"<code>fx-gateway {command.name or command.callback.__name__}</code>" in text
