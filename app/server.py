"""The server process: uvicorn with our protocols, told to let clients go before it stops."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence

import uvicorn

from app.errors import ConfigurationError
from app.main import GatewayApp
from app.realtime.engine import LARGEST_MESSAGE
from app.realtime.protocols import WireHttpProtocol, WireWebSocketProtocol

_BACKLOG = 4096


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigurationError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {_reason(error)}") from None


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
    ) -> None:
        """``ready`` is called with the server's URL once requests are answered.

        What the proxies at ``forwarded_allow_ips`` say of a client's address is believed; of nobody else.
        """
        super().__init__(
            uvicorn.Config(
                app,
                http=WireHttpProtocol,
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
                timeout_graceful_shutdown=max(1, round(shutdown_timeout)),
            )
        )
        self._app = app
        self._listener = listener
        self._ready = ready

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
            host, port = self._listener.getsockname()[:2]
            self._ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn waits for streams before it tells the application that it stops, so the application is told here.
        self._app.stop_streaming()
        await super().shutdown(sockets)
