"""Socket.IO on our Engine.IO server: python-socketio keeps namespaces, events and acknowledgements.

Protocol: https://github.com/socketio/socket.io-protocol
"""

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import socketio
from socketio.exceptions import ConnectionRefusedError as Refused

from app.errors import GatewayError
from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import CutReason
from app.realtime.log.cache import Cache
from app.realtime.monitoring.view import PriceView
from app.realtime.transports.connection import FLOOD, Connection
from app.realtime.transports.engine.packet import InvalidPacket
from app.realtime.transports.engine.server import Engine
from app.realtime.transports.engine.session import Session
from app.realtime.transports.limit import RequestLimit

_MOST_ATTACHMENTS = 4

_CONNECT, _DISCONNECT, _EVENT, _BINARY_EVENT = "0", "1", "2", "5"

_HEAD = re.compile(r"([0125])(?:(\d{1,10})-)?(?:(/[^,]*)(?:,|\Z))?", re.ASCII)
"""Type, number of attachments and namespace of a packet."""

_EVENT_DATA = re.compile(r'\d{0,100}\[\s*+(?:"((?:[^"\\]++|\\.)*+)"|-?\d)', re.ASCII)
"""An acknowledgement's id, and the list that an event is, up to its name."""

RESERVED = frozenset(("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"))
"""Names that a client may not give to an event; for python-socketio two of them are its own."""


class Json:
    """orjson in the form of the standard module. Nesting that is too deep is an error, not a recursion."""

    @staticmethod
    def dumps(value: object, **_: object) -> str:
        """Return the JSON text of a value."""
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_: object) -> Any:
        """Return the value of a JSON text. Raises ValueError."""
        return orjson.loads(text)


class Sessions(socketio.AsyncManager):  # type: ignore[misc]
    """Which session is connected to which namespace. There are no rooms: the hub knows which client wants which pair.

    The library gives each client a room of its own, which costs a kilobyte, and on every disconnect it looks through all of them.
    """

    def basic_enter_room(self, sid: str, namespace: str, room: str | None, eio_sid: str | None = None) -> None:
        if room is None:
            super().basic_enter_room(sid, namespace, room, eio_sid)


class SocketServer(socketio.AsyncServer):  # type: ignore[misc]
    """The Socket.IO server: python-socketio's protocol, our engine, the hub's delivery.

    The engine gives the library its ``Session`` in the place of a WSGI environment.
    """

    def __init__(
        self,
        hub: Hub,
        prices: PriceView,
        cache: Cache,
        *,
        allows_origin: Callable[[Mapping[str, Any]], bool],
        new_limit: Callable[[], RequestLimit],
        ping_interval: float,
        ping_timeout: float,
        worker: str = "",
    ) -> None:
        """``new_limit`` gives each client a limit of its own; the other options are those of ``Engine``."""
        self._engine = Engine(
            hub, allows_origin=allows_origin, ping_interval=ping_interval, ping_timeout=ping_timeout, worker=worker
        )
        super().__init__(
            client_manager=Sessions(),
            json=Json,
            logger=logging.getLogger("app.realtime.protocol"),
            async_handlers=False,
            namespaces="*",
        )
        self._dispatch = self._engine.handler("message")
        self._engine.on("message", self._receive)
        self.register_namespace(_MainNamespace(hub, prices, cache, new_limit))
        self.register_namespace(_UnknownNamespaces("*"))

    @property
    def engine(self) -> Engine:
        """The Engine.IO server under this one."""
        return self._engine

    @property
    def asgi(self) -> socketio.ASGIApp:
        """The application to mount at ``/socket.io``."""
        return socketio.ASGIApp(self, socketio_path=None)

    def _engineio_server_class(self) -> Callable[..., Engine]:
        return lambda **_: self._engine

    async def _receive(self, sid: str, data: str | bytes) -> None:
        """Take in a Socket.IO packet. Raises InvalidPacket."""
        session = self._engine.sessions.get(sid)
        if session is None:
            return
        _check(session, data)
        try:
            await self._dispatch(sid, data)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            # What the library raises for JSON that is none and for attachments that do not fit. Our handlers raise nothing.
            raise InvalidPacket("not a packet of Socket.IO") from None
        if isinstance(session.user, Connection):
            session.user.follow_up()


class _MainNamespace(socketio.AsyncNamespace):  # type: ignore[misc]
    """The namespace ``/``, to which clients connect."""

    def __init__(self, hub: Hub, prices: PriceView, cache: Cache, new_limit: Callable[[], RequestLimit]) -> None:
        super().__init__("/")
        self._hub = hub
        self._prices = prices
        self._cache = cache
        self._new_limit = new_limit

    async def trigger_event(self, event: object, sid: str, *arguments: Any) -> Any:
        """Handle an event of the library or of a client, and return what is to be acknowledged."""
        session = self.server.get_environ(sid)
        assert isinstance(session, Session)
        if event == "connect":
            self._connect(sid, session)
            return None
        if event == "disconnect":
            self._disconnect(session)
            return None
        assert isinstance(session.user, Connection)
        return await session.user.receive(event, arguments)

    def _connect(self, sid: str, session: Session) -> None:
        """Take a client in. A refused one is told why; it may try again, but not stay."""
        limit = session.user if isinstance(session.user, RequestLimit) else self._new_limit()
        if limit.made and limit.take():  # the client has left before, and would get a fresh limit each time
            if limit.over > FLOOD * limit.requests:
                session.cut(CutReason.FLOODING)
            raise Refused("Rate limit exceeded")
        try:
            self._hub.connect(session.client)
        except GatewayError as error:
            raise Refused(str(error)) from None
        session.connected_to_namespace()
        session.user = Connection(session.client, self._hub, self._prices, self._cache, limit, greet=True, id=sid)

    def _disconnect(self, session: Session) -> None:
        if isinstance(session.user, Connection):
            session.user = session.user.limit  # of the next connection as well
        self._hub.disconnect(session.client)
        if not session.is_closed:
            session.left_namespace()


class _UnknownNamespaces(socketio.AsyncNamespace):  # type: ignore[misc]
    """Every other namespace. The library's own refusal has no ``message``, which stock clients show."""

    async def trigger_event(self, event: str, *arguments: Any) -> None:
        if event == "connect":
            raise Refused("Invalid namespace")


def _check(session: Session, data: str | bytes) -> None:
    """Raise InvalidPacket for what is no packet, or none that the client may send now."""
    connection = session.user if isinstance(session.user, Connection) else None
    if connection is not None and connection.attachments:
        connection.attachments -= 1
        if not isinstance(data, bytes):
            raise InvalidPacket("an attachment is due")
        return
    head = _HEAD.match(data) if isinstance(data, str) else None
    if head is None:
        raise InvalidPacket("not a packet of Socket.IO")
    assert isinstance(data, str)
    kind, attachments, namespace = head.groups()
    is_main = (namespace or "/").partition("?")[0] == "/"
    rest = data[head.end() :]
    if (attachments is not None) != (kind == _BINARY_EVENT):
        raise InvalidPacket("attachments without a binary event, or the other way round")
    if kind == _CONNECT:
        if (connection is not None and is_main) or (rest and not rest.startswith("{")):
            raise InvalidPacket("connected already, or not a connection request")
    elif kind == _DISCONNECT:
        if rest:
            raise InvalidPacket("a disconnection has no data")
    elif connection is None or not is_main:
        raise InvalidPacket("not connected to this namespace")
    else:
        _check_event(rest)
        if kind == _BINARY_EVENT:
            if not 0 < int(attachments) <= _MOST_ATTACHMENTS:
                raise InvalidPacket("no attachments, or too many")
            connection.attachments = int(attachments)


def _check_event(data: str) -> None:
    match = _EVENT_DATA.match(data)
    if match is None:
        raise InvalidPacket("not an event")
    name = match[1]
    if name is not None and "\\" in name:
        try:
            name = orjson.loads(f'"{name}"')
        except ValueError:
            raise InvalidPacket("not an event") from None
    if name in RESERVED:
        raise InvalidPacket("a reserved name")
