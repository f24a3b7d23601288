"""The server process: uvicorn with our protocols. Streams end before it waits for connections to close."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import uvicorn

from app.main import GatewayApp
from app.realtime.transports.engine.packet import LARGEST_MESSAGE
from app.realtime.wire.connection import HttpConnection, MakesConnection, Service
from app.realtime.wire.handover import Handover, MovableHttpConnection
from app.realtime.wire.protocols import LifeCycle, served
from app.run.listeners import BACKLOG, urls_of

_ACCEPTED_AT_ONCE = 32
"""Connections accepted before those that are open have their turn again."""


class GatewayServer(LifeCycle):
    """One server process on sockets that are already listening."""

    def __init__(
        self,
        app: GatewayApp,
        listeners: Sequence[socket.socket],
        *,
        keepalive_timeout: float = 75,
        shutdown_timeout: float,
        ready: Callable[[Sequence[str]], None],
        forwarded_allow_ips: Sequence[str] = (),
        handover: Handover | None = None,
    ) -> None:
        """``ready`` is called with the server's URLs once requests are answered.

        A connection without a request is closed after ``keepalive_timeout`` seconds.

        Client addresses in the headers of the proxies at ``forwarded_allow_ips`` are trusted, no others. With a ``handover``
        this server is one of several workers on one port, and connections move to the worker that holds their session.
        """
        service = Service(served(app, forwarded_allow_ips), keepalive_timeout, LARGEST_MESSAGE)
        http: MakesConnection = (
            partial(HttpConnection, service) if handover is None else partial(MovableHttpConnection, handover, service)
        )
        super().__init__(
            uvicorn.Config(
                cast(Any, service.app),
                http=cast(type[asyncio.Protocol], http),
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,  # the application reads them itself, for both protocols
                backlog=_ACCEPTED_AT_ONCE,
                timeout_graceful_shutdown=max(1, round(shutdown_timeout)),
            )
        )
        self._app = app
        self._listeners = listeners
        self._ready = ready
        self._http = http
        self._handover = handover

    async def run_until_stopped(self) -> None:
        """Serve until cancelled. Clients are asked to leave before the cancellation is passed on."""
        try:
            await self.run_on(self._listeners)
        finally:
            if self._handover is not None:
                self._handover.close()

    async def serving(self) -> None:
        # asyncio accepts as many connections in one go as the kernel may keep waiting. Here the first should be few, to give
        # others their turn, and the second many.
        for listener in self._listeners:
            listener.listen(BACKLOG)
        self._ready(urls_of(self._listeners))
        if self._handover is not None:
            await self._handover.receive(partial(self.adopt, self._http))

    def stopping(self) -> None:
        # uvicorn waits for streams to end before it tells the application to stop, so the application is told here.
        self._app.stop_streaming()
