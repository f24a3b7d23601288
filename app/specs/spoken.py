"""The messages of Socket.IO, event streams and plain websockets, as AsyncAPI describes them. Examples come from the models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from app.realtime.contract.answers import (
    AllPricesResponse,
    Conflated,
    ConnectionEstablished,
    Pong,
    PriceResponse,
    Problem,
    ServerStats,
    StreamClosing,
    StreamHeartbeat,
    StreamOpened,
    SubscriptionConfirmed,
    SubscriptionsInfo,
    UnsubscriptionConfirmed,
)
from app.realtime.contract.catalogue import EVENTS
from app.realtime.contract.compact import CompactPrice
from app.realtime.contract.fields import Message
from app.realtime.contract.requests import RequestPrice, Subscribe, Unsubscribe


@dataclass(frozen=True, slots=True)
class SpokenMessage:
    """A message of the document; ``model`` is None for one without a payload."""

    summary: str
    model: type[BaseModel] | None = None
    examples: Mapping[str, Any] | None = None
    """Payloads by a name that says what each one shows; None without a payload."""
    name: str | None = None
    """The name of its event where the message has another name in the document."""


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """An event that a client sends, the event that answers it, and the one that carries its errors."""

    message: SpokenMessage
    description: str
    answer: str
    error: str


def _spoken(summary: str, model: type[Message]) -> SpokenMessage:
    return SpokenMessage(summary, model, model.examples)


def _compact(name: str | None = None) -> SpokenMessage:
    """A price in the compact form, and the name of its event where it has one."""
    examples = {example: list(row) for example, row in CompactPrice.examples.items()}
    return SpokenMessage("A new price of a pair, where `format` is `compact`", CompactPrice, examples, name)


def _problem(summary: str, examples: Mapping[str, Problem]) -> SpokenMessage:
    """An error event: all share one model, and each has examples of its own."""
    return SpokenMessage(summary, Problem, {name: problem.model_dump() for name, problem in examples.items()})


CLIENT_EVENTS = {
    "subscribe": ClientEvent(
        _spoken("Follow pairs", Subscribe),
        "Adds pairs to those the client follows. The list is all or nothing: with one unknown pair nothing changes. "
        "After `subscription_confirmed` come the newest prices of the pairs that are new to the client (the snapshot) "
        "or, with `since`, everything it missed, then live events. `max_hz` applies to all pairs of the client; a "
        "`subscribe` without it lifts the limit. `format` applies to all pairs too, and stays until another is asked for.",
        "subscription_confirmed",
        "subscription_error",
    ),
    "unsubscribe": ClientEvent(
        _spoken("Leave pairs", Unsubscribe),
        "Removes pairs from those the client follows. Leaving a pair that it does not follow is no error.",
        "unsubscription_confirmed",
        "unsubscription_error",
    ),
    "get_subscriptions": ClientEvent(
        SpokenMessage("Ask which pairs are followed; it has no payload"),
        "Returns the pairs the client follows.",
        "subscriptions_info",
        "server_error",
    ),
    "request_price": ClientEvent(
        _spoken("Ask for the newest price of a pair", RequestPrice),
        "Returns the newest price of one pair, with its age, whether the client follows the pair or not.",
        "price_response",
        "price_error",
    ),
    "request_all_prices": ClientEvent(
        SpokenMessage("Ask for the newest prices of all pairs; it has no payload"),
        "Returns the newest price of every pair that has one.",
        "all_prices_response",
        "price_error",
    ),
    "get_server_stats": ClientEvent(
        SpokenMessage("Ask for statistics of the gateway; it has no payload"),
        "Returns the clients and subscriptions of the process that answers, and the state of its Redis.",
        "server_stats",
        "server_error",
    ),
    "ping": ClientEvent(
        SpokenMessage("Ask for a sign of life; it has no payload"),
        "Measures the round trip to the gateway. The cursor of the answer keeps a quiet subscription from ageing out of the log.",
        "pong",
        "server_error",
    ),
}

LOG_EVENTS = {type.value: _spoken(kind.summary, kind.model) for type, kind in EVENTS.items() if kind.model is not None}

CONFLATED = _spoken(
    "Prices were left out for this client, because its line is too slow for all of them; it has the newest of each pair",
    Conflated,
)

SOCKET_EVENTS = {
    "connection_established": _spoken("The first event of every connection", ConnectionEstablished),
    **LOG_EVENTS,
    "compact_price_update": _compact("price_update"),
    "subscription_confirmed": _spoken(
        "Answers `subscribe`; `pairs` are all that the client follows from now on", SubscriptionConfirmed
    ),
    "unsubscription_confirmed": _spoken(
        "Answers `unsubscribe`; `pairs` are those that the client has left", UnsubscriptionConfirmed
    ),
    "subscriptions_info": _spoken("Answers `get_subscriptions`", SubscriptionsInfo),
    "price_response": _spoken("Answers `request_price`", PriceResponse),
    "all_prices_response": _spoken("Answers `request_all_prices`", AllPricesResponse),
    "server_stats": _spoken("Answers `get_server_stats`", ServerStats),
    "pong": _spoken("Answers `ping`", Pong),
    "conflated": CONFLATED,
    "subscription_error": _problem(
        "`subscribe` was refused; nothing has changed",
        {
            "unknown_pair": Problem(
                error="Invalid instrument: INVALID_USD",
                message="Not a currency pair, or not one that this gateway tracks",
            )
        },
    ),
    "unsubscription_error": _problem(
        "`unsubscribe` was refused; nothing has changed",
        {
            "no_pairs": Problem(
                error="Invalid payload: an object with 'pairs' is needed",
                message="A value a client sent that cannot be used",
            )
        },
    ),
    "price_error": _problem(
        "There is no such price",
        {"no_price": Problem(error="No cached price for EUR_USD", message="Run hourly cron job to populate prices")},
    ),
    "server_error": _problem(
        "Any other refusal: an unknown event, an unreadable packet, no free place for a stream",
        {
            "unknown_event": Problem(
                error="Unknown event: subscibe",
                message="A value a client sent that cannot be used",
            ),
            "stream_refused": Problem(
                error="Max clients reached: this gateway serves 1000 at once",
                message="Every place for a streaming client is taken; try again later",
            ),
        },
    ),
}

STREAM_EVENTS = {
    "stream_opened": _spoken("The first event of every stream and plain websocket", StreamOpened),
    **LOG_EVENTS,
    "compact_price": _compact("message"),
    "heartbeat": _spoken("Shows that the connection is alive, and at which cursor; sent every 15 seconds", StreamHeartbeat),
    "conflated": CONFLATED,
    "server_error": SOCKET_EVENTS["server_error"],
}

PLAIN_EVENTS = {
    **{
        name: message
        for name, message in (STREAM_EVENTS | SOCKET_EVENTS).items()
        if message.model not in (ConnectionEstablished, CompactPrice)
    },
    "compact_message": _compact(),
    "stream_closing": _spoken("The last event of a plain websocket, as the gateway stops", StreamClosing),
}

STREAM_REQUEST = SpokenMessage("The request that opens an event stream")
