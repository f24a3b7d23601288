"""The stand-in for Kraken that its source is tested against."""

from collections.abc import AsyncIterator

import pytest

from tests.providers.kraken.stub import KrakenStub, kraken_stub


@pytest.fixture
async def kraken() -> AsyncIterator[KrakenStub]:
    """A running stand-in."""
    async with kraken_stub() as stub:
        yield stub
