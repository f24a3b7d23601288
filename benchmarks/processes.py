"""The processes of a measurement: started on their cores, spoken to in JSON lines, ended without leftovers."""

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
"""What every server says once it serves, followed by its URL."""

PROCESS = "process "
"""What follows the URL, with a process id, where another process serves than the one that was started."""

_INHERITED = ("HOME", "LANG", "PATH", "TMPDIR")
_STARTS_WITHIN = 60.0
_ANSWERS_WITHIN = 300.0
_STOPS_WITHIN = 15.0


class MeasurementFailed(Exception):
    """A process did not start, ended too early or did not answer; the message says which and what it said last."""


@dataclass(frozen=True)
class Cores:
    """Which cores the server may use, and which the load, the publisher and Valkey. Empty sets mean: not pinned."""

    server: frozenset[int] = frozenset()
    others: frozenset[int] = frozenset()

    @classmethod
    def apart(cls) -> "Cores":
        """One core for the server and the rest for the others, where there are two and the system lets us choose."""
        if sys.platform != "linux":
            return cls()
        usable = sorted(os.sched_getaffinity(0))
        return cls(frozenset(usable[:1]), frozenset(usable[1:])) if len(usable) > 1 else cls()

    @property
    def pinned(self) -> bool:
        """True where the server has a core of its own."""
        return bool(self.server)


@contextmanager
def on_cores(cores: frozenset[int]) -> Iterator[None]:
    """What is started inside runs on these cores: a process inherits where its parent may run."""
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
    """A process of ours that answers each JSON line with one."""

    def __init__(self, name: str, process: Process, errors: Path) -> None:
        self._name = name
        self._process = process
        self._errors = errors

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ask(self, do: str, **details: object) -> dict[str, Any]:
        """Its answer to an order. Raises MeasurementFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **details}).encode() + b"\n")
        line = b""
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(_ANSWERS_WITHIN):
                await self._process.stdin.drain()
                line = await self._process.stdout.readline()
        if not line:
            raise MeasurementFailed(f"{self._name} gave no answer to {do!r}{_last_words(self._errors)}")
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
    """A module of this package as a process of its own, named after the module where no other name is given."""
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
    """A server that serves."""

    url: str
    pid: int


@asynccontextmanager
async def server(
    command: Sequence[str], variables: Mapping[str, str], *, folder: Path, cores: frozenset[int]
) -> AsyncGenerator[RunningServer]:
    """A server process from when it says that it is ready. Raises MeasurementFailed."""
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
    """Run a command to its end as the user would; give the first line of what went wrong, None where nothing did."""
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
        return f"no end after {timeout:.0f} s"
    finally:
        await _end(process)
    if process.returncode == 0:
        return None
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else f"exit code {process.returncode}"


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables a process gets: not those of the user, whose settings are not to change what is measured."""
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
    """Send a signal to a process and those it started: each that we start leads a group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _last_words(said: Path) -> str:
    lines = said.read_text(errors="replace").strip().splitlines()
    return ":\n" + "\n".join(lines[-15:]) if lines else ""
