"""The server process: uvicorn with our protocols, told to let clients go before it stops."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import cast

import uvicorn

from app.errors import ConfigurationError
from app.main import GatewayApp
from app.realtime.transports.engine import LARGEST_MESSAGE
from app.realtime.wire.handover import Handover, MovableHttpProtocol
from app.realtime.wire.protocols import WireHttpProtocol, WireWebSocketProtocol

_BACKLOG = 4096

_ACCEPTED_AT_ONCE = 32
"""Connections taken in before those who are here have their turn again."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigurationError where the address cannot be had."""
    try:
        return socket.create_server((host, port), family=_family(host), backlog=_BACKLOG)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {_reason(error)}") from None


def listen_together(host: str, port: int, number: int) -> list[socket.socket]:
    """So many sockets that listen on one address, each with connections of its own (``SO_REUSEPORT``, see socket(7)).

    Raises ConfigurationError where the address cannot be had, also where others share it in the same way.
    """
    with ExitStack() as opened:
        listeners = [opened.enter_context(socket.socket(_family(host))) for _ in range(number)]
        try:
            for listener in listeners:
                if listener.family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if listener is listeners[0]:
                    # Shared only after it is bound: what others share already cannot be had like this.
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
    """Where clients find what listens there."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


class GatewayServer(uvicorn.Server):
    """One server process on a socket that is already listening."""

    def __init__(
        self,
        app: GatewayApp,
        listener: socket.socket,
        *,
        shutdown_timeout: float,
        ready: Callable[[str], None],
        forwarded_allow_ips: Sequence[str] = (),
        handover: Handover | None = None,
    ) -> None:
        """``ready`` is called with the server's URL once requests are answered.

        What the proxies at ``forwarded_allow_ips`` say of a client's address is believed; of nobody else. With a ``handover``
        this server is one of several workers on one port, and connections move to where their session is.
        """
        http = WireHttpProtocol if handover is None else cast(type[WireHttpProtocol], partial(MovableHttpProtocol, handover))
        super().__init__(
            uvicorn.Config(
                app,
                http=http,
                ws=WireWebSocketProtocol,
                # Deflating one frame for one client costs more than delivering it to twenty, and shared frames are not
                # compressed per client in any case.
                ws_per_message_deflate=False,
                ws_max_size=LARGEST_MESSAGE,
                # Socket.IO pings on its own; a second ping cycle would only double the timers.
                ws_ping_interval=None,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(forwarded_allow_ips),
                forwarded_allow_ips=list(forwarded_allow_ips),
                backlog=_ACCEPTED_AT_ONCE,
                timeout_graceful_shutdown=max(1, round(shutdown_timeout)),
            )
        )
        self._app = app
        self._listener = listener
        self._ready = ready
        self._handover = handover

    async def run_until_stopped(self) -> None:
        """Serve until cancelled; clients are let go before the cancellation is passed on."""
        # Not ``serve``: it would take the signals of the process, which belong to whoever runs the process.
        serving = asyncio.create_task(self._serve([self._listener]), name="uvicorn")
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self.should_exit = True
            await serving
            raise

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            # asyncio accepts as many connections in one go as it lets the kernel keep waiting. Here they are many, and few.
            self._listener.listen(_BACKLOG)
            self._ready(url_of(self._listener))

    async def main_loop(self) -> None:
        if self._handover is None:
            await super().main_loop()
            return
        async with asyncio.TaskGroup() as tasks:
            adopting = tasks.create_task(self._handover.receive(self._adopt), name="handover")
            await super().main_loop()
            adopting.cancel()

    async def _adopt(self, connection: socket.socket, read: bytes) -> None:
        """Serve a connection that another worker has accepted, and read from."""
        assert self._handover is not None
        protocol = partial(
            MovableHttpProtocol,
            self._handover,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            read=read,
        )
        await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn waits for streams before it tells the application that it stops, so the application is told here.
        self._app.stop_streaming()
        await super().shutdown(sockets)
        if self._handover is not None:
            self._handover.close()
