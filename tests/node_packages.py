"""What npm installs and builds for the tests. Without it the tests that need it are skipped, as they are without a browser."""

from pathlib import Path

import pytest

from app.routers.documentation.pages import BUILT
from tests.project import PROJECT


def packages(folder: str) -> Path:
    """The packages installed for a folder of the project; without them the test is skipped."""
    installed = PROJECT / folder / "node_modules"
    if not (installed / ".ready").is_file():
        pytest.skip(f"the packages for Node of {folder} are not installed: make node")
    return installed


def built_pages() -> Path:
    """The pages that the gateway serves; without them the test is skipped."""
    if not (BUILT / "index.html").is_file():
        pytest.skip("the pages are not built: make node")
    return BUILT
