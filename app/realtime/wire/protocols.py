"""The seam to uvicorn: every name of uvicorn that is not part of its documented interface is used here and nowhere else.

uvicorn keeps the configuration and the life cycle; connections are our own. What it lacks is added here: a stop by cancellation,
and connections that another process has accepted. The names are listed in docs/architecture.md, and tests/test_private_names.py
fails when one of them changes.
"""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, cast

import uvicorn

from app.realtime.wire.connection import MakesConnection
from app.realtime.wire.forwarded import ForwardedMiddleware
from app.realtime.wire.watch import Watch
from app.realtime.wire.websocket import Application
from app.realtime.wire.wire import wire_of


class LettingGo:
    """Middleware that frees what the server keeps for a request once the call for it has returned with the wire detached."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)
        wire = wire_of(scope)
        if wire is not None and wire.detached:
            wire.let_go()


def served(app: Application, trusted_proxies: Sequence[str]) -> Application:
    """Return the application as both protocols call it, with the headers of trusted proxies read."""
    return ForwardedMiddleware(LettingGo(app), trusted_proxies)


class LifeCycle(uvicorn.Server):
    """uvicorn's life cycle for a server that does not own its process: it leaves signals alone and stops when cancelled."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stop = asyncio.Event()

    async def serving(self) -> None:
        """Do what belongs beside answering requests, until cancelled. A failure ends the server."""

    def stopping(self) -> None:
        """Prepare for the stop. Called once, before connections are asked to shut down."""

    async def run_on(self, listeners: Sequence[socket.socket]) -> None:
        """Serve until cancelled. Connections are shut down before the cancellation is passed on."""
        # Not ``serve``: it would take over the signals of the process.
        running = asyncio.create_task(self._serve(list(listeners)), name="uvicorn")
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            self._stop.set()
            await running
            raise

    async def main_loop(self) -> None:
        watch = Watch(cast(set[Any], self.server_state.connections))
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(work) for work in (super().main_loop(), self.serving(), watch.run())]
            await self._stop.wait()
            for task in beside:
                task.cancel()
        self.stopping()

    async def adopt(self, http: MakesConnection, connection: socket.socket, read: bytes) -> None:
        """Serve a connection that another process has accepted and read ``read`` from. Raises OSError if it is broken."""
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: http(server_state=self.server_state, app_state={}, read=read), connection
        )
