"""HTTP long-polling: a session's GET requests fetch packets, its POST requests bring some."""

import asyncio

from app.realtime.hub.statistics import CutReason
from app.realtime.transports.engine import packet
from app.realtime.transports.engine.request import Disconnected, Request, TooLarge
from app.realtime.transports.engine.session import Reason, Session
from app.realtime.wire.wire import Wire, WireUser, wire_of


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
    session.hear()
    try:
        wire = wire_of(request.scope)
        if wire is not None:
            await _answer_watched(session, request, wire)
        else:
            await _answer(session, request)
    except asyncio.CancelledError:
        session.end(Reason.TRANSPORT_CLOSE)
        raise
    finally:
        session.is_polling = False


async def _answer_watched(session: Session, request: Request, wire: Wire) -> None:
    session.poll_wire = wire
    wire.watch(_Watch(session, wire))
    try:
        await request.answer(packet.joined(await session.next_packets()))
        if (fetching := session.client.fetching) is not None:
            fetching.sent(lambda: wire.line.unsent())
    finally:
        wire.unwatch()


async def _answer(session: Session, request: Request) -> None:
    # Watched only until there is an answer: with the response complete, ASGI calls the client disconnected too.
    watch = asyncio.create_task(_end_when_disconnected(session, request))
    try:
        packets = await session.next_packets()
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    await request.answer(packet.joined(packets))


async def _end_when_disconnected(session: Session, request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    session.end(Reason.TRANSPORT_CLOSE)


class _Watch(WireUser):
    """Ends a session whose client leaves while it polls."""

    __slots__ = ("_session", "_wire")

    def __init__(self, session: Session, wire: Wire) -> None:
        self._session = session
        self._wire = wire

    def wire_gone(self) -> None:
        if self._wire.has_vanished:
            self._session.cut(CutReason.VANISHED)
        self._session.end(Reason.TRANSPORT_CLOSE)


async def post(session: Session, request: Request) -> None:
    """Take in the packets of a request, in their order."""
    try:
        packets = packet.split(await request.body(packet.LARGEST_MESSAGE))
    except TooLarge:
        session.end(Reason.TRANSPORT_ERROR)
        await request.refuse(f"The body has more than {packet.LARGEST_MESSAGE} bytes", 413)
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
