"""Run commands as forks of a process that has imported the gateway: importing takes seconds of CPU time."""

import asyncio
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from unittest import mock

import coverage

from fx_gateway import cli
from tests.untraced import UNTRACED
from tests.wall_clock import AHEAD, set_ahead


class ForkedProcess:
    """A command in a forked process, with the interface of ``asyncio.subprocess.Process``."""

    def __init__(self, process: ForkServerProcess, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader) -> None:
        self._process = process
        self.stdout = stdout
        self.stderr = stderr
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(process.sentinel, self._end)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal. Raises ProcessLookupError if the process has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    async def wait(self) -> int:
        """Wait for the process to end and return its exit code."""
        await self._ended.wait()
        code = self.returncode
        assert code is not None
        return code

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._ended.set()


async def fork_command(arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> ForkedProcess:
    """Run ``fx-gateway`` with these arguments in this folder, with exactly these environment variables."""
    context = multiprocessing.get_context("forkserver")
    _start_server(context)
    (stdout, stdout_end), (stderr, stderr_end) = context.Pipe(duplex=False), context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(list(arguments), cwd, dict(environment), stdout_end, stderr_end))
    process.start()
    stdout_end.close()
    stderr_end.close()
    return ForkedProcess(process, await _reader(stdout), await _reader(stderr))


def _start_server(context: ForkServerContext) -> None:
    """Start the fork server unless it runs. It is not traced itself; each fork starts its own tracing."""
    context.set_forkserver_preload([__name__])
    with mock.patch.dict(os.environ, UNTRACED):
        forkserver.ensure_running()


async def _reader(connection: Connection) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    pipe = os.fdopen(os.dup(connection.fileno()), "rb", 0)
    connection.close()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


def _run(arguments: list[str], cwd: Path, environment: dict[str, str], stdout: Connection, stderr: Connection) -> None:
    for connection, number in ((stdout, 1), (stderr, 2)):
        os.dup2(connection.fileno(), number)
        connection.close()
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    if ahead := environment.get(AHEAD):
        set_ahead(ahead)
    sys.argv = ["fx-gateway", *arguments]
    tracing = coverage.process_startup(force=True) if environment.get("COVERAGE_PROCESS_CONFIG") else None
    try:
        cli.main()
    finally:
        if tracing is not None:
            tracing.stop()
            tracing.save()
