"""What linters say of the committed specifications."""

import json
import shutil
from pathlib import Path

from tests.generated.tools import ASYNCAPI, HERE, run, script

_LINTER = ("@redocly/cli", "bin/cli.js")
_WARNING = 1


async def test_redocly_finds_nothing_in_the_openapi_document(node: Path) -> None:
    # Its own folder: what is accepted there is named by the place of the file.
    printed = await run(node, script(*_LINTER), "lint", "../../openapi/openapi.json", cwd=HERE)
    assert "valid" in printed


async def test_the_asyncapi_parser_finds_neither_an_error_nor_a_warning(node: Path) -> None:
    told = json.loads(await run(node, HERE / "diagnose.mjs", ASYNCAPI, cwd=HERE))
    assert told["channels"] == 4
    assert [fault for fault in told["found"] if fault["severity"] <= _WARNING] == []


async def test_the_asyncapi_parser_does_find_faults(node: Path, tmp_path: Path) -> None:
    broken = tmp_path / "asyncapi.yaml"
    shutil.copy(ASYNCAPI, broken)
    broken.write_text(broken.read_text(encoding="utf-8").replace("action: receive", "action: listen"), encoding="utf-8")
    told = json.loads(await run(node, HERE / "diagnose.mjs", broken, cwd=HERE))
    assert [fault for fault in told["found"] if fault["severity"] < _WARNING]
