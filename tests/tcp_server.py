"""A TCP server that plays a client's peer in a test."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_TURNS_OF_AN_ACCEPT = 4
"""Turns of the event loop between accepting a connection and the first line of its handler in asyncio."""


async def all_accepted() -> None:
    """Return when the handlers of all connections accepted so far have started; a server stopped earlier would drop them."""
    for _ in range(_TURNS_OF_AN_ACCEPT):
        await asyncio.sleep(0)


@asynccontextmanager
async def tcp_server(serve: Serve, port: int = 0, limit: int = 1 << 16) -> AsyncGenerator[int]:
    """A server on localhost; yields its port, a free one by default.

    ``serve`` handles one connection, which is closed when it returns. A client that disconnects is no error; any other error is
    raised on exit. ``limit`` is the buffer limit of the reader. On exit, remaining connections are aborted: asyncio alone would
    leave them open until they are garbage-collected.
    """
    serving: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}
    failures: list[Exception] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving[writer] = asyncio.current_task()
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await serve(reader, writer)
                writer.close()
                await writer.wait_closed()
        except Exception as error:
            failures.append(error)
        finally:
            writer.close()
            del serving[writer]

    server = await asyncio.start_server(connected, "127.0.0.1", port, limit=limit)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await all_accepted()
        for writer in serving:
            writer.transport.abort()
        while tasks := list(filter(None, serving.values())):
            await asyncio.wait(tasks)
    if failures:
        raise ExceptionGroup("connections failed", failures)
