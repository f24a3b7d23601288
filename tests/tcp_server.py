"""A TCP server that a test plays the other side with."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_TURNS_OF_AN_ACCEPT = 4
"""How many turns of the event loop asyncio takes from a connection that it accepts to the first line that serves it."""


async def all_accepted() -> None:
    """Return when the connections that asyncio has accepted by now are served; a server that stops before would forget them."""
    for _ in range(_TURNS_OF_AN_ACCEPT):
        await asyncio.sleep(0)


@asynccontextmanager
async def tcp_server(serve: Serve, port: int = 0, limit: int = 1 << 16) -> AsyncGenerator[int]:
    """A server on this machine; yields its port, some free one unless told.

    ``serve`` has one connection, which is closed when it returns; that the client leaves meanwhile is no error, and any other
    error is raised in the end. ``limit`` is the most bytes that its reader looks through for a separator. In the end nobody is
    connected: who still is there is cut off, for asyncio alone would leave connections open until the collector finds them.
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
        raise ExceptionGroup("what a connection could not be served for", failures)
