"""Clients of every kind behind nginx, in front of two gateways, with a feed at work."""

import asyncio
from pathlib import Path

import pytest

from app.realtime.log.log import EventLog, open_redis
from tests.deploy.deployment import PAIRS, clients_of_every_kind, deployment, logged_prices
from tests.end_to_end.recorders import Record, fetch_events
from tests.realtime.listening import tick
from tests.waiting import wait_until


@pytest.mark.timeout(240)
async def test_every_client_gets_the_same_events_at_once(valkey_url: str, postgres_url: str, node: Path, tmp_path: Path) -> None:
    clients = clients_of_every_kind(node, tmp_path)
    records = [Record(kind) for kind in clients]
    async with deployment(valkey_url, postgres_url, tmp_path) as deployed, open_redis(valkey_url) as redis:
        tasks = [
            asyncio.create_task(client(deployed.url, PAIRS, None, record))
            for client, record in zip(clients.values(), records, strict=True)
        ]
        try:
            await wait_until(lambda: all(record.opened for record in records), lambda: _unopened(records), 60)
            assert all([await deployed.clients(gateway) for gateway in deployed.gateways]), "one gateway has all clients"

            publisher = EventLog(redis).publisher()
            for number in range(1, 6):  # each is sent when the one before has reached everyone: nothing pushes it out
                [id] = await publisher.publish([tick("EUR_USD", f"1.{number:05}")])
                await wait_until(lambda id=id: all(record.last_id == id for record in records), "everyone has it", 30)  # type: ignore[misc]

            feed = await deployed.start("feed")
            await wait_until(lambda: all(len(record.payloads) > 300 for record in records), "prices flow", 60)
            assert await feed.stop() == 0, feed.text
            expected = await logged_prices(EventLog(redis))
            await wait_until(lambda: all(record.payloads == expected for record in records), "everyone has everything", 60)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert [payload async for _, payload in fetch_events(deployed.url, PAIRS)] == expected


def _unopened(records: list[Record]) -> str:
    return "\n".join(["these clients are subscribed:", *(str(record) for record in records if not record.opened)])
