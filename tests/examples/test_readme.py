"""What the examples say of themselves."""

import json
import re

from tests.project import PROJECT

_EXAMPLES = PROJECT / "examples"


def test_the_readme_names_every_file() -> None:
    named = set(re.findall(r"\]\(([^):]+)\)", (_EXAMPLES / "README.md").read_text(encoding="utf-8")))
    files = {file.name for file in _EXAMPLES.iterdir() if file.is_file() and not file.name.startswith(".")}
    assert named == files - {"README.md"}


def test_npm_installs_the_major_version_that_is_tested() -> None:
    wanted = json.loads((_EXAMPLES / "package.json").read_text())["dependencies"]
    tested = json.loads((PROJECT / "tests" / "clients" / "package.json").read_text())["dependencies"]
    assert wanted == {name: tested[name].partition(".")[0] for name in wanted}
