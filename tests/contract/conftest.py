"""The gateway that the contract tests query, in a separate thread so that tests can be synchronous clients."""

import asyncio
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.furnished import furnished
from tests.postgres import PrivatePostgres, postgres_server
from tests.private_valkey import PrivateValkey

__all__ = ["postgres_server"]


@pytest.fixture(scope="session")
def furnished_url() -> Iterator[str]:
    """The URL of a gateway with data behind every endpoint."""
    with _furnished_gateway() as url:
        yield url


@pytest.fixture(scope="session")
def furnished_url_on_postgres(postgres_server: PrivatePostgres) -> Iterator[str]:
    """The same of one that works on PostgreSQL."""
    with _furnished_gateway(database_url=postgres_server.url) as url:
        yield url


@pytest.fixture(params=["furnished_url", "furnished_url_on_postgres"])
def each_furnished_url(request: pytest.FixtureRequest) -> str:
    """The one and the other in turn."""
    url: str = request.getfixturevalue(request.param)
    return url


@contextmanager
def _furnished_gateway(**settings: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="fx-") as name:
        folder = Path(name)
        server = PrivateValkey(folder, folder / "valkey.sock")
        server.start()
        url: Future[str] = Future()
        done = threading.Event()
        thread = threading.Thread(
            target=lambda: asyncio.run(_serve(server.url, folder / "data", settings, url, done)), name="gateway"
        )
        thread.start()
        try:
            yield url.result(60)
        finally:
            done.set()
            thread.join(30)
            server.kill()


async def _serve(redis_url: str, folder: Path, settings: Mapping[str, str], url: "Future[str]", done: threading.Event) -> None:
    try:
        async with furnished(redis_url, folder, **settings) as running:
            url.set_result(running.url)
            await asyncio.to_thread(done.wait)
    except BaseException as error:
        if not url.done():
            url.set_exception(error)
        raise
