"""Other servers for the same events, written as their documentation shows: ``python -m benchmarks.peers NAME REDIS_URL``.

Each reads the same log as the gateway and sends the same payloads to the same clients.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import socketio
import uvicorn
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from app.market.pair import DEFAULT_PAIRS
from app.realtime.contract.event import Event
from app.realtime.log.log import EventLog, open_redis
from benchmarks.processes import READY

Send = Callable[[Event], Awaitable[None]]


@asynccontextmanager
async def following(redis_url: str, send: Send) -> AsyncGenerator[None]:
    """Call ``send`` for every price in the log, one after the other, until the context is left."""
    async with open_redis(redis_url) as redis:
        reader = EventLog(redis).reader()

        async def follow() -> None:
            while True:
                for event in await reader.read(block_ms=2000):
                    if event.is_price:
                        await send(event)

        following = asyncio.create_task(follow())
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


def python_socketio(redis_url: str) -> Any:
    """python-socketio: ``emit`` to one room per pair."""
    sio = socketio.AsyncServer(async_mode="asgi")

    @sio.event  # type: ignore[untyped-decorator]
    async def subscribe(sid: str, data: dict[str, Any]) -> None:
        for pair in DEFAULT_PAIRS if data["pairs"] == "*" else data["pairs"]:
            await sio.enter_room(sid, pair)
        await sio.emit("subscription_confirmed", {"pairs": data["pairs"]}, to=sid)

    async def send(event: Event) -> None:
        await sio.emit("price_update", orjson.loads(event.payload), room=event.pairs[0])

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with following(redis_url, send):
            yield

    return socketio.ASGIApp(sio, Starlette(lifespan=lifespan))


def sse_starlette(redis_url: str) -> Any:
    """sse-starlette: a queue and a generator per client."""
    queues: set[asyncio.Queue[Event]] = set()

    async def events() -> AsyncIterator[dict[str, str]]:
        queue: asyncio.Queue[Event] = asyncio.Queue()
        queues.add(queue)
        try:
            yield {"event": "stream_opened", "data": "{}"}
            while True:
                event = await queue.get()
                yield {"event": "price_update", "id": event.id, "data": event.payload.decode()}
        finally:
            queues.discard(queue)

    async def stream(_: Request) -> EventSourceResponse:
        return EventSourceResponse(events())

    async def send(event: Event) -> None:
        for queue in queues:
            queue.put_nowait(event)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with following(redis_url, send):
            yield

    return Starlette(routes=[Route("/stream", stream)], lifespan=lifespan)


def uvicorn_alone(_: str) -> Any:
    """Bare uvicorn: accept the connection and wait."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass
        else:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
            await send({"type": "http.response.body", "body": b": open\n\n", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass

    return application


PEERS: dict[str, Callable[[str], Any]] = {
    "python-socketio": python_socketio,
    "sse-starlette": sse_starlette,
    "uvicorn": uvicorn_alone,
}


class AnnouncingServer(uvicorn.Server):
    """uvicorn that prints its URL when it is ready."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets
        print(f"{READY}http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)


def serve(application: Any) -> None:
    """Serve on a free port until a signal stops the process."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    # Socket.IO sends pings of its own; those of uvicorn would only add cost.
    config = uvicorn.Config(
        application, log_level="warning", access_log=False, ws_ping_interval=None, timeout_graceful_shutdown=1
    )
    AnnouncingServer(config).run([listener])


if __name__ == "__main__":
    serve(PEERS[sys.argv[1]](sys.argv[2]))
