"""The server process: uvicorn with our protocols. Streams end before it waits for connections to close."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, cast

import uvicorn

from app.errors import ConfigurationError
from app.main import GatewayApp
from app.realtime.transports.engine.packet import LARGEST_MESSAGE
from app.realtime.wire.connection import HttpConnection, MakesConnection, Service
from app.realtime.wire.handover import Handover, MovableHttpConnection
from app.realtime.wire.protocols import LifeCycle, served

_BACKLOG = 4096

_ACCEPTED_AT_ONCE = 32
"""Connections accepted before those that are open have their turn again."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises ConfigurationError if the address is not available."""
    try:
        return socket.create_server((host, port), family=_family(host), backlog=_BACKLOG)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {_reason(error)}") from None


def listen_together(host: str, port: int, number: int) -> list[socket.socket]:
    """Return ``number`` sockets that listen on one address, each with its own connections (``SO_REUSEPORT``, see socket(7)).

    Raises ConfigurationError if the address is not available, even if its owner shares it in the same way.
    """
    with ExitStack() as opened:
        listeners = [opened.enter_context(socket.socket(_family(host))) for _ in range(number)]
        try:
            for listener in listeners:
                if listener.family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if listener is listeners[0]:
                    # Allow sharing only after binding, so that an address which another program shares is refused.
                    listener.bind((host, port))
                    port = listener.getsockname()[1]
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                else:
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                    listener.bind((host, port))
            for listener in listeners:
                listener.listen(_BACKLOG)
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {host}:{port}: {_reason(error)}") from None
        opened.pop_all()
        return listeners


def url_of(listener: socket.socket) -> str:
    """Return the URL at which clients reach the listener."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


class GatewayServer(LifeCycle):
    """One server process on a socket that is already listening."""

    def __init__(
        self,
        app: GatewayApp,
        listener: socket.socket,
        *,
        keep_alive: float = 75,
        shutdown_timeout: float,
        ready: Callable[[str], None],
        forwarded_allow_ips: Sequence[str] = (),
        handover: Handover | None = None,
    ) -> None:
        """``ready`` is called with the server's URL once requests are answered.

        A connection without a request is closed after ``keep_alive`` seconds.

        Client addresses in the headers of the proxies at ``forwarded_allow_ips`` are trusted, no others. With a ``handover``
        this server is one of several workers on one port, and connections move to the worker that holds their session.
        """
        service = Service(served(app, forwarded_allow_ips), keep_alive, LARGEST_MESSAGE)
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
        self._listener = listener
        self._ready = ready
        self._http = http
        self._handover = handover

    async def run_until_stopped(self) -> None:
        """Serve until cancelled. Clients are asked to leave before the cancellation is passed on."""
        try:
            await self.run_on([self._listener])
        finally:
            if self._handover is not None:
                self._handover.close()

    async def serving(self) -> None:
        # asyncio accepts as many connections in one go as the kernel may keep waiting. Here the first should be few, to give
        # others their turn, and the second many.
        self._listener.listen(_BACKLOG)
        self._ready(url_of(self._listener))
        if self._handover is not None:
            await self._handover.receive(partial(self.adopt, self._http))

    def stopping(self) -> None:
        # uvicorn waits for streams to end before it tells the application to stop, so the application is told here.
        self._app.stop_streaming()
