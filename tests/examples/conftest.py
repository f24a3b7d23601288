"""The examples as a user has them, and a log for a test to publish to."""

import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.realtime.log.log import EventLog, Publisher, open_redis
from tests.node_packages import packages
from tests.project import PROJECT
from tests.untraced import untraced

__all__ = ["untraced"]


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy of the examples, with the client library where ``npm install`` puts it."""
    folder = tmp_path / "examples"
    shutil.copytree(PROJECT / "examples", folder, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    (folder / "node_modules").symlink_to(packages("tests/clients"))
    return folder


@pytest.fixture
def port() -> Iterator[int]:
    """A port reserved for the test while its gateway is stopped: bound, but not listened on."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
async def publisher(valkey_url: str) -> AsyncIterator[Publisher]:
    """A publisher on the log, independent of any gateway."""
    async with open_redis(valkey_url) as redis:
        yield EventLog(redis).publisher()
