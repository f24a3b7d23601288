"""The gateway that generated clients and browsers query."""

import pytest

from tests.contract.conftest import furnished_url
from tests.node_packages import built_pages, packages
from tests.untraced import untraced

__all__ = ["furnished_url", "untraced"]


@pytest.fixture(autouse=True, scope="session")
def _installed() -> None:
    packages("tests/generated")
    built_pages()
