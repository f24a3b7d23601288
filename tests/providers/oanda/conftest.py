"""The stand-in for OANDA that its source is tested against."""

from collections.abc import AsyncIterator

import pytest

from tests.providers.oanda.stub import OandaStub
from tests.providers.oanda.stub_running import hurry


@pytest.fixture
async def stub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OandaStub]:
    """A running stand-in that OANDA's source is not slow with out of courtesy."""
    async with OandaStub() as running:
        hurry(monkeypatch, running)
        yield running
