"""A gateway with steady traffic and a steady client, which must not notice what hostile clients do."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Mount

from app.market.pair import DEFAULT_PAIRS
from app.realtime.contract.event import Draft, cursor_order
from app.realtime.log.log import EventLog, Publisher, open_redis
from app.realtime.transports.engine.session import Session
from app.realtime.transports.sockets import SocketServer
from tests.gateways import RunningGateway, gateway
from tests.realtime.listening import alert, data_ready, tick
from tests.realtime.socket_clients import RawSocket, event_of, raw_socket
from tests.waiting import wait_until


@dataclass
class Traffic:
    """What goes through the gateway while a test is at work."""

    publisher: Publisher
    ids: list[str] = field(default_factory=list)

    async def publish(self, *drafts: Draft) -> list[str]:
        """Publish, among the rest."""
        ids = await self.publisher.publish(drafts)
        self.ids += ids
        return ids

    async def flow(self) -> None:
        """Publish for ever: prices of every pair, and now and then an alert and news for everyone."""
        n = 0
        while True:
            n += 1
            drafts = [tick(DEFAULT_PAIRS[(n + k) % 20], f"1.{n % 90_000 + 10_000}") for k in range(3)]
            await self.publish(*drafts, *([alert()] if n % 5 == 0 else []), *([data_ready(n)] if n % 7 == 0 else []))
            await asyncio.sleep(0.005)


@dataclass(frozen=True)
class Watched:
    """A gateway under watch."""

    url: str
    running: RunningGateway
    traffic: Traffic

    async def some_traffic(self, events: int = 20) -> None:
        """Return when this many more events have gone through."""
        enough = len(self.traffic.ids) + events
        await wait_until(lambda: len(self.traffic.ids) >= enough, "events go through")

    async def alone(self) -> None:
        """Return when the hub serves the steady client alone."""
        await wait_until(lambda: len(self.running.hub.clients) == 1, "the hub has let go of the others")


def sessions_of(running: RunningGateway) -> dict[str, Session]:
    """The Engine.IO sessions of a gateway, by their ids."""
    [mounted] = [route for route in running.app.routes if isinstance(route, Mount) and route.path == "/socket.io"]
    server = mounted.app.engineio_server  # type: ignore[attr-defined]
    assert isinstance(server, SocketServer)
    return server.engine.sessions


@asynccontextmanager
async def watched(valkey_url: str, folder: Path, caplog: pytest.LogCaptureFixture, **settings: Any) -> AsyncGenerator[Watched]:
    """A gateway with steady traffic.

    On leaving: the steady client has had every event once and in order, the hub serves no other, no task is left
    behind, and nothing that was logged has a traceback.
    """
    async with gateway(valkey_url, folder, **settings) as running, open_redis(valkey_url) as redis:
        traffic = Traffic(EventLog(redis).publisher())
        async with raw_socket(running.url, joined=True) as steady:
            await steady.send('42["subscribe",{"pairs":"*","snapshot":false}]')
            assert event_of(await steady.read())[0] == "subscription_confirmed"
            got: list[str] = []
            reading = asyncio.create_task(_read(steady, got), name="steady client")
            flowing = asyncio.create_task(traffic.flow(), name="traffic")
            try:
                await wait_until(lambda: bool(got), "the steady client hears something")
                tasks = asyncio.all_tasks()
                yield Watched(running.url, running, traffic)
                await _stop(flowing)
                # What was published when it was cancelled may be in the log and not among the ids.
                [end] = await traffic.publish(data_ready())
                await wait_until(lambda: got[-1] == end or reading.done(), "the steady client has had everything", 20)
                await wait_until(lambda: len(running.hub.clients) == 1, "the hub serves the steady client alone")
                with suppress(AssertionError):
                    await wait_until(lambda: not _new(tasks), "no task is left behind")
                assert not _new(tasks)
            finally:
                await _stop(flowing, reading)
        published = set(traffic.ids)
        assert [id for id in got if id in published] == traffic.ids
        assert got == sorted(set(got), key=cursor_order)
    assert_no_traceback(caplog)


def assert_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Check that nothing went wrong inside, whatever came from outside."""
    wrong = [record for record in caplog.records if record.exc_info or "Traceback" in record.getMessage()]
    wrong += [record for record in caplog.records if record.name == "asyncio" and record.levelno >= logging.ERROR]
    assert not wrong, [f"{record.name}: {record.getMessage()}: {record.exc_info}" for record in wrong]


def _new(before: set["asyncio.Task[Any]"]) -> set["asyncio.Task[Any]"]:
    """The tasks that there were not before, but for the one that sse-starlette keeps for all of its streams."""
    known = (asyncio.current_task(), *before)
    return {task for task in asyncio.all_tasks() if task not in known and "_shutdown_watcher" not in repr(task.get_coro())}


async def _stop(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _read(steady: RawSocket, got: list[str]) -> None:
    while True:
        packet = await steady.read(30)
        name, body = event_of(packet)
        assert name != "gap"
        got.append(body["id"])
