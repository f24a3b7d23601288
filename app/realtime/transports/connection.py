"""A client that sends events, over Socket.IO or a plain websocket: the answer to each of them, and its error."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import ceil
from typing import NamedTuple, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

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
from app.realtime.contract.compact import PriceFormat
from app.realtime.contract.publication import describe
from app.realtime.contract.requests import RequestPrice, Subscribe, Unsubscribe
from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import CutReason
from app.realtime.hub.subscription import Interest, Subscription
from app.realtime.log.cache import Cache
from app.realtime.monitoring.view import PriceView, server_stats
from app.realtime.transports.limit import RequestLimit

_logger = logging.getLogger(__name__)

FLOOD = 10
"""A client that goes beyond this many times its limit is cut off."""

_MOST_PAIRS = 1000
"""Names in one list, before they are looked at."""

_CAUGHT_UP_WITHIN = 2.0
"""Seconds that a resume waits for a replay that the client did not ask for."""

Request = TypeVar("Request", bound=BaseModel)


Answer = tuple[str, BaseModel | bytes]
"""The event that answers an event, and its body: a model, or JSON."""


class Connection:
    """A client that sends events: its limit, and the answers to its events."""

    __slots__ = ("_cache", "_client", "_hub", "_id", "_prices", "_then", "attachments", "limit")

    def __init__(
        self,
        client: Subscription,
        hub: Hub,
        prices: PriceView,
        cache: Cache,
        limit: RequestLimit,
        *,
        greet: bool = False,
        id: str = "",
    ) -> None:
        """``greet`` a client that is told what the gateway serves, with its ``id``, as its first event."""
        self._id = id
        self._client = client
        self._hub = hub
        self._prices = prices
        self._cache = cache
        self.limit = limit
        self._then: Callable[[], None] | None = self._greet if greet else None
        self.attachments = 0
        """Binary attachments that the client still owes."""

    def follow_up(self) -> None:
        """Do what has to come after the answer and its acknowledgement: greet a new client, send the snapshot."""
        then, self._then = self._then, None
        if then is not None and not self._client.closed:
            then()

    def _greet(self) -> None:
        hub = self._hub
        greeting = ConnectionEstablished(
            message="Connected to FX Data Pipeline WebSocket Server",
            timestamp=_now(),
            client_id=self._id,
            tracked_pairs=list(hub.pairs.names),
            pair_count=len(hub.pairs),
            max_clients=hub.max_clients,
            active_clients=hub.statistics.table.total_clients,
        )
        self._client.send_message("connection_established", orjson.dumps(greeting.model_dump()))

    async def receive(self, event: object, arguments: Sequence[object]) -> orjson.Fragment | None:
        """Answer one event of the client, whatever it is. Return the body of the answer, for the acknowledgement."""
        known = CLIENT_EVENTS.get(event) if isinstance(event, str) else None
        error_event = known.error_event if known else "server_error"
        answer: Answer | None
        try:
            self._count_request()
            if known is None:
                raise InvalidRequest(f"Unknown event: {event[:40]}" if isinstance(event, str) else "An event needs a name")
            answer = await known.handle(self, arguments[0] if arguments else None)
        except GatewayError as error:
            answer = error_event, _problem(error)
        except Exception:  # whatever fails is answered, so that the client does not have to guess
            _logger.exception("failed to answer %s", event if known else "an event")
            answer = error_event, Problem(error="Internal error", message="The request could not be answered")
        return None if answer is None else self._answer(answer)

    def refuse(self, reason: str) -> None:
        """Answer a message that is no event."""
        try:
            self._count_request()
            error: GatewayError = InvalidRequest(reason)
        except TooManyRequests as too_many:
            error = too_many
        self._answer(("server_error", _problem(error)))

    def _answer(self, answer: Answer) -> orjson.Fragment | None:
        if self._client.closed:
            return None
        name, body = answer
        data = body if isinstance(body, bytes) else orjson.dumps(body.model_dump())
        self._client.send_message(name, data)
        return orjson.Fragment(data)

    def _count_request(self) -> None:
        """Count one request against the limit. Raises TooManyRequests."""
        wait = self.limit.take()
        if wait:
            if self.limit.over > FLOOD * self.limit.requests:
                self._hub.cut(self._client, CutReason.FLOODING)
            raise TooManyRequests(f"Rate limit exceeded: {self.limit.requests} requests in {self.limit.window:g} s", wait)

    # ------------------------------------------------------------ client events

    async def subscribe(self, body: object) -> Answer | None:
        """Answer ``subscribe``. The list is accepted as a whole or not at all."""
        request = _read(Subscribe, body)
        asked = self._pairs(request.pairs)
        since, held = request.resumes_from, None
        if since is not None:
            try:
                held = await self._hub.holds(since)
            except LogUnavailable:
                held = None
            if self._client.closed:
                return None
            if self._client.has_fallen_back:
                await self._catch_up()
            if self._client.replaying:
                raise InvalidRequest("A resume is still under way")
        before = self._client.interest
        form = before.format if request.format is None else PriceFormat(request.format)
        interest = Interest(before.pairs | asked, request.max_hz, format=form)
        # What waits for a client that follows nothing yet is no place in the stream to resume from.
        position = self._hub.position_of(self._client) if before.follows else self._hub.cursor
        lost = since is not None and held is None
        self._then = partial(self._hub.follow, self._client, interest, held=held, snapshot=request.snapshot or lost)
        return "subscription_confirmed", SubscriptionConfirmed(
            pairs=self._ordered(interest.pairs),
            pair_count=len(interest.pairs),
            subscribed_to_all=self._is_all(interest.pairs),
            recovered=None if since is None else held is not None,
            conflated=self._left_out(),
            cursor=position if held is None else held.cursor,
            format=interest.format.value,
            sources=self._hub.book.sources(interest.pairs),
            timestamp=_now(),
        )

    async def unsubscribe(self, body: object) -> Answer:
        """Answer ``unsubscribe``. Pairs that the client does not follow are no error, unknown ones are."""
        request = _read(Unsubscribe, body)
        before = self._client.interest
        left = self._pairs(request.pairs) & before.pairs
        self._hub.follow(self._client, Interest(before.pairs - left, before.max_hz, format=before.format), snapshot=False)
        return "unsubscription_confirmed", UnsubscriptionConfirmed(
            pairs=self._ordered(left),
            message=f"Unsubscribed from {len(left)} pairs",
            conflated=self._left_out(),
            timestamp=_now(),
        )

    async def get_subscriptions(self, body: object) -> Answer:
        """Answer ``get_subscriptions``."""
        pairs = self._client.interest.pairs
        return "subscriptions_info", SubscriptionsInfo(
            subscribed_pairs=self._ordered(pairs),
            pair_count=len(pairs),
            subscribed_to_all=self._is_all(pairs),
            timestamp=_now(),
        )

    async def request_price(self, body: object) -> Answer:
        """Answer ``request_price``."""
        pair = self._hub.pairs.find(_read(RequestPrice, body).instrument)
        return "price_response", self._prices.current(pair)

    async def request_all_prices(self, body: object) -> Answer:
        """Answer ``request_all_prices``."""
        return "all_prices_response", self._prices.all()

    async def get_server_stats(self, body: object) -> Answer:
        """Answer ``get_server_stats``."""
        stats, thinning = await server_stats(self._hub, self._cache), self._client.thinning
        return "server_stats", stats.model_copy(update={"conflated": None if thinning is None else thinning.summary})

    async def ping(self, body: object) -> Answer:
        """Answer ``ping``. The cursor keeps a quiet client's position from ageing out of the log."""
        return "pong", Pong(timestamp=_now(), cursor=self._hub.position_of(self._client))

    async def _catch_up(self) -> None:
        """Wait a while for a client that has fallen back: it did not ask for what is replayed to it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CAUGHT_UP_WITHIN):
                while self._client.replaying and not self._client.closed:
                    await self._client.changed()

    def _left_out(self) -> int:
        """Return how many prices were left out for the client since its last confirmation."""
        return 0 if self._client.thinning is None else self._client.thinning.confirm()

    def _pairs(self, asked: object) -> frozenset[str]:
        if asked == "*":
            return frozenset(self._hub.pairs.names)
        assert isinstance(asked, list)
        return frozenset(self._hub.pairs.find(name).name for name in asked)

    def _ordered(self, pairs: frozenset[str]) -> list[str]:
        return [name for name in self._hub.pairs.names if name in pairs]

    def _is_all(self, pairs: frozenset[str]) -> bool:
        return len(pairs) == len(self._hub.pairs)


class ClientEvent(NamedTuple):
    """A documented client event: the method that answers it, and the event that carries its errors."""

    handle: Callable[[Connection, object], Awaitable[Answer | None]]
    error_event: str


CLIENT_EVENTS: Mapping[str, ClientEvent] = {
    "subscribe": ClientEvent(Connection.subscribe, "subscription_error"),
    "unsubscribe": ClientEvent(Connection.unsubscribe, "unsubscription_error"),
    "get_subscriptions": ClientEvent(Connection.get_subscriptions, "server_error"),
    "request_price": ClientEvent(Connection.request_price, "price_error"),
    "request_all_prices": ClientEvent(Connection.request_all_prices, "price_error"),
    "get_server_stats": ClientEvent(Connection.get_server_stats, "server_error"),
    "ping": ClientEvent(Connection.ping, "server_error"),
}


def _now() -> str:
    return rfc3339(utc_now())


def _read(model: type[Request], body: object) -> Request:
    """Return the request in a client's payload. Raises InvalidRequest."""
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
