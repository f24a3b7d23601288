import asyncio

import pytest

from app.providers.oanda import api as oanda_api
from tests.providers.oanda.soak import soak
from tests.providers.oanda.stub import OandaStub
from tests.providers.oanda.stub_running import hurry, reading, source_at
from tests.waiting import wait_until


async def test_prices_survive_every_fault_without_a_restart(stub: OandaStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oanda_api, "_AFTER_TOO_MANY", 0.1)
    results, passed_over = await soak(0, hold=0.2, silence=0.5, stub=stub, patience=30)
    assert [result.fault for result in results if not result.times] == []
    assert sum(result.reconnects for result in results) >= sum(bool(result.left_after) for result in results)
    assert {"malformed", "unknown type", "repeated", "out of order"} <= passed_over.keys()


async def test_no_more_than_two_connections_a_second_are_opened(stub: OandaStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    hurry(monkeypatch, stub)
    monkeypatch.setattr(oanda_api, "_BETWEEN_CONNECTIONS", 0.6)
    stub.knobs.reset_connections = True
    async with asyncio.timeout(60), reading(source_at(stub)):
        await wait_until(lambda: len(stub.connections) == 6, "six connections", 30)
    windows = zip(stub.connections, stub.connections[2:], strict=False)
    assert all(third - first > 1 for first, third in windows)
