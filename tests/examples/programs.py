"""Programs of their own, and what they print."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.waiting import wait_until


class Program:
    """A running program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._reading = asyncio.create_task(self._read())
        self.lines: list[str] = []

    async def prints(self, line: str, times: int = 1) -> None:
        """Wait for a line that begins so, or for that many."""
        await self.until(lambda lines: sum(printed.startswith(line) for printed in lines) >= times, f"{times} × {line!r}")

    async def until(self, condition: Callable[[Sequence[str]], bool], description: str) -> None:
        """Wait until the condition holds for what has been printed."""
        try:
            await wait_until(lambda: condition(self.lines) or self._reading.done(), f"the program prints {description}", 20)
        except AssertionError as error:
            error.add_note("\n".join(["It has printed:", *self.lines]))
            raise
        assert condition(self.lines), "\n".join(["The program has ended and has printed:", *self.lines])

    async def interrupt(self) -> int:
        """Ctrl+C; gives the exit code."""
        self._process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            await self._reading
            return await self._process.wait()

    async def kill(self) -> None:
        """End it where it has not ended."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._reading
        await self._process.wait()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.lines.append(line.decode().rstrip("\n"))


@asynccontextmanager
async def run(*arguments: str | Path) -> AsyncGenerator[Program]:
    """Run a program; both its streams are read as one."""
    process = await asyncio.create_subprocess_exec(
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")},
    )
    program = Program(process)
    try:
        yield program
    finally:
        await program.kill()
