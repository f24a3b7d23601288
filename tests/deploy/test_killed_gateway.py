"""A gateway killed with -9 behind nginx: its clients go on at the other one."""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from app.realtime.log.log import EventLog, open_redis
from tests.deploy.deployment import PAIRS, Client, clients_of_every_kind, deployment, logged_prices
from tests.end_to_end.recorders import Record
from tests.realtime.listening import tick
from tests.waiting import wait_until


@pytest.mark.timeout(240)
async def test_clients_of_a_gateway_that_is_killed_resume_at_the_other_with_nothing_lost_and_nothing_twice(
    valkey_url: str, postgres_url: str, node: Path, tmp_path: Path
) -> None:
    clients = clients_of_every_kind(node, tmp_path)
    records, lives = [Record(kind) for kind in clients], dict.fromkeys(clients, 0)
    async with deployment(valkey_url, postgres_url, tmp_path) as deployed, open_redis(valkey_url) as redis:
        log = EventLog(redis)
        [since] = await log.publisher().publish([tick("EUR_USD")])

        async def live(kind: str, client: Client, record: Record) -> None:
            """Restart the client from its last id whenever it ends."""
            while True:
                lives[kind] += 1
                await client(deployed.url, PAIRS, record.last_id or since, record)
                await asyncio.sleep(0.25)

        async def flow() -> None:
            enough = {record.kind: len(record.payloads) + 100 for record in records}
            await wait_until(
                lambda: all(len(record.payloads) > enough[record.kind] for record in records), "prices flow to everyone", 60
            )

        async def everyone_is_at_the_second() -> bool:
            return await deployed.clients(deployed.gateways[1]) == len(records)

        async with asyncio.TaskGroup() as living:
            tasks = [living.create_task(live(kind, clients[kind], record)) for kind, record in zip(clients, records, strict=True)]
            await wait_until(lambda: all(record.opened for record in records), "every client is subscribed", 60)
            feed = await deployed.start("feed")
            await flow()

            statuses: list[int] = []
            asking = living.create_task(_ask(deployed.url, statuses))
            await wait_until(lambda: len(statuses) > 3, "REST answers")
            await deployed.processes[0].stop(signal.SIGKILL)
            await flow()
            asking.cancel()
            assert set(statuses) == {200}
            await wait_until(everyone_is_at_the_second, "the other gateway has everyone")

            # The other way round, so that every client has lost its gateway once.
            port = str(urlsplit(deployed.gateways[0]).port)
            await (await deployed.start("gateway", "--port", port)).ready_url()
            await deployed.processes[1].stop(signal.SIGKILL)
            await flow()
            assert await feed.stop() == 0, feed.text
            [end] = await log.publisher().publish([tick("EUR_USD")])
            await wait_until(
                lambda: all(record.last_id == end for record in records),
                lambda: f"everyone has {end}, but: {[(record.kind, record.last_id) for record in records]}",
                60,
            )
            for task in tasks:
                task.cancel()

        expected = await logged_prices(log, since)
        for record in records:
            assert record.payloads == expected, f"{record.kind}: {len(record.payloads)} of {len(expected)}"
            assert all(opened["recovered"] is True for opened in record.opened), record.kind
            assert len(record.opened) > 1, f"{record.kind} was never cut off"
        assert lives["node sse"] == 1, "an EventSource comes back by itself"


async def _ask(url: str, statuses: list[int]) -> None:
    """Ask for prices again and again."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        while True:
            # What has begun to be answered when the gateway dies cannot be answered by another one.
            with suppress(httpx.RemoteProtocolError):
                statuses.append((await http.get("/api/v1/prices/all")).status_code)
