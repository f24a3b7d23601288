"""Socket.IO: every documented client event, its answer and its error, on our Engine.IO."""

import logging
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Any, TypeVar

import orjson
import socketio
from pydantic import BaseModel, ValidationError
from socketio.exceptions import ConnectionRefusedError as Refused

from app.errors import GatewayError, InvalidRequest, LogUnavailable, NoPrice, TooManyRequests
from app.market.clock import rfc3339, utc_now
from app.realtime.contract.answers import (
    ConnectionEstablished,
    Pong,
    Problem,
    SubscriptionConfirmed,
    SubscriptionsInfo,
    UnsubscriptionConfirmed,
)
from app.realtime.contract.publication import describe
from app.realtime.contract.requests import RequestPrice, Subscribe, Unsubscribe
from app.realtime.hub.hub import Hub
from app.realtime.hub.subscription import Interest
from app.realtime.log.cache import Cache
from app.realtime.monitoring.view import PriceView, server_stats
from app.realtime.transports.engine import GatewayEngine, GatewaySocket, Json
from app.realtime.transports.limit import RequestLimit

_logger = logging.getLogger(__name__)

_FLOOD = 10
"""A client that goes on past this many times its limit is cut off."""

_MOST_ATTACHMENTS = 4

_MOST_PAIRS = 1000
"""Names in one list, before they are looked at."""

Request = TypeVar("Request", bound=BaseModel)


class Connection:
    """A Socket.IO client: its session, its limit, and the answers to its events."""

    __slots__ = ("_cache", "_client", "_hub", "_prices", "_session", "limit")

    def __init__(self, session: GatewaySocket, hub: Hub, prices: PriceView, cache: Cache, limit: RequestLimit) -> None:
        self._session = session
        self._client = session.client
        self._hub = hub
        self._prices = prices
        self._cache = cache
        self.limit = limit

    def established(self, client_id: str) -> None:
        """Greet the client."""
        hub = self._hub
        self._answer(
            "connection_established",
            ConnectionEstablished(
                message="Connected to FX Data Pipeline WebSocket Server",
                timestamp=_now(),
                client_id=client_id,
                tracked_pairs=list(hub.pairs.names),
                pair_count=len(hub.pairs),
                max_clients=hub.max_clients,
                active_clients=hub.statistics.table.total_clients,
            ),
            None,
        )

    async def receive(self, event: object, arguments: list[Any], ack: int | None) -> None:
        """Answer one event of the client, whatever it is."""
        known = _EVENTS.get(event) if isinstance(event, str) else None
        error_event = known.error_event if known else "server_error"
        try:
            self._count_request()
            if known is None:
                raise InvalidRequest(f"Unknown event: {event[:40]}" if isinstance(event, str) else "An event needs a name")
            await known.handle(self, arguments[0] if arguments else None, ack)
        except GatewayError as error:
            self._answer(error_event, _problem(error), ack)
        except Exception:  # whatever fails is answered; the client is not to guess
            _logger.exception("answering %s failed", event if known else "an event")
            self._answer(error_event, Problem(error="Internal error", message="The request could not be answered"), ack)

    def receive_unreadable(self) -> None:
        """Answer what could not be read as an event."""
        try:
            self._count_request()
            raise InvalidRequest("Invalid packet")
        except GatewayError as error:
            self._answer("server_error", _problem(error), None)

    def _count_request(self) -> None:
        wait = self.limit.take()
        if wait:
            if self.limit.over > _FLOOD * self.limit.requests:
                self._hub.cut(self._client, "flooding")
            raise TooManyRequests(f"Rate limit exceeded: {self.limit.requests} requests in {self.limit.window:g} s", wait)

    def _answer(self, name: str, body: BaseModel | bytes, ack: int | None) -> None:
        if self._client.closed:
            return
        data = body if isinstance(body, bytes) else orjson.dumps(body.model_dump())
        self._client.send_message(name, data)
        if ack is not None:
            self._session.send_packet(f"43{ack}[{data.decode()}]")

    # ------------------------------------------------------------ client events

    async def subscribe(self, body: object, ack: int | None) -> None:
        """``subscribe``: the list is taken as a whole or not at all."""
        request = _read(Subscribe, body)
        asked = self._pairs(request.pairs)
        held = None
        if request.since is not None:
            try:
                held = await self._hub.holds(request.since)
            except LogUnavailable:
                held = None
            if self._client.closed:
                return
            if self._client.replaying:
                raise InvalidRequest("A resume is still under way")
        before = self._client.interest
        interest = Interest(before.pairs | asked, request.max_hz)
        # What waits for a client that follows nothing yet is no place in the stream to resume from.
        stands = self._hub.position_of(self._client) if before.follows else self._hub.cursor
        self._answer(
            "subscription_confirmed",
            SubscriptionConfirmed(
                pairs=self._ordered(interest.pairs),
                pair_count=len(interest.pairs),
                subscribed_to_all=self._is_all(interest.pairs),
                recovered=None if request.since is None else held is not None,
                cursor=stands if held is None else held.cursor,
                timestamp=_now(),
            ),
            ack,
        )
        lost = request.since is not None and held is None
        self._hub.follow(self._client, interest, held=held, snapshot=request.snapshot or lost)

    async def unsubscribe(self, body: object, ack: int | None) -> None:
        """``unsubscribe``: pairs the client does not follow are no error, unknown ones are."""
        request = _read(Unsubscribe, body)
        before = self._client.interest
        left = self._pairs(request.pairs) & before.pairs
        self._hub.follow(self._client, Interest(before.pairs - left, before.max_hz), snapshot=False)
        self._answer(
            "unsubscription_confirmed",
            UnsubscriptionConfirmed(pairs=self._ordered(left), message=f"Unsubscribed from {len(left)} pairs", timestamp=_now()),
            ack,
        )

    async def get_subscriptions(self, body: object, ack: int | None) -> None:
        """``get_subscriptions``."""
        pairs = self._client.interest.pairs
        self._answer(
            "subscriptions_info",
            SubscriptionsInfo(
                subscribed_pairs=self._ordered(pairs),
                pair_count=len(pairs),
                subscribed_to_all=self._is_all(pairs),
                timestamp=_now(),
            ),
            ack,
        )

    async def request_price(self, body: object, ack: int | None) -> None:
        """``request_price``."""
        pair = self._hub.pairs.find(_read(RequestPrice, body).instrument)
        self._answer("price_response", self._prices.current(pair), ack)

    async def request_all_prices(self, body: object, ack: int | None) -> None:
        """``request_all_prices``."""
        self._answer("all_prices_response", self._prices.all(), ack)

    async def get_server_stats(self, body: object, ack: int | None) -> None:
        """``get_server_stats``."""
        self._answer("server_stats", await server_stats(self._hub, self._cache), ack)

    async def ping(self, body: object, ack: int | None) -> None:
        """``ping``: the cursor keeps a quiet subscription from ageing out of the log."""
        self._answer("pong", Pong(timestamp=_now(), cursor=self._hub.position_of(self._client)), ack)

    def _pairs(self, asked: object) -> frozenset[str]:
        if asked == "*":
            return frozenset(self._hub.pairs.names)
        assert isinstance(asked, list)
        return frozenset(self._hub.pairs.find(name).name for name in asked)

    def _ordered(self, pairs: frozenset[str]) -> list[str]:
        return [name for name in self._hub.pairs.names if name in pairs]

    def _is_all(self, pairs: frozenset[str]) -> bool:
        return len(pairs) == len(self._hub.pairs)


class ClientEvent:
    """A documented client event: who answers it, and the event that carries its errors."""

    def __init__(self, handle: Callable[[Connection, object, int | None], Awaitable[None]], error_event: str) -> None:
        self.handle = handle
        self.error_event = error_event


_EVENTS = {
    "subscribe": ClientEvent(Connection.subscribe, "subscription_error"),
    "unsubscribe": ClientEvent(Connection.unsubscribe, "unsubscription_error"),
    "get_subscriptions": ClientEvent(Connection.get_subscriptions, "server_error"),
    "request_price": ClientEvent(Connection.request_price, "price_error"),
    "request_all_prices": ClientEvent(Connection.request_all_prices, "price_error"),
    "get_server_stats": ClientEvent(Connection.get_server_stats, "server_error"),
    "ping": ClientEvent(Connection.ping, "server_error"),
}


class Sessions(socketio.AsyncManager):  # type: ignore[misc]
    """Who is connected to what. There are no rooms: the hub knows who wants which pair.

    The library gives each client a room of its own, which costs a kilobyte, and time for each of them whenever one leaves.
    """

    def basic_enter_room(self, sid: str, namespace: str, room: str | None, eio_sid: str | None = None) -> None:
        if room is None:
            super().basic_enter_room(sid, namespace, room, eio_sid)


class SocketServer(socketio.AsyncServer):  # type: ignore[misc]
    """The Socket.IO server: python-socketio's protocol, the hub's delivery."""

    def __init__(
        self,
        hub: Hub,
        prices: PriceView,
        cache: Cache,
        *,
        allows_origin: Callable[[str, dict[str, Any]], bool],
        new_limit: Callable[[], RequestLimit],
        ping_interval: float,
        ping_timeout: float,
        worker: str = "",
    ) -> None:
        """``allows_origin`` judges a web page's origin; ``new_limit`` gives each client a limit of its own.

        ``worker`` is the number of this process where several serve one port; it stands in the ids of its sessions.
        """
        quiet = logging.getLogger("app.realtime.protocol")
        super().__init__(
            async_mode="asgi",
            client_manager=Sessions(),
            json=Json,
            logger=quiet,
            engineio_logger=quiet,
            cors_allowed_origins=allows_origin,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            http_compression=False,
            async_handlers=False,
            namespaces=["/"],
        )
        self._hub = hub
        self._prices = prices
        self._cache = cache
        self._new_limit = new_limit
        self._connections: dict[str, Connection] = {}
        self.eio.hub = hub
        self.eio.worker = worker
        self.eio.unreadable = self._unreadable
        self.on("connect", self._connect)
        self.on("disconnect", self._disconnect)

    @property
    def asgi(self) -> socketio.ASGIApp:
        """The application to mount at ``/socket.io``."""
        return socketio.ASGIApp(self, socketio_path=None)

    def _engineio_server_class(self) -> type[GatewayEngine]:
        return GatewayEngine

    # ------------------------------------------------------------ connecting

    async def _connect(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        session = self._session(self.manager.eio_sid_from_sid(sid, "/"))
        try:
            self._hub.connect(session.client)
        except GatewayError as error:
            raise Refused(str(error)) from None
        self._connections[session.sid] = Connection(session, self._hub, self._prices, self._cache, self._new_limit())

    async def _disconnect(self, sid: str, reason: str) -> None:
        eio_sid = self.manager.eio_sid_from_sid(sid, "/")
        if self._connections.pop(eio_sid, None) is not None:
            session = self._session(eio_sid)
            self._hub.disconnect(session.client)
            session.await_connection()  # in vain: whoever has left is given some seconds to close the connection

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        await super()._handle_eio_connect(eio_sid, {})  # the request is not kept: nobody asks for it again

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: object) -> None:
        if eio_sid in self._connections and namespace in (None, "/"):
            raise ValueError("connected already")
        await super()._handle_connect(eio_sid, namespace, data)
        connection = self._connections.get(eio_sid)
        if connection is not None and namespace in (None, "/"):
            self._session(eio_sid).connected_to_namespace()
            connection.established(self.manager.sid_from_eio_sid(eio_sid, "/"))
        # A refused client has its reason. It may read it; it may not stay.

    # ------------------------------------------------------------ receiving

    async def _handle_eio_message(self, eio_sid: str, data: object) -> None:
        session = self.eio.sockets.get(eio_sid)
        if session is None or session.client.closed:
            return
        try:
            if self._is_misplaced(eio_sid, data):
                raise ValueError
            await super()._handle_eio_message(eio_sid, data)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            await self._unreadable(eio_sid)

    def _is_misplaced(self, eio_sid: str, data: object) -> bool:
        """True for what is no attachment where one is due, for one that is not due, and for none or too many announced."""
        if eio_sid in self._binary_packet:
            return not isinstance(data, bytes)
        if not isinstance(data, str):
            return True
        if data[:1] not in ("5", "6"):
            return False
        count = data[1:].partition("-")[0]
        return not (count.isdecimal() and 0 < int(count) <= _MOST_ATTACHMENTS)

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: object) -> None:
        connection = self._connections.get(eio_sid)
        if connection is None or namespace not in (None, "/") or not isinstance(data, list) or not data:
            raise ValueError("not an event of a connected client")
        await connection.receive(data[0], data[1:], id)

    async def _handle_ack(self, eio_sid: str, namespace: str | None, id: int | None, data: object) -> None:
        raise ValueError("nothing was sent that could be acknowledged")

    async def _unreadable(self, eio_sid: str) -> None:
        """Answer what is no packet. A session that has not connected has no events to be answered with; it ends."""
        self._binary_packet.pop(eio_sid, None)
        connection = self._connections.get(eio_sid)
        if connection is not None:
            connection.receive_unreadable()
        elif session := self.eio.sockets.get(eio_sid):
            session.client.cut("not a packet")

    def _session(self, eio_sid: str) -> GatewaySocket:
        session = self.eio.sockets[eio_sid]
        assert isinstance(session, GatewaySocket)
        return session


def _now() -> str:
    return rfc3339(utc_now())


def _read(model: type[Request], body: object) -> Request:
    """The request in a client's payload. Raises InvalidRequest."""
    if not isinstance(body, dict):
        example = next(iter(model.model_fields))
        raise InvalidRequest(f"Invalid payload: an object with {example!r} is needed")
    pairs = body.get("pairs")
    if isinstance(pairs, list) and len(pairs) > _MOST_PAIRS:
        raise InvalidRequest(f"Invalid payload: pairs: more than {_MOST_PAIRS}")
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise InvalidRequest(f"Invalid payload: {describe(error)}") from None


def _problem(error: GatewayError) -> Problem:
    match error:
        case NoPrice():
            return Problem(error=str(error), message="Run hourly cron job to populate prices")
        case TooManyRequests():
            return Problem(error=str(error), message=f"Try again in {ceil(error.retry_after)} s")
        case _:
            return Problem(error=str(error), message=(type(error).__doc__ or "").split(".")[0])
