"""Engine.IO with our way of sending: nothing queues up, nothing waits for a client.

What python-engineio keeps is the protocol: handshake, ping cycle, polling requests, the upgrade. What it loses is its unbounded
queue and its writer task. Every packet goes through the client's ``Subscription``: straight to the connection where a wire
leads there, else through the bounded outbox. So all packets of a client have one order, whoever sends them.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import engineio
import orjson
from engineio import packet as eio_packet
from engineio.async_socket import AsyncSocket
from engineio.exceptions import EngineIOError, QueueEmpty

from app.realtime.frames import ENGINE_PACKETS, WEBSOCKET_FRAMES, websocket_text
from app.realtime.hub import Hub
from app.realtime.subscription import Subscription
from app.realtime.wire import Wire, wire_of

_logger = logging.getLogger(__name__)

LARGEST_MESSAGE = 1_100_000
"""Bytes of one message from a client."""

MOST_PACKETS_A_POLL = 16
"""Packets in one polling answer: python-engineio's client refuses more."""

CONNECT_WITHIN = 10.0
"""Seconds in which an Engine.IO session must become a Socket.IO connection."""


class Json:
    """orjson where the Socket.IO libraries expect the standard module: deep nesting is an error, not a recursion."""

    @staticmethod
    def dumps(value: object, **_: object) -> str:
        """JSON text."""
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_: object) -> Any:
        """The value of a JSON text. Raises ValueError."""
        return orjson.loads(text)


class EncodedPacket:
    """A packet that is encoded already, as the polling transport takes it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def encode(self, b64: bool = False) -> str:
        """The packet's text; only text packets are sent."""
        return self._text


class AsgiWebSocket(Protocol):
    """What python-engineio's ASGI driver hands to a websocket handler."""

    async def send(self, message: str) -> None: ...
    async def wait(self) -> str | bytes: ...
    async def close(self) -> None: ...


class GatewaySocket(AsyncSocket):  # type: ignore[misc]
    """One Engine.IO session."""

    def __init__(self, server: "GatewayEngine", sid: str) -> None:
        super().__init__(server, sid)
        self.connected = False
        self.last_ping: float | None = time.time()
        self._wire: Wire | None = None
        self._something_waits = asyncio.Event()
        self._next_poll: deque[bytes] = deque()
        self._ping_timer: asyncio.TimerHandle | None = None
        self._connect_timer: asyncio.TimerHandle | None = None
        self.await_connection()
        self.client = Subscription(
            sid,
            "polling",
            ENGINE_PACKETS,
            server.hub.bounds,
            cut=self._cut,
            finish=self._finish,
            wake=self._something_waits.set,
        )

    def await_connection(self) -> None:
        """Give the client some seconds to connect to a namespace; a session without one is of no use to anybody."""
        self._connect_timer = asyncio.get_running_loop().call_later(CONNECT_WITHIN, self._cut, "never connected")

    def connected_to_namespace(self) -> None:
        """The client has said what it wants to connect to."""
        if self._connect_timer is not None:
            self._connect_timer.cancel()
            self._connect_timer = None

    # ------------------------------------------------------------ sending

    async def send(self, pkt: eio_packet.Packet) -> None:
        self.send_packet(pkt.encode())

    def send_packet(self, text: str) -> None:
        """Send an Engine.IO text packet after all that was sent before."""
        if not self.closed:
            frame = text.encode()
            self.client.send_frame(frame if self.client.write is None else websocket_text(frame))

    async def poll(self) -> list[EncodedPacket]:
        """What waits for a polling client, as soon as something does."""
        if not (frames := self._take_for_poll()) and not self.closed:
            try:
                async with asyncio.timeout(self.server.ping_interval + self.server.ping_timeout):
                    await self._something_waits.wait()
            except TimeoutError:
                raise QueueEmpty from None
            frames = self._take_for_poll()
        if self.closed:
            frames = [b"1"]
        return [EncodedPacket(frame.decode()) for frame in frames]

    def _take_for_poll(self) -> list[bytes]:
        if not self._next_poll:
            self._next_poll.extend(self._take())
        return [self._next_poll.popleft() for _ in range(min(MOST_PACKETS_A_POLL, len(self._next_poll)))]

    def _take(self) -> list[bytes]:
        self._something_waits.clear()
        return self.client.take()

    # ------------------------------------------------------------ receiving

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:
        self._wire = wire_of(environ["asgi.scope"])
        return await super()._upgrade_websocket(environ)

    async def _websocket_handler(self, ws: AsgiWebSocket) -> None:
        try:
            if self.connected and not await self._probe(ws):
                return
            self.connected = self.upgraded = True
            if self._wire is None:
                await self._serve_without_wire(ws)
            else:
                self._take_wire(self._wire)
                await self._listen(ws)
        except (OSError, ValueError, EngineIOError):
            pass  # the connection is gone, or what came is no packet
        finally:
            await self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_CLOSE)

    async def _probe(self, ws: AsgiWebSocket) -> bool:
        """The upgrade from polling: the client tries the websocket, polling ends, then it says that it has changed over."""
        self.upgrading = True
        try:
            if await ws.wait() != "2probe":
                return False
            await ws.send("3probe")
            self.send_packet("6")
            return await ws.wait() == "5"
        finally:
            self.upgrading = False

    def _take_wire(self, wire: Wire) -> None:
        hub = self.server.hub
        wire.open(
            self.client.bounds.send_buffer_bytes,
            full=lambda: hub.pause(self.client),
            room=lambda: hub.resume(self.client),
            gone=lambda: hub.disconnect(self.client),
        )
        if self._next_poll:
            wire.transport.write(b"".join(map(websocket_text, self._next_poll)))
            self._next_poll.clear()
        hub.become_direct(self.client, WEBSOCKET_FRAMES, websocket_text, wire.transport.write, "websocket")

    async def _serve_without_wire(self, ws: AsgiWebSocket) -> None:
        self.client.transport = "websocket"
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write_to(ws))
            try:
                await self._listen(ws)
            finally:
                writer.cancel()

    async def _write_to(self, ws: AsgiWebSocket) -> None:
        while not self.closed:
            await self._something_waits.wait()
            while frames := self._take_for_poll():
                for frame in frames:
                    await ws.send(frame.decode())
        await ws.close()

    async def _listen(self, ws: AsgiWebSocket) -> None:
        while not self.closed:
            message = await ws.wait()
            if len(message) > LARGEST_MESSAGE:
                raise ValueError("packet is too large")
            await self.receive_text(message)

    async def receive_text(self, message: str | bytes) -> None:
        """Take in one Engine.IO packet; one that cannot be read is answered, not fatal."""
        try:
            packet = eio_packet.Packet(encoded_packet=message)
        except (ValueError, IndexError):
            await self.server.unreadable(self.sid)
            return
        if packet.packet_type in (eio_packet.MESSAGE, eio_packet.PONG, eio_packet.CLOSE, eio_packet.UPGRADE):
            await self.receive(packet)
        else:
            await self.server.unreadable(self.sid)

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        length = environ.get("CONTENT_LENGTH", "0")
        if not length.isdigit() or int(length) > LARGEST_MESSAGE:
            raise EngineIOError("payload too large")
        body = (await environ["wsgi.input"].read(int(length))).decode("utf-8", "replace")
        for text in body.split("\x1e") if body else ():
            await self.receive_text(text)

    # ------------------------------------------------------------ pings and the end

    def schedule_ping(self) -> None:
        if self.last_ping:
            self.last_ping = None
            self._ping_timer = asyncio.get_running_loop().call_later(self.server.ping_interval, self._ping)

    def _ping(self) -> None:
        if not self.closing and not self.closed:
            self.last_ping = time.time()
            if self.client.write is None:
                # Ahead of what waits: a slow client answers pings in time.
                self._next_poll.appendleft(b"2")
                self._something_waits.set()
            else:
                self.send_packet("2")

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        timed_out = reason == self.server.reason.PING_TIMEOUT
        await super().close(wait=False, abort=abort or timed_out, reason=reason)
        self.closed = True
        self.connected_to_namespace()
        if self._ping_timer is not None:
            self._ping_timer.cancel()
        self._something_waits.set()
        self.server.hub.disconnect(self.client)
        if timed_out and self._wire is not None:
            self._wire.abort()  # a peer that does not answer will not read a polite goodbye either

    def _cut(self, reason: str) -> None:
        _logger.debug("session %s is cut off: %s", self.sid, reason)
        if self._wire is not None:
            self._wire.abort()
        self.server.end(self, reason)

    def _finish(self) -> None:
        # uvicorn closes websockets with 1012, which makes clients come back; a poll that waits is answered with a close.
        if not self.upgraded:
            self.server.end(self, self.server.reason.SERVER_DISCONNECT)


class GatewayEngine(engineio.AsyncServer):  # type: ignore[misc]
    """The Engine.IO server: its sessions are ours, its limits too."""

    hub: Hub
    unreadable: Callable[[str], Awaitable[None]]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.start_service_task: bool
        self._ending: set[asyncio.Task[None]] = set()

    def end(self, session: GatewaySocket, reason: str) -> None:
        """Close a session from code that cannot wait."""
        task = asyncio.get_running_loop().create_task(session.close(wait=False, abort=True, reason=reason))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _cors_headers(self, environ: dict[str, Any]) -> list[tuple[str, str]]:
        # The application's CORS middleware writes them for every route; twice is an error to browsers.
        return []

    async def _handle_connect(self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None) -> Any:
        if len(self.sockets) >= 2 * self.hub.max_clients + 100:
            return self._bad_request("Max clients reached")
        if self.start_service_task:
            self.start_service_task = False
            self.service_task_handle = self.start_background_task(self._service_task)
        sid = self.generate_id()
        session = GatewaySocket(self, sid)
        self.sockets[sid] = session
        handshake = {
            "sid": sid,
            "upgrades": self._upgrades(sid, transport),
            "pingTimeout": int(self.ping_timeout * 1000),
            "pingInterval": int(self.ping_interval * 1000),
            "maxPayload": LARGEST_MESSAGE,
        }
        session.send_packet("0" + Json.dumps(handshake))
        await self._trigger_event("connect", sid, environ, run_async=False)
        session.schedule_ping()
        if transport == "websocket":
            answer = await session.handle_get_request(environ)
            if session.closed:
                self.sockets.pop(sid, None)
            return answer
        session.connected = True
        return self._ok(await session.poll(), jsonp_index=jsonp_index)
