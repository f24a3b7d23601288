"""HTTP long-polling: a session's GET requests fetch packets, its POST requests bring some."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

from app.realtime.hub.statistics import CutReason
from app.realtime.transports.engine import packet
from app.realtime.transports.engine.request import Disconnected, Request, TooLarge
from app.realtime.transports.engine.session import Reason, Session
from app.realtime.wire.wire import WireUser, wire_of


async def poll(session: Session, request: Request) -> None:
    """Answer with the packets that wait, as soon as there are any.

    A second poll while one waits ends the session, and so does a client that leaves before it has its answer: the packets
    would be lost without notice. It comes back with its cursor and misses nothing.
    """
    if session.is_polling:
        session.end(Reason.TRANSPORT_ERROR)
        await request.refuse("A poll of this session is waiting already")
        return
    session.is_polling = True
    try:
        async with _watched(request, partial(session.end, Reason.TRANSPORT_CLOSE)):
            await request.answer(packet.joined(await session.next_packets()))
    except asyncio.CancelledError:
        session.end(Reason.TRANSPORT_CLOSE)
        raise
    finally:
        session.is_polling = False


async def post(session: Session, request: Request) -> None:
    """Take in the packets of a request, in their order."""
    try:
        packets = packet.split(await request.body(packet.LARGEST_MESSAGE))
    except TooLarge:
        session.end(Reason.TRANSPORT_ERROR)
        await request.refuse(f"More than {packet.LARGEST_MESSAGE} bytes")
        return
    except Disconnected:
        return
    if len(packets) > packet.MOST_PACKETS_A_POST:
        session.cut(CutReason.TOO_MANY_PACKETS)
        await request.refuse(f"More than {packet.MOST_PACKETS_A_POST} packets")
        return
    for encoded in packets:
        if session.is_closed:
            break
        await session.receive(encoded)
        await asyncio.sleep(0)  # a client that sends a lot at once does not keep the others waiting
    if session.was_invalid:
        await request.refuse("Invalid packet")
    else:
        await request.answer(b"ok")


class _Watch(WireUser):
    """Notices that the client of a request has left."""

    __slots__ = ("_gone",)

    def __init__(self, gone: Callable[[], None]) -> None:
        self._gone = gone

    def wire_gone(self) -> None:
        self._gone()


@asynccontextmanager
async def _watched(request: Request, gone: Callable[[], None]) -> AsyncGenerator[None]:
    """Call ``gone`` if the client leaves within the block."""
    wire = wire_of(request.scope)
    if wire is not None:
        wire.watch(_Watch(gone))
        try:
            yield
        finally:
            wire.unwatch()
        return
    task = asyncio.create_task(_disconnected(request, gone))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _disconnected(request: Request, gone: Callable[[], None]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    gone()
