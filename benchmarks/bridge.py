"""A bridge for servers that cannot read the log themselves: ``python -m benchmarks.bridge NAME REDIS_URL PROGRAM``.

``nchan`` starts nginx with that module and posts each event to its publisher location over one pipelined connection.
``floor`` starts the compiled ``floor.c`` and passes it the frames of each batch. The server stays on the cores this process was
started on; the bridge then moves to ``BRIDGE_CORES``. Its ready line names the process whose CPU time counts.
"""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from app.realtime.contract.event import Event
from app.realtime.log.log import EventLog, open_redis
from benchmarks.processes import PROCESS, READY

BRIDGE_CORES = "BRIDGE_CORES"
"""The variable with the cores of the bridge, comma separated; empty if processes are not pinned."""

Deliver = Callable[[Sequence[Event]], Coroutine[None, None, None]]

_STARTS_WITHIN = 10.0
_ROOM = 1 << 18

NGINX = """
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile 40000;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    nchan_shared_memory_size 128M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /publish {{
            nchan_publisher;
            nchan_channel_id prices;
            nchan_message_buffer_length 1000;
            nchan_message_timeout 1m;
        }}
        location = /subscribe {{
            nchan_subscriber websocket eventsource;
            nchan_channel_id prices;
            nchan_subscriber_first_message newest;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Bridged:
    """A server behind the bridge: its URL, the id of the serving process, and the function that delivers events to it."""

    url: str
    pid: int
    deliver: Deliver


@asynccontextmanager
async def nchan(module: str, folder: Path) -> AsyncGenerator[Bridged]:
    """Run nginx with one worker on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "nginx.conf").write_text(NGINX.format(module=module, folder=folder, port=port))
    command = ("nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf"))
    process = await asyncio.create_subprocess_exec(*command)
    try:
        reader, writer = await _connected(port)
        worker = psutil.Process(process.pid).children()[0].pid
        async with asyncio.TaskGroup() as tasks:
            answers = tasks.create_task(_read_away(reader))

            async def deliver(events: Sequence[Event]) -> None:
                writer.writelines(_post(b'["price_update",' + event.payload + b"]") for event in events)
                await writer.drain()

            yield Bridged(f"http://127.0.0.1:{port}", worker, deliver)
            answers.cancel()
        writer.close()
    finally:
        await _ended(process)


@asynccontextmanager
async def floor(program: str, folder: Path) -> AsyncGenerator[Bridged]:
    """Run the compiled loop of ``send``: a batch of events is one write to each client."""
    port_file = folder / "port"
    process = await asyncio.create_subprocess_exec(program, str(port_file), stdin=PIPE)
    assert process.stdin is not None
    into = process.stdin
    try:
        async with asyncio.timeout(_STARTS_WITHIN):
            while not (port_file.exists() and (port := port_file.read_text().strip())):  # noqa: ASYNC110 - another process writes the file
                await asyncio.sleep(0.01)

        async def deliver(events: Sequence[Event]) -> None:
            frames = b"".join(_frame(b'42["price_update",' + event.payload + b"]") for event in events)
            into.write(len(frames).to_bytes(4, "little") + frames)
            await into.drain()

        yield Bridged(f"http://127.0.0.1:{port}", process.pid, deliver)
    finally:
        into.close()
        await _ended(process)


async def bridge(name: str, redis_url: str, program: str) -> None:
    """Start the server and deliver every price in the log to it, until a signal ends the process."""
    start = {"nchan": nchan, "floor": floor}[name]
    async with start(program, Path.cwd()) as bridged, open_redis(redis_url) as redis:
        if cores := os.environ.get(BRIDGE_CORES):
            os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
        reader = EventLog(redis).reader()
        print(f"{READY}{bridged.url} {PROCESS}{bridged.pid}", flush=True)
        while True:
            if prices := [event for event in await reader.read(block_ms=2000) if event.is_price]:
                await bridged.deliver(prices)


def _post(body: bytes) -> bytes:
    return b"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _frame(text: bytes) -> bytes:
    """Return a websocket text frame as a server sends it: unmasked."""
    size = len(text)
    return (bytes([0x81, size]) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")) + text


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(_STARTS_WITHIN):
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)


async def _read_away(reader: asyncio.StreamReader) -> None:
    """Read and discard the responses: a connection whose responses are not read stalls."""
    while await reader.read(_ROOM):
        pass


async def _ended(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()


if __name__ == "__main__":
    asyncio.run(bridge(*sys.argv[1:]))
