"""Gateways for tests: in this process, for tests that look inside, or in a separate process, as users run them."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.config import Settings
from app.main import GatewayApp, create_app
from app.realtime.hub.hub import Hub
from app.run.listeners import listen
from app.run.server import GatewayServer
from tests.databases import on_postgres, postgres_of, put_sqlite
from tests.forked import ForkedProcess, fork_command
from tests.project import PROJECT
from tests.waiting import wait_until
from tests.wall_clock import CLOCK
from tests.watchdog import MARK

QUIET: Mapping[str, Any] = {"_env_file": None, "rate_limit_requests": 0, "websocket_port": 0}


@dataclass(frozen=True)
class RunningGateway:
    """A gateway that serves in this process."""

    url: str
    app: GatewayApp
    hub: Hub
    server: GatewayServer


@asynccontextmanager
async def gateway(redis_url: str, folder: Path, **settings: Any) -> AsyncGenerator[RunningGateway]:
    """A gateway on this Redis with its files in the folder: ready on entry, stopped on exit."""
    if "database_url" not in settings:
        if on_postgres():
            settings["database_url"] = await postgres_of(folder)
        else:
            await put_sqlite(folder / "gateway.db")
    configured = Settings(**{**QUIET, "data_dir": folder, **settings})
    app = create_app(configured, redis_url)
    ready: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
    [listeners] = listen(configured.websocket_host, configured.websocket_port)
    server = GatewayServer(
        app,
        listeners,
        keepalive_timeout=configured.keepalive_timeout,
        shutdown_timeout=configured.shutdown_timeout,
        forwarded_allow_ips=configured.forwarded_allow_ips,
        ready=ready.set_result,
    )
    serving = asyncio.create_task(server.run_until_stopped())
    try:
        await wait_until(lambda: serving.done() or ready.done(), "the gateway is ready", 60)
        assert app.hub is not None, serving
        yield RunningGateway((await ready)[0], app, app.hub, server)
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


class GatewayProcess:
    """An ``fx-gateway`` command in a separate process."""

    def __init__(self, process: asyncio.subprocess.Process | ForkedProcess) -> None:
        self._process = process
        self.output: list[str] = []
        self._reading = [asyncio.create_task(self._read(stream)) for stream in (process.stdout, process.stderr)]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.returncode

    @property
    def text(self) -> str:
        """Everything printed so far, on both streams."""
        return "\n".join(self.output)

    async def ready_url(self) -> str:
        """Wait for the ``Ready on`` line and return the URL."""
        await wait_until(lambda: "Ready on " in self.text or self.returncode is not None, "the gateway is ready", 60)
        assert "Ready on " in self.text, f"exit code {self.returncode}:\n{self.text}"
        return self.text.partition("Ready on ")[2].split()[0].rstrip(",")

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the process to end and return its exit code."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        return await self.wait()

    async def wait(self, timeout: float = 30) -> int:
        """Wait for the process to end and return its exit code."""
        async with asyncio.timeout(timeout):
            await asyncio.gather(*self._reading)
            return await self._process.wait()

    async def _read(self, stream: asyncio.StreamReader | None) -> None:
        assert stream is not None
        while line := await stream.readline():
            self.output.append(line.decode().rstrip("\n"))


def command(*arguments: str | Path, cwd: Path, **environment: str) -> AbstractAsyncContextManager[GatewayProcess]:
    """``fx-gateway`` with these arguments and variables, stopped on exit.

    It is forked from a process that has already imported the gateway, which saves seconds of CPU time.
    """
    return _running(fork_command, arguments, cwd, environment)


def new_command(*arguments: str | Path, cwd: Path, **environment: str) -> AbstractAsyncContextManager[GatewayProcess]:
    """The same in a new interpreter, as users start it."""
    return _running(_start_command, arguments, cwd, environment)


Begin = Callable[[Sequence[str], Path, Mapping[str, str]], Awaitable[asyncio.subprocess.Process | ForkedProcess]]


@asynccontextmanager
async def _running(
    begin: Begin, arguments: Sequence[str | Path], cwd: Path, environment: dict[str, str]
) -> AsyncGenerator[GatewayProcess]:
    inherited = {name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith("COV")}
    if on_postgres() and not environment.keys() & {"DATABASE_URL", "DB_HOST"}:
        environment["DATABASE_URL"] = await postgres_of(cwd / environment.get("DATA_DIR", "data"))
    variables = {**inherited, "COLUMNS": "200", "RATE_LIMIT_REQUESTS": "0", **environment}
    running = GatewayProcess(await begin([str(argument) for argument in arguments], cwd, variables))
    try:
        yield running
    finally:
        if running.returncode is None:
            try:
                await running.stop()
            except TimeoutError:
                await running.stop(signal.SIGKILL)  # or the test run would wait for it at its end
                raise


async def _start_command(arguments: Sequence[str], cwd: Path, variables: Mapping[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fx_gateway.cli", *arguments,
        cwd=cwd,
        env={**variables, "PYTHONPATH": str(PROJECT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", MARK, *CLOCK)
