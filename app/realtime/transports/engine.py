"""Engine.IO with our way of sending: nothing queues up, nothing waits for a client.

What python-engineio keeps is the protocol: handshake, ping cycle, polling requests, the upgrade. What it loses is its unbounded
queue and its writer task. Every packet goes through the client's ``Subscription``: straight to the connection where a wire
leads there, else through the bounded outbox. So all packets of a client have one order, whoever sends them.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol

import engineio
import orjson
from engineio import packet as eio_packet
from engineio.async_socket import AsyncSocket
from engineio.exceptions import EngineIOError

from app.realtime.hub.delivery import Fetching
from app.realtime.hub.frames import ENGINE_PACKETS, WEBSOCKET_FRAMES, websocket_text
from app.realtime.hub.hub import Hub
from app.realtime.hub.subscription import Subscription
from app.realtime.wire.wire import Wire, WireUser, wire_of

_logger = logging.getLogger(__name__)

LARGEST_MESSAGE = 1_100_000
"""Bytes of one message from a client."""

MOST_PACKETS_A_POLL = 16
"""Packets in one polling answer: python-engineio's client refuses more."""

MOST_PACKETS_A_POST = 1000
"""Packets in one polling request."""

CONNECT_WITHIN = 10.0
"""Seconds in which an Engine.IO session must become a Socket.IO connection."""

PROBE_WITHIN = 10.0
"""Seconds in which a websocket must show that a polling session can change over to it."""

_PONG = "3"

_MOST_UNREAD = 16
"""Messages of a client that wait to be taken in before no more are read."""


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


class GatewaySocket(AsyncSocket, WireUser):  # type: ignore[misc]
    """One Engine.IO session."""

    def __init__(self, server: "GatewayEngine", sid: str) -> None:
        super().__init__(server, sid)
        self.queue = None  # the library's own, which nothing goes through
        self.connected = False
        self._has_websocket = False
        self._wire: Wire | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._bell: asyncio.Event | None = None
        self._next_poll: Sequence[bytes] = ()
        self._received: list[str | bytes] = []
        self._receiving = False
        self._awaits_pong = True  # of the ping that was never sent, so that the first one is
        self._ping_timer: asyncio.TimerHandle | None = None
        self._connect_timer: asyncio.TimerHandle | None = None
        self.await_connection()
        self.client = Subscription(
            sid,
            "polling",
            ENGINE_PACKETS,
            server.hub.bounds,
            Fetching(self._wake),
            cut=self._cut,
            finish=self._finish,
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
        if not self.client.closed:
            frame = text.encode()
            self.client.send_frame(websocket_text(frame) if self.client.is_direct else frame)

    async def poll(self) -> list[EncodedPacket]:
        """What waits for a polling client, as soon as something does."""
        frames: Sequence[bytes] = ()
        while not self.closed and not self.upgraded and not (frames := self._take_for_poll()):
            await self._something_waits()  # a ping at the longest
        if not frames:
            frames = [b"1" if self.closed else b"6"]
        return [EncodedPacket(frame.decode()) for frame in frames]

    def _take_for_poll(self) -> Sequence[bytes]:
        waiting = self._next_poll or self.client.take()
        self._next_poll = waiting[MOST_PACKETS_A_POLL:]
        return waiting[:MOST_PACKETS_A_POLL]

    def _wake(self) -> None:
        if self._bell is not None:
            self._bell.set()

    async def _something_waits(self) -> None:
        # Made when it is needed: an event is not small, and most clients have a wire.
        self._bell = self._bell or asyncio.Event()
        self._bell.clear()
        await self._bell.wait()

    # ------------------------------------------------------------ receiving

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:
        if self._has_websocket:
            return self.server._bad_request("This session has a websocket")
        self._has_websocket = True
        try:
            serve = partial(self._serve_websocket, wire_of(environ["asgi.scope"]))
            return await self.server._async["websocket"](serve, self.server)(environ)
        finally:
            self._has_websocket = False

    async def _serve_websocket(self, wire: Wire | None, ws: AsgiWebSocket) -> None:
        if self.connected and not await self._probe(ws):
            return  # polling goes on
        self.connected = self.upgraded = True
        self._wake()  # a poll that still waits has an end
        if wire is not None:
            self._take_wire(wire)
            return
        try:
            await self._serve_without_wire(ws)
        except (OSError, ValueError):
            pass  # the connection is gone, or a message is too large
        finally:
            await self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_CLOSE)

    async def _probe(self, ws: AsgiWebSocket) -> bool:
        """The upgrade from polling: the client tries the websocket, polling ends, then it says that it has changed over."""
        try:
            async with asyncio.timeout(PROBE_WITHIN):
                if await ws.wait() != "2probe":
                    return False
                self.upgrading = True
                await ws.send("3probe")
                self.send_packet("6")
                return await ws.wait() == "5"
        except OSError:
            return False
        finally:
            self.upgrading = False

    def _take_wire(self, wire: Wire) -> None:
        """Send and receive past ASGI from here on, with no task that waits for what the client sends."""
        hub = self.server.hub
        self._wire = wire
        wire.detach()
        wire.open(self.client.bounds.send_buffer_bytes, self)
        if self.client.closed:
            return
        if self._next_poll:
            wire.transport.write(b"".join(map(websocket_text, self._next_poll)))
            self._next_poll = ()
        hub.become_direct(self.client, WEBSOCKET_FRAMES, websocket_text, wire.transport, "websocket")

    def wire_full(self) -> None:
        self.server.hub.pause(self.client)

    def wire_has_room(self) -> None:
        self.server.hub.resume(self.client)

    def wire_gone(self) -> None:
        self._leave()
        self.server.end(self, self.server.reason.TRANSPORT_CLOSE)

    def wire_received(self, message: str | bytes) -> None:
        if message == _PONG and self._awaits_pong:  # nearly all that a client ever sends
            self.schedule_ping()
            return
        self._received.append(message)
        if len(self._received) > _MOST_UNREAD and self._wire is not None:
            self._wire.transport.pause_reading()
        if not self._receiving:
            self._receiving = True
            self.server.work(self._receive_all())

    async def _receive_all(self) -> None:
        """Take in what the client has sent over the wire."""
        try:
            while self._received and not self.closed:
                messages, self._received = self._received, []
                for message in messages:
                    await self.receive_text(message)
                    await asyncio.sleep(0)  # whoever sends a lot at once does not keep the others waiting
                if self._wire is not None and not self._wire.transport.is_closing():
                    self._wire.transport.resume_reading()
            self._receiving = False
        except Exception:
            _logger.exception("what session %s has sent could not be taken in", self.sid)
            await self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_ERROR)

    async def _serve_without_wire(self, ws: AsgiWebSocket) -> None:
        self.client.change_transport("websocket")
        self._tasks = tuple(asyncio.create_task(work) for work in (self._listen(ws), self._write_to(ws)))
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._end_tasks()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _write_to(self, ws: AsgiWebSocket) -> None:
        while True:
            while frames := self._take_for_poll():
                for frame in frames:
                    await ws.send(frame.decode())
            await self._something_waits()

    async def _listen(self, ws: AsgiWebSocket) -> None:
        while not self.closed:
            message = await ws.wait()
            if len(message) > LARGEST_MESSAGE:
                raise ValueError("packet is too large")
            await self.receive_text(message)
            await asyncio.sleep(0)  # whoever sends a lot at once does not keep the others waiting

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
        length = environ.get("CONTENT_LENGTH", "")
        if not length.isdecimal() or int(length) > LARGEST_MESSAGE:
            raise EngineIOError("no length, or too large")
        body = (await environ["wsgi.input"].read(int(length))).decode("utf-8", "replace")
        packets = body.split("\x1e") if body else []
        if len(packets) > MOST_PACKETS_A_POST:
            self.client.cut("too many packets")
            return
        for text in packets:
            await self.receive_text(text)

    # ------------------------------------------------------------ pings and the end

    def schedule_ping(self) -> None:
        if self._awaits_pong and not self.closed:
            self._awaits_pong = False
            self._set_ping_timer(self.server.ping_interval, self._ping)

    def _ping(self) -> None:
        self._awaits_pong = True
        self.send_packet("2")
        self._set_ping_timer(self.server.ping_timeout, self._give_up)

    def _give_up(self) -> None:
        # Whoever does not answer will not read a polite goodbye either.
        self.client.cut(self.server.reason.PING_TIMEOUT)

    def _set_ping_timer(self, seconds: float, then: Callable[[], None]) -> None:
        if self._ping_timer is not None:
            self._ping_timer.cancel()
        self._ping_timer = asyncio.get_running_loop().call_later(seconds, then)

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        await super().close(wait=False, abort=abort, reason=reason)
        self.closed = True
        self.connected_to_namespace()
        if self._ping_timer is not None:
            self._ping_timer.cancel()
        self._wake()
        self._end_tasks()
        self._leave()
        if self._wire is not None:
            self._wire.finish(b"")
        self.server.sockets.pop(self.sid, None)

    def _leave(self) -> None:
        """From here on nothing is sent to the client, and nothing that it has sent is looked at."""
        self.server.hub.disconnect(self.client)
        self.client.close()

    def _cut(self, reason: str) -> None:
        _logger.debug("session %s is cut off: %s", self.sid, reason)
        self._leave()
        self.server.end(self, reason)
        if self._wire is not None:
            self._wire.abort()

    def _finish(self) -> None:
        # uvicorn closes websockets with 1012, which makes clients come back; a poll that waits is answered with a close.
        if not self.upgraded:
            self.server.end(self, self.server.reason.SERVER_DISCONNECT)


class GatewayEngine(engineio.AsyncServer):  # type: ignore[misc]
    """The Engine.IO server: its sessions are ours, its limits too."""

    hub: Hub
    unreadable: Callable[[str], Awaitable[None]]
    worker = ""

    def __init__(self, **options: Any) -> None:
        # Its monitor wakes for each client in turn, for ever. Here a session has a timer, and takes itself off the list.
        super().__init__(monitor_clients=False, **options)
        self._at_work: set[asyncio.Task[None]] = set()

    def work(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something from code that cannot wait."""
        task = asyncio.get_running_loop().create_task(work)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    def end(self, session: GatewaySocket, reason: str) -> None:
        """Close a session from code that cannot wait."""
        self.work(session.close(wait=False, abort=True, reason=reason))

    def generate_id(self) -> str:
        """A session id nobody can guess. It names the worker that the session lives in, where there are several."""
        id = secrets.token_urlsafe(15)
        return f"w{self.worker}.{id}" if self.worker else id

    def _cors_headers(self, environ: dict[str, Any]) -> list[tuple[str, str]]:
        # The application's CORS middleware writes them for every route; twice is an error to browsers.
        return []

    async def _handle_connect(self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None) -> Any:
        if jsonp_index is not None:
            return self._bad_request("JSONP is not served")  # a script has no origin that could be judged
        if len(self.sockets) >= 2 * self.hub.max_clients + 100:
            return self._bad_request("Max clients reached")
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
            return await session.handle_get_request(environ)
        session.connected = True
        return self._ok(await session.poll())
