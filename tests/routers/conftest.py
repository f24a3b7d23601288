"""A REST interface for every test that needs nothing special."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.routers.running import Rest, rest


@pytest_asyncio.fixture
async def api(valkey_url: str) -> AsyncIterator[Rest]:
    """The REST interface over a hub at work on a Valkey of this test's own."""
    async with rest(valkey_url) as running:
        yield running
