"""The database that deployed gateways run on, and the commands there are."""

import os
import re
import subprocess
import sys

import pytest

from tests.postgres import postgres_server, postgres_url
from tests.project import PROJECT
from tests.untraced import untraced

__all__ = ["commands", "postgres_server", "postgres_url", "untraced"]


@pytest.fixture(scope="session")
def commands() -> frozenset[str]:
    """The commands that ``fx-gateway --help`` lists."""
    helped = subprocess.run(
        [sys.executable, "-m", "fx_gateway.cli", "--help"],
        cwd=PROJECT,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return frozenset(re.findall(r"^│ ([a-z]+) ", helped.stdout.partition("Commands")[2], re.MULTILINE))
