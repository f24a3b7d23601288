"""The sources of the pages, as a compiler of types reads them."""

import shutil
from pathlib import Path

import pytest

from tests.generated.tools import PROJECT, run, script
from tests.node_packages import packages

_WEB = PROJECT / "web"


async def test_the_compiler_finds_no_fault_in_the_scripts_of_the_pages(node: Path) -> None:
    packages("web")
    await run(node, script("typescript", "bin/tsc"), "--project", _WEB, cwd=_WEB)


async def test_the_compiler_does_find_faults(node: Path, tmp_path: Path) -> None:
    shutil.copytree(_WEB / "src", tmp_path / "src")
    shutil.copy(_WEB / "tsconfig.json", tmp_path)
    (tmp_path / "node_modules").symlink_to(packages("web"))
    with (tmp_path / "src" / "store.js").open("a", encoding="utf-8") as source:
        source.write("new Store(null).prize('EUR_USD');\n")
    with pytest.raises(AssertionError, match="prize"):
        await run(node, script("typescript", "bin/tsc"), "--project", tmp_path, cwd=tmp_path)
