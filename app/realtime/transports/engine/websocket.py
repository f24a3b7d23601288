"""Websockets of sessions: over the wire if the server offers one, otherwise through ASGI messages."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

from app.realtime.hub.frames import WEBSOCKET_FRAMES
from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import CutReason
from app.realtime.hub.subscription import Subscription
from app.realtime.transports.engine import packet
from app.realtime.transports.engine.request import Request
from app.realtime.transports.engine.session import Reason, Session
from app.realtime.transports.receiving import Receiver
from app.realtime.wire.wire import Wire, wire_of

PROBE_WITHIN = 10.0
"""Seconds in which a websocket must show that a polling session can change over to it."""


async def serve(session: Session, hub: Hub, request: Request) -> None:
    """Serve a new session over the websocket that it has begun with."""
    session.is_upgraded = True
    try:
        await request.accept()
    except OSError:
        session.end(Reason.TRANSPORT_CLOSE)
        return
    await _go_on(session, hub, request)


async def change_over(session: Session, hub: Hub, request: Request) -> None:
    """Change a session over from polling, if its client goes through with it. A session has one websocket at a time."""
    with suppress(OSError):  # the client left before the websocket was open
        await request.accept()
        if session.is_probing or session.is_upgraded:
            await request.close()
        elif await _probe(session, request):
            await _go_on(session, hub, request)


async def _probe(session: Session, request: Request) -> bool:
    """Return whether the client changes over. It tries the websocket, ends its poll, and says so."""
    session.is_probing = True
    try:
        async with asyncio.timeout(PROBE_WITHIN):
            if await request.read() != packet.PROBE:
                return False
            session.end_polls(True)
            await request.write(packet.PROBE_ANSWER)
            return await request.read() == packet.UPGRADE and not session.is_closed
    except OSError:  # disconnected, or too late
        return False
    finally:
        session.is_probing = False
        session.end_polls(False)


async def _go_on(session: Session, hub: Hub, request: Request) -> None:
    wire = wire_of(request.scope)
    if wire is not None:
        session.upgrade(WireLine(session, hub, wire))
        return
    line = AsgiLine(session, request)
    session.upgrade(line)
    await line.run()


class WireLine(Receiver):
    """A websocket that is written to past ASGI."""

    __slots__ = ("_hub", "_session")

    def __init__(self, session: Session, hub: Hub, wire: Wire) -> None:
        super().__init__(wire)
        self._session = session
        self._hub = hub
        wire.detach()
        wire.open(hub.bounds.send_buffer_bytes, self)

    def attach(self, client: Subscription) -> None:
        if self.wire.is_gone:
            return
        self._hub.become_direct(client, WEBSOCKET_FRAMES, packet.websocket_frame, self.wire.transport, "websocket", self.wire)

    def end(self, *, abort: bool) -> None:
        if self.wire.is_gone:
            return  # the server closes the connection, with a close frame of its own
        if abort:
            self.wire.abort()
        else:
            self.wire.finish(b"")

    def wire_full(self) -> None:
        self._hub.pause(self._session.client)

    def wire_has_room(self) -> None:
        self._hub.resume(self._session.client)

    def wire_gone(self) -> None:
        if self.wire.has_vanished:
            self._session.cut(CutReason.VANISHED)
        self._session.end(Reason.TRANSPORT_CLOSE)

    def wire_received(self, message: str | bytes) -> None:
        if message == packet.PONG and self._session.awaits_pong:  # nearly all that a client ever sends
            self._session.receive_pong()
            return
        super().wire_received(message)

    @property
    def has_ended(self) -> bool:
        return self._session.is_closed

    async def receive(self, message: str | bytes) -> None:
        await self._session.receive(message)

    def spawn(self, work: Awaitable[None]) -> None:
        self._session.spawn(work)


class AsgiLine:
    """A websocket under a server without a wire: one task reads and one writes."""

    wire = None

    def __init__(self, session: Session, request: Request) -> None:
        self._session = session
        self._request = request
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def attach(self, client: Subscription) -> None:
        client.change_transport("websocket")
        self._session.ring()

    def end(self, *, abort: bool) -> None:
        for task in self._tasks:
            task.cancel()

    async def run(self) -> None:
        """Read and write until the session or the connection ends."""
        self._tasks = tuple(asyncio.create_task(work) for work in (self._read(), self._write()))
        if self._session.is_closed:
            self.end(abort=True)
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.end(abort=True)
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._session.end(Reason.TRANSPORT_CLOSE)

    async def _read(self) -> None:
        while not self._session.is_closed:
            message = await self._request.read()
            if len(message) > packet.LARGEST_MESSAGE:
                return
            await self._session.receive(message)
            await asyncio.sleep(0)  # a client that sends a lot at once does not keep the others waiting

    async def _write(self) -> None:
        while True:
            while packets := self._session.take():
                for encoded in packets:
                    await self._request.write(packet.websocket_message(encoded))
            await self._session.something_waits()
