"""The processes of a measurement: start them on their cores, talk to them in JSON lines, stop them and their children."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent

READY = "Ready on "
"""Every server prints this, followed by its URL, when it is ready."""

PROCESS = "process "
"""Follows the URL, with a process id, if another process serves than the one that was started."""

_INHERITED = ("HOME", "LANG", "PATH", "TMPDIR")
_STARTS_WITHIN = 60.0
_ANSWERS_WITHIN = 300.0
_STOPS_WITHIN = 15.0


class MeasurementFailed(Exception):
    """A process did not start, exited early or did not answer. The message names it and quotes its last output."""


@dataclass(frozen=True)
class Cores:
    """The cores of the server, and those of the load, the publisher and Valkey. Empty sets mean: not pinned."""

    server: frozenset[int] = frozenset()
    others: frozenset[int] = frozenset()

    @classmethod
    def apart(cls) -> "Cores":
        """Give one core to the server and the rest to the others, if there are two and the system supports pinning."""
        if sys.platform != "linux":
            return cls()
        usable = sorted(os.sched_getaffinity(0))
        return cls(frozenset(usable[:1]), frozenset(usable[1:])) if len(usable) > 1 else cls()

    @property
    def pinned(self) -> bool:
        """Whether the server has a core of its own."""
        return bool(self.server)


@contextmanager
def on_cores(cores: frozenset[int]) -> Iterator[None]:
    """Run what is started inside on these cores: a process inherits the affinity of its parent."""
    if sys.platform != "linux" or not cores:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


class Companion:
    """A process of this package that answers each JSON line with one."""

    def __init__(self, name: str, process: Process, errors: Path) -> None:
        self._name = name
        self._process = process
        self._errors = errors

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def ask(self, do: str, **details: object) -> dict[str, Any]:
        """Send an order and return the answer. Raises MeasurementFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **details}).encode() + b"\n")
        line = b""
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(_ANSWERS_WITHIN):
                await self._process.stdin.drain()
                line = await self._process.stdout.readline()
        if not line:
            raise MeasurementFailed(f"{self._name} did not answer {do!r}{_last_words(self._errors)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def companion(
    module: str,
    *arguments: str,
    folder: Path,
    cores: frozenset[int],
    variables: Mapping[str, str] | None = None,
    name: str | None = None,
) -> AsyncGenerator[Companion]:
    """Run a module of this package as a process; ``name`` defaults to the module's."""
    name = name or module.rpartition(".")[2]
    errors = folder / f"{name}.log"
    with errors.open("wb") as log, on_cores(cores):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *arguments,
            cwd=folder, env=environment(variables), stdin=PIPE, stdout=PIPE, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield Companion(name, process, errors)
    finally:
        await _end(process)


@dataclass(frozen=True)
class RunningServer:
    """A server that is ready."""

    url: str
    pid: int


@asynccontextmanager
async def server(
    command: Sequence[str], variables: Mapping[str, str], *, folder: Path, cores: frozenset[int]
) -> AsyncGenerator[RunningServer]:
    """Run a server; yields when it has printed that it is ready. Raises MeasurementFailed."""
    said = folder / "server.log"
    with said.open("wb") as log, on_cores(cores):
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=environment(variables),
            stdin=DEVNULL, stdout=log, stderr=STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield await _serving(process, said)
    finally:
        await _end(process)


async def run(command: Sequence[str], *, folder: Path, timeout: float) -> str | None:
    """Run a command with the user's environment; return the first line of its error, None if it succeeded."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, start_new_session=True
        )
    except OSError as error:
        return str(error)
    try:
        async with asyncio.timeout(timeout):
            output, _ = await process.communicate()
    except TimeoutError:
        return f"timed out after {timeout:.0f} s"
    finally:
        await _end(process)
    if process.returncode == 0:
        return None
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else f"exit code {process.returncode}"


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a measured process, without the user's settings, which would change the figures."""
    inherited = {name: value for name, value in os.environ.items() if name in _INHERITED}
    return {**inherited, "PYTHONPATH": str(PROJECT), "COLUMNS": "200", **(variables or {})}


async def _serving(process: Process, said: Path) -> RunningServer:
    with suppress(TimeoutError):
        async with asyncio.timeout(_STARTS_WITHIN):
            while process.returncode is None:
                text = said.read_text(errors="replace")
                line, ended, _ = text.partition(READY)[2].partition("\n")
                if ended:
                    pid = line.partition(PROCESS)[2].strip()
                    return RunningServer(line.split()[0].rstrip(","), int(pid) if pid.isdigit() else process.pid)
                await asyncio.sleep(0.02)
    raise MeasurementFailed(f"the server did not start{_last_words(said)}")


async def _end(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is not None:
        return
    _signal_all(process, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), _STOPS_WITHIN)
    except TimeoutError:
        _signal_all(process, signal.SIGKILL)
        await process.wait()


def _signal_all(process: Process, number: signal.Signals) -> None:
    """Signal a process and its children: every process here is started as the leader of a group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _last_words(said: Path) -> str:
    lines = said.read_text(errors="replace").strip().splitlines()
    return ":\n" + "\n".join(lines[-15:]) if lines else ""
