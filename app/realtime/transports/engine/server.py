"""The Engine.IO server: its sessions, and which request is for which of them.

It has what python-socketio's ``AsyncServer`` asks of its engine: ``on``, ``send``, ``handle_request``, ``generate_id``,
``shutdown`` and ``async_mode``.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import orjson

from app.realtime.hub.hub import Hub
from app.realtime.transports.engine import packet, polling, websocket
from app.realtime.transports.engine.request import Receive, Request, Send
from app.realtime.transports.engine.session import Reason, Session
from app.realtime.transports.tasks import Tasks

_logger = logging.getLogger(__name__)

_TRANSPORTS = ("polling", "websocket")


class Engine:
    """The sessions of this process."""

    async_mode = "asgi"

    def __init__(
        self,
        hub: Hub,
        *,
        allows_origin: Callable[[Mapping[str, Any]], bool],
        ping_interval: float,
        ping_timeout: float,
        worker: str = "",
    ) -> None:
        """``allows_origin`` judges the web page that sends a request, by the request's scope.

        ``worker`` is the number of this process if several serve one port; it stands in the ids of its sessions.
        """
        self.hub = hub
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.sessions: dict[str, Session] = {}
        self._allows_origin = allows_origin
        self._worker = worker
        self._handlers: dict[str, Callable[..., Awaitable[None]]] = {}
        self._tasks = Tasks()

    # ------------------------------------------------------------ for the layer above

    def on(self, event: str, handler: Callable[..., Awaitable[None]]) -> None:
        """Set the handler of ``connect(sid, session)``, ``message(sid, data)`` or ``disconnect(sid, reason)``."""
        self._handlers[event] = handler

    def handler(self, event: str) -> Callable[..., Awaitable[None]]:
        """Return the handler of an event."""
        return self._handlers[event]

    async def send(self, sid: str, data: str | bytes) -> None:
        """Send a message to a session, if it is still there."""
        session = self.sessions.get(sid)
        if session is not None:
            session.send(data)

    def generate_id(self) -> str:
        """Return an id that cannot be guessed. It names the worker that the session lives in, if there are several."""
        id = secrets.token_urlsafe(15)
        return f"w{self._worker}.{id}" if self._worker else id

    async def shutdown(self) -> None:
        """End every session, and wait until the layer above knows."""
        for session in list(self.sessions.values()):
            session.end(Reason.SERVER, abort=True)
        await self._tasks.finished()

    # ------------------------------------------------------------ for sessions

    async def receive(self, session: Session, data: str | bytes) -> None:
        """Pass a message on. Raises InvalidPacket."""
        try:
            await self._handlers["message"](session.sid, data)
        except packet.InvalidPacket:
            raise
        except Exception:
            _logger.exception("failed to take in a message of session %s", session.sid)
            session.end(Reason.TRANSPORT_ERROR, abort=True)

    def forget(self, session: Session, reason: str) -> None:
        """Take a session that has ended off the list."""
        if self.sessions.pop(session.sid, None) is not None:
            _logger.debug("session %s has ended: %s", session.sid, reason)
            self.spawn(self._handlers["disconnect"](session.sid, reason))

    def spawn(self, work: Awaitable[None]) -> None:
        """Run something that the caller cannot wait for. A failure is logged."""
        self._tasks.spawn(work)

    # ------------------------------------------------------------ requests

    async def handle_request(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, or serve a websocket."""
        request = Request(scope, receive, send)
        if request.is_websocket and (await receive())["type"] != "websocket.connect":
            return
        if not self._allows_origin(scope):
            await request.refuse(f"{request.header(b'origin')} is not an accepted origin.")
        elif request.method == "OPTIONS":
            await request.answer(b"ok")
        elif request.parameter("j") is not None:
            await request.refuse("JSONP is not served")  # a script has no origin that could be judged
        elif (sid := request.parameter("sid")) is not None:
            await self._continue(sid, request)
        else:
            await self._begin(request)

    async def _begin(self, request: Request) -> None:
        """Open a session."""
        transport = request.parameter("transport")
        if request.parameter("EIO") != "4":
            await request.refuse("The client is using an unsupported version of the Socket.IO or Engine.IO protocols")
        elif transport not in _TRANSPORTS:
            await request.refuse("Invalid transport")
        elif request.method == "POST":
            await request.refuse("Invalid session None")
        elif request.method not in ("GET", "HEAD"):
            await request.refuse("Invalid method")
        elif request.is_websocket != (transport == "websocket"):
            await request.refuse("Invalid websocket upgrade")
        elif len(self.sessions) >= 2 * self.hub.max_clients + 100:
            await request.refuse("Max clients reached")
        elif request.method == "HEAD":
            await request.answer_head()
        else:
            await self._open(transport, request)

    async def _open(self, transport: str, request: Request) -> None:
        session = Session(self, self.generate_id())
        self.sessions[session.sid] = session
        handshake = {
            "sid": session.sid,
            "upgrades": [] if request.is_websocket else ["websocket"],
            "pingTimeout": int(self.ping_timeout * 1000),
            "pingInterval": int(self.ping_interval * 1000),
            "maxPayload": packet.LARGEST_MESSAGE,
        }
        session.send_packet(b"0" + orjson.dumps(handshake))
        await self._handlers["connect"](session.sid, session)
        session.receive_pong()  # starts the heartbeat
        if request.is_websocket:
            await websocket.serve(session, self.hub, request)
        else:
            await polling.poll(session, request)

    async def _continue(self, sid: str, request: Request) -> None:
        """Pass a request on to its session."""
        session = self.sessions.get(sid)
        transport = request.parameter("transport")
        if session is None:
            await request.refuse(f"Invalid session {sid}")
        elif transport not in _TRANSPORTS:
            await request.refuse("Invalid transport")
        elif request.is_websocket and transport == "websocket":
            await websocket.change_over(session, self.hub, request)
        elif session.is_upgraded:
            await request.refuse("Unexpected HTTP request")
        elif request.is_websocket or transport != "polling":
            await request.refuse("Invalid transport")
        elif request.method == "GET":
            await polling.poll(session, request)
        elif request.method == "HEAD":
            await request.answer_head()
        elif request.method == "POST":
            await polling.post(session, request)
        else:
            await request.refuse("Invalid method")
