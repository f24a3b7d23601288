"""What the pages for contributors name exists: files, make targets, packages; every source is in the README."""

import json
import re
from typing import get_args

import pytest

from app.config import SourceName
from tests.project import PROJECT
from tests.test_imports import LAYERS

ARCHITECTURE = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
README = (PROJECT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")

_PATH = re.compile(r"`((?:app|benchmarks|deploy|docs|examples|fx_gateway|jobs|openapi|tests|web|\.ci)/[\w./-]*)`")
_INVENTED = re.compile(r"acme|spreads")
"""Parts of the names of files that a recipe invents."""


@pytest.mark.parametrize("text", [ARCHITECTURE, CONTRIBUTING], ids=["architecture", "contributing"])
def test_every_file_that_is_named_exists(text: str) -> None:
    named = [path for path in _PATH.findall(text) if not _INVENTED.search(path)]
    assert len(named) > 10
    assert [path for path in named if not (PROJECT / path).exists()] == []


def test_every_make_target_that_is_named_exists() -> None:
    phony = re.findall(r"^\.PHONY:(.*)$", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    targets = " ".join(phony).split()
    named = re.findall(r"^make (\w+)|`make (\w+)", CONTRIBUTING, re.MULTILINE)
    assert [name for pair in named for name in pair if name and name not in targets] == []


def test_the_table_of_sources_lists_every_source() -> None:
    table = README.partition("## Real prices\n\n")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == sorted(get_args(SourceName))


def test_the_table_of_packages_lists_them_in_the_order_of_their_imports() -> None:
    table = ARCHITECTURE.partition("## The rooms")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]*) \|", table, re.MULTILINE)[2:]
    listed = [[name.removesuffix(".py") for name in re.findall(r"`(?:app/)?(\w+(?:\.py)?)`", row)] for row in rows]
    order = [line.split() for line in LAYERS["app"].splitlines() if line.strip()]
    assert {name for row in listed for name in row} - {"jobs", "fx_gateway"} == {name for line in order for name in line}
    level = {name: number for number, line in enumerate(order) for name in line}
    levels = [[level[name] for name in row if name in level] for row in listed]
    flat = [number for row in levels for number in row]
    assert flat == sorted(flat)


def test_what_the_page_about_clients_installs_is_what_the_tests_use() -> None:
    page = (PROJECT / "docs" / "clients.md").read_text(encoding="utf-8")
    used = json.loads((PROJECT / "tests" / "generated" / "package.json").read_text(encoding="utf-8"))["dependencies"]
    commands = re.findall(r"^\$ npm install (.*)$", page, re.MULTILINE)
    installed = [package.rpartition("@")[::2] for command in commands for package in command.split()]
    assert len(installed) > 4
    assert [(name, version) for name, version in installed if used[name] != version] == []
    [generator] = re.findall(r"openapi-python-client==\S+", page)
    lock = (PROJECT / "requirements-test.lock").read_text(encoding="utf-8")
    assert f"\n{generator} " in lock
