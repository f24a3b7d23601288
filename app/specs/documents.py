"""The gateway described for machines: OpenAPI for REST, AsyncAPI for Socket.IO and the event streams.

Both are generated, so that neither can say other than the code does: the paths come from the application, the payloads
from the models.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from app.config import Settings
from app.main import VERSION, GatewayApp, create_app
from app.realtime.contract.messages import (
    EVENT_MODELS,
    AllPricesResponse,
    ConnectionEstablished,
    CorrelationAlert,
    DataReady,
    FeedStatus,
    Gap,
    Pong,
    PriceAlert,
    PriceResponse,
    PriceUpdate,
    Problem,
    RequestPrice,
    ServerStats,
    SourceChanged,
    StreamHeartbeat,
    StreamOpened,
    Subscribe,
    SubscriptionConfirmed,
    SubscriptionsInfo,
    Unsubscribe,
    UnsubscriptionConfirmed,
    VolatilityAlert,
)

Document = dict[str, Any]

OPENAPI_FILE = "openapi.json"
ASYNCAPI_FILE = "asyncapi.yaml"

_HOST = "localhost:5001"
_SCHEMAS = "#/components/schemas/{model}"
_WIDTH = 100
_LONG = 80


def write_specs(folder: Path) -> None:
    """Write ``openapi.json`` and ``asyncapi.yaml`` into a folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in spec_files().items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def spec_files() -> dict[str, str]:
    """Both documents as text, by the names of their files."""
    # Neither the environment nor a Redis has a say in the documents: defaults only, and nothing is opened.
    app = create_app(Settings.model_construct(), "redis://localhost")
    return {
        OPENAPI_FILE: json.dumps(openapi_document(app), indent=2, ensure_ascii=False) + "\n",
        ASYNCAPI_FILE: yaml.dump(asyncapi_document(), Dumper=_ReadableDumper, sort_keys=False, allow_unicode=True, width=_WIDTH),
    }


# ---------------------------------------------------------------- OpenAPI


def openapi_document(app: GatewayApp) -> Document:
    """The REST interface as OpenAPI 3.1, its paths and schemas in alphabetical order."""
    document = app.openapi()
    components = {kind: _sorted(named) for kind, named in _sorted(document.get("components", {})).items()}
    return {
        "openapi": document["openapi"],
        "info": document["info"],
        "servers": [{"url": f"http://{_HOST}"}],
        "paths": _sorted(document["paths"]),
        "components": components,
    } | {name: value for name, value in document.items() if name not in ("openapi", "info", "paths", "components")}


def _sorted(named: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(named.items()))


# ---------------------------------------------------------------- what is said


@dataclass(frozen=True, slots=True)
class SpokenMessage:
    """A message as the document describes it; the model is None where there is no payload."""

    summary: str
    model: type[BaseModel] | None = None
    examples: Mapping[str, Mapping[str, Any]] | None = None
    """Payloads by a name that says what each shows."""


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """An event a Socket.IO client sends: the event that answers it, and the one that carries its errors."""

    message: SpokenMessage
    description: str
    answer: str
    error: str


_ID = "1764000000000-0"
_LATER_ID = "1764000004211-0"
_TIME = "2026-01-30T09:30:00.123456Z"
_LATER = "2026-01-30T09:30:04.211037Z"
_PAIRS = ["EUR_USD", "GBP_USD"]
_EUR_USD = {"bid": "1.09450", "ask": "1.09470", "mid": "1.09460", "time": _TIME}
_GBP_USD = {"bid": "1.27120", "ask": "1.27141", "mid": "1.27130", "time": _TIME}

CLIENT_EVENTS = {
    "subscribe": ClientEvent(
        SpokenMessage(
            "Follow pairs",
            Subscribe,
            {
                "two_pairs": {"pairs": _PAIRS},
                "every_pair": {"pairs": "*"},
                "resume": {"pairs": _PAIRS, "since": _ID},
                "twice_a_second": {"pairs": ["EUR_USD"], "max_hz": 2},
                "news_only": {"pairs": ["EUR_USD"], "snapshot": False},
            },
        ),
        "Adds pairs to those the client follows. The list is taken as a whole: one unknown pair and nothing changes. "
        "After `subscription_confirmed` come the newest prices of the pairs that are new to the client (the snapshot) "
        "or, with `since`, everything it missed, then live events. `max_hz` holds for all pairs of the client; a "
        "`subscribe` without it lifts the limit.",
        "subscription_confirmed",
        "subscription_error",
    ),
    "unsubscribe": ClientEvent(
        SpokenMessage("Leave pairs", Unsubscribe, {"one_pair": {"pairs": ["EUR_USD"]}, "every_pair": {"pairs": "*"}}),
        "Takes pairs from those the client follows. Leaving a pair that it does not follow is no error.",
        "unsubscription_confirmed",
        "unsubscription_error",
    ),
    "get_subscriptions": ClientEvent(
        SpokenMessage("Ask which pairs are followed; it has no payload"),
        "Tells which pairs the client follows.",
        "subscriptions_info",
        "server_error",
    ),
    "request_price": ClientEvent(
        SpokenMessage("Ask for the newest price of a pair", RequestPrice, {"by_name": {"instrument": "EUR_USD"}}),
        "Tells the newest price of one pair, with its age, whether the client follows the pair or not.",
        "price_response",
        "price_error",
    ),
    "request_all_prices": ClientEvent(
        SpokenMessage("Ask for the newest prices of all pairs; it has no payload"),
        "Tells the newest price of every pair that has one.",
        "all_prices_response",
        "price_error",
    ),
    "get_server_stats": ClientEvent(
        SpokenMessage("Ask how busy the gateway is; it has no payload"),
        "Tells the clients and subscriptions of the process that answers, and the state of its Redis.",
        "server_stats",
        "server_error",
    ),
    "ping": ClientEvent(
        SpokenMessage("Ask for a sign of life; it has no payload"),
        "Measures the way to the gateway and back. The cursor of the answer keeps a quiet subscription from ageing out "
        "of the log.",
        "pong",
        "server_error",
    ),
}

LOG_EVENTS = {
    "price_update": SpokenMessage(
        "A new price of a pair",
        PriceUpdate,
        {
            "simulated": {
                "id": _ID,
                "instrument": "EUR_USD",
                "price": _EUR_USD,
                "source": "simulated",
                "timestamp": _TIME,
            },
            "synthetic": {
                "id": _ID,
                "instrument": "GBP_JPY",
                "price": {"bid": "191.402", "ask": "191.447", "mid": "191.424", "time": _TIME},
                "source": "kraken",
                "kind": "synthetic",
                "timestamp": _TIME,
            },
        },
    ),
    "volatility_alert": SpokenMessage(
        "The volatility of a pair has passed a threshold",
        VolatilityAlert,
        {
            "warning": {
                "id": _ID,
                "instrument": "EUR_USD",
                "volatility": 0.0234,
                "threshold": 0.02,
                "severity": "warning",
                "message": "Volatility (0.0234) exceeded threshold (0.02)",
                "timestamp": _TIME,
            }
        },
    ),
    "correlation_alert": SpokenMessage(
        "The correlation of two pairs has changed; a client that follows both gets it once",
        CorrelationAlert,
        {
            "negative": {
                "id": _ID,
                "pair1": "EUR_USD",
                "pair2": "USD_JPY",
                "correlation": -0.82,
                "threshold": 0.7,
                "severity": "info",
                "message": "Correlation between EUR_USD and USD_JPY changed to -0.82",
                "timestamp": _TIME,
            }
        },
    ),
    "price_alert": SpokenMessage(
        "A price has reached a level that somebody waits for",
        PriceAlert,
        {
            "above": {
                "id": _ID,
                "instrument": "EUR_USD",
                "level_id": "5e0e8a6c4f5b4b0f9d1c2a3b4c5d6e7f",
                "level": "1.09450",
                "direction": "above",
                "price": "1.09460",
                "severity": "info",
                "message": "EUR_USD rose to 1.09460, above 1.09450",
                "timestamp": _TIME,
            }
        },
    ),
    "data_ready": SpokenMessage(
        "New data can be fetched; every client gets this, subscribed or not",
        DataReady,
        {
            "prices": {
                "id": _ID,
                "data_type": "prices",
                "count": 20,
                "message": "prices data updated (20 records)",
                "timestamp": _TIME,
            }
        },
    ),
    "source_changed": SpokenMessage(
        "Prices come from another source from here on; every client gets this, subscribed or not",
        SourceChanged,
        {
            "taken_over": {
                "id": _ID,
                "source": "kraken",
                "previous": "oanda",
                "simulated": False,
                "reason": "oanda is silent",
                "timestamp": _TIME,
            }
        },
    ),
    "feed_status": SpokenMessage(
        "The source of prices has fallen silent, so that prices are stale, or is there again; every client gets this",
        FeedStatus,
        {
            "silent": {
                "id": _ID,
                "source": "oanda",
                "status": "silent",
                "message": "oanda is silent",
                "timestamp": _TIME,
            }
        },
    ),
    "gap": SpokenMessage(
        "Events between two cursors were lost on the server's side",
        Gap,
        {
            "three_lost": {
                "after": _ID,
                "before": _LATER_ID,
                "missed": 3,
                "message": "3 events were lost",
                "timestamp": _LATER,
            }
        },
    ),
}

SOCKET_EVENTS = {
    "connection_established": SpokenMessage(
        "The first event of every connection",
        ConnectionEstablished,
        {
            "two_pairs_tracked": {
                "message": "Connected to FX Data Pipeline WebSocket Server",
                "timestamp": _TIME,
                "client_id": "Zt4kXh0aQ2b7AAAB",
                "tracked_pairs": _PAIRS,
                "pair_count": 2,
                "max_clients": 1000,
                "active_clients": 5,
            }
        },
    ),
    **LOG_EVENTS,
    "subscription_confirmed": SpokenMessage(
        "Answers `subscribe`; `pairs` are all that the client follows from now on",
        SubscriptionConfirmed,
        {
            "first": {
                "pairs": _PAIRS,
                "pair_count": 2,
                "subscribed_to_all": False,
                "recovered": None,
                "cursor": _ID,
                "timestamp": _TIME,
            },
            "resumed": {
                "pairs": _PAIRS,
                "pair_count": 2,
                "subscribed_to_all": False,
                "recovered": True,
                "cursor": _ID,
                "timestamp": _LATER,
            },
        },
    ),
    "unsubscription_confirmed": SpokenMessage(
        "Answers `unsubscribe`; `pairs` are those that the client has left",
        UnsubscriptionConfirmed,
        {"one_left": {"pairs": ["EUR_USD"], "message": "Unsubscribed from 1 pairs", "timestamp": _TIME}},
    ),
    "subscriptions_info": SpokenMessage(
        "Answers `get_subscriptions`",
        SubscriptionsInfo,
        {
            "two_pairs": {
                "subscribed_pairs": _PAIRS,
                "pair_count": 2,
                "subscribed_to_all": False,
                "timestamp": _TIME,
            }
        },
    ),
    "price_response": SpokenMessage(
        "Answers `request_price`",
        PriceResponse,
        {
            "fresh": {
                "instrument": "EUR_USD",
                "price": _EUR_USD,
                "source": "simulated",
                "age_ms": 4087,
                "stale": False,
                "id": _ID,
                "timestamp": _LATER,
            }
        },
    ),
    "all_prices_response": SpokenMessage(
        "Answers `request_all_prices`",
        AllPricesResponse,
        {
            "two_pairs": {
                "prices": {
                    "EUR_USD": {**_EUR_USD, "source": "simulated", "age_ms": 4087, "stale": False},
                    "GBP_USD": {**_GBP_USD, "source": "simulated", "age_ms": 4087, "stale": False},
                },
                "pair_count": 2,
                "cursor": _LATER_ID,
                "timestamp": _LATER,
            }
        },
    ),
    "server_stats": SpokenMessage(
        "Answers `get_server_stats`",
        ServerStats,
        {
            "busy": {
                "timestamp": _TIME,
                "active_clients": 42,
                "max_clients": 1000,
                "total_subscriptions": 156,
                "average_subs_per_client": 3.71,
                "tracked_pairs": 20,
                "cache": {
                    "redis": {"host": "localhost", "port": 6379, "db": 0, "connected": True},
                    "memory": {"used_memory": "2.50MB", "maxmemory": "0"},
                    "stats": {"total_commands_processed": 1230, "instantaneous_ops_per_sec": 5},
                    "keys": {
                        "price_keys": 20,
                        "metric_keys": 20,
                        "correlation_keys": 1,
                        "best_pairs_keys": 1,
                        "total_keys": 44,
                    },
                },
                "recorder": {"behind_events": 12, "behind_ms": 240, "lost_events": 0},
                "workers": 2,
                "clients_by_transport": {"websocket": 30, "polling": 2, "sse": 10},
                "lagging_clients": 1,
                "events_delivered": 51_240,
                "prices_conflated": 310,
                "clients_cut_off": {"lagging for too long": 1, "ping timeout": 2},
                "gaps": 0,
            }
        },
    ),
    "pong": SpokenMessage("Answers `ping`", Pong, {"pong": {"timestamp": _TIME, "cursor": _ID}}),
    "subscription_error": SpokenMessage(
        "`subscribe` was refused; nothing has changed",
        Problem,
        {
            "unknown_pair": {
                "error": "Invalid instrument: INVALID_USD",
                "message": "Not a currency pair, or not one that this gateway tracks",
            }
        },
    ),
    "unsubscription_error": SpokenMessage(
        "`unsubscribe` was refused; nothing has changed",
        Problem,
        {
            "no_pairs": {
                "error": "Invalid payload: an object with 'pairs' is needed",
                "message": "A value a client sent that cannot be used",
            }
        },
    ),
    "price_error": SpokenMessage(
        "There is no such price",
        Problem,
        {"no_price": {"error": "No cached price for EUR_USD", "message": "Run hourly cron job to populate prices"}},
    ),
    "server_error": SpokenMessage(
        "A refusal that no other event carries: an unknown event, an unreadable packet, no place for a stream",
        Problem,
        {
            "unknown_event": {
                "error": "Unknown event: subscibe",
                "message": "A value a client sent that cannot be used",
            },
            "stream_refused": {
                "error": "Max clients reached: this gateway serves 1000 at once",
                "message": "Every place for a streaming client is taken; try again later",
            },
        },
    ),
}

STREAM_EVENTS = {
    "stream_opened": SpokenMessage(
        "The first event of every stream",
        StreamOpened,
        {
            "first": {"recovered": None, "pairs": _PAIRS, "cursor": _ID, "timestamp": _TIME},
            "resumed": {"recovered": True, "pairs": _PAIRS, "cursor": _ID, "timestamp": _LATER},
        },
    ),
    **LOG_EVENTS,
    "heartbeat": SpokenMessage(
        "The stream lives, and stands at this cursor; sent every 15 seconds",
        StreamHeartbeat,
        {"heartbeat": {"cursor": _LATER_ID, "timestamp": _LATER}},
    ),
    "server_error": SOCKET_EVENTS["server_error"],
}

_STREAM_REQUEST = SpokenMessage("The request that opens an event stream")

# ---------------------------------------------------------------- AsyncAPI

_DESCRIPTION = """\
Foreign-exchange prices and alerts over Socket.IO and over Server-Sent Events. All clients of both see the same events
of one log, in the same order and under the same ids.

- **Cursor.** Every event has an `id`, like `1764000000000-0`. The ids a client sees only rise, and the last one it saw
  is where it resumes from, on any node and over either transport. An event without an `id` is news, but no place to
  resume from: a price that `max_hz` held back past a newer event, or an event for a client that follows no pairs yet.
- **Snapshot.** A subscription begins with the newest price of each of its pairs, unless `snapshot` is false. The first
  live event follows the snapshot exactly: nothing is missing and nothing comes twice.
- **Resuming.** With a cursor (`since`, `last_event_id`, `Last-Event-ID`) a subscription begins with everything that was
  missed instead. `recovered` says whether that worked: true, or false where the log no longer holds the cursor and a
  snapshot follows, or null where no cursor was given.
- **`max_hz`** limits the prices of each pair to so many a second; of those that come too fast the newest wins. Alerts
  are never held back. Such a subscription resumes with its alerts and a snapshot: it asked for state, not history.
- **Gap.** Where the log itself lost events, a `gap` says between which cursors. It is never passed over in silence.
- **Slow clients** get the newest price of each pair and every alert as soon as they can take them. One that stays
  behind for too long is disconnected, and resumes from its cursor.

Prices are decimal strings at the pair's precision. Times are RFC 3339 in UTC. Prices whose `source` is `simulated` are
invented.
"""

_SOCKET_DESCRIPTION = """\
Socket.IO protocol 5 on Engine.IO 4, namespace `/`: what socket.io-client 3 and newer and python-socketio 5 and newer
speak, by WebSocket or by long polling. A message's name is the name of the event, its payload the event's one argument.

Every client event is answered by an event of its own. A client that emits it with an acknowledgement gets the same body
a second time, as the acknowledgement's one argument: the body of the answer, or that of the error, which has the member
`error`.

Where there is no place, or the gateway has not caught up with its log, the connection is refused with the reason in the
`message` of `connect_error`. A client that asks too often gets its error event, and is cut off where it goes on.
"""

_STREAM_DESCRIPTION = """\
Server-Sent Events as the WHATWG HTML standard has them. A message's name is the `event:` field, its payload the `data:`
field; `id:` is the cursor, on events that can be resumed from and on heartbeats. `retry:` comes first, and again when
the gateway stops.

A browser's EventSource comes back by itself and sends the last id as the header `Last-Event-ID`. A status other than
200 would stop it for good, so a client that accepts `text/event-stream` is refused with status 200 and the event
`server_error` where the reason will pass. Others get the status, as the REST interface describes it.
"""

_STREAM_QUERY: Document = {
    "last_event_id": {"type": "string", "description": "Resume after this event", "examples": [_ID]},
    "snapshot": {
        "type": "boolean",
        "default": True,
        "description": "Send the newest price of each pair first",
    },
    "max_hz": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1000,
        "description": "At most so many prices a second of each pair, the newest winning",
    },
}

_PAIRS_QUERY: Document = {
    "pairs": {
        "type": "string",
        "description": "Pairs in any accepted spelling, separated by commas, or `*` for all",
        "examples": ["EUR_USD,GBP_USD", "*"],
    }
}


def asyncapi_document() -> Document:
    """Socket.IO and the event streams as AsyncAPI 3.0."""
    requests = {name: event.message for name, event in CLIENT_EVENTS.items()}
    spoken = {**requests, **SOCKET_EVENTS, "stream_request": _STREAM_REQUEST, **STREAM_EVENTS}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "FX Gateway",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "websocket": {
                "host": _HOST,
                "protocol": "ws",
                "description": "Socket.IO over WebSocket",
            },
            "http": {
                "host": _HOST,
                "protocol": "http",
                "description": "Event streams, and Socket.IO by long polling",
            },
        },
        "channels": {
            "socketio": _socket_channel(),
            "stream_pair": _stream_channel(
                "/stream/{pair}",
                "The event stream of one pair",
                {"pair": {"description": "A pair in any accepted spelling", "examples": ["EUR_USD"]}},
            ),
            "stream_pairs": _stream_channel("/stream", "The event stream of several pairs", {}),
        },
        "operations": {
            **_socket_operations(),
            **_stream_operations("stream_pair", "one pair", {}),
            **_stream_operations("stream_pairs", "several pairs", _PAIRS_QUERY),
        },
        "components": {
            "messages": {name: _message(name, message) for name, message in spoken.items()},
            "schemas": _schemas(message.model for message in spoken.values() if message.model is not None),
        },
    }


def _socket_channel() -> Document:
    return {
        "address": "/socket.io/",
        "title": "Socket.IO",
        "summary": "Subscriptions, prices and alerts both ways",
        "description": _SOCKET_DESCRIPTION,
        "servers": [_ref("servers", "websocket"), _ref("servers", "http")],
        "messages": {name: _ref("components", "messages", name) for name in (*CLIENT_EVENTS, *SOCKET_EVENTS)},
        "bindings": {
            "ws": {
                "method": "GET",
                "query": {
                    "type": "object",
                    "required": ["EIO", "transport"],
                    "properties": {
                        "EIO": {"type": "string", "const": "4", "description": "The version of Engine.IO"},
                        "transport": {
                            "type": "string",
                            "enum": ["websocket", "polling"],
                            "description": "How the connection begins; one that polls may change to a WebSocket",
                        },
                    },
                },
                "bindingVersion": "0.1.0",
            }
        },
    }


def _socket_operations() -> Document:
    operations: Document = {}
    for name, event in CLIENT_EVENTS.items():
        operations[f"receive_{name}"] = {
            "action": "receive",
            "channel": _ref("channels", "socketio"),
            "summary": event.message.summary,
            "description": f"{event.description} An acknowledgement carries the same body as the answer.",
            "messages": [_ref("channels", "socketio", "messages", name)],
            "reply": {
                "channel": _ref("channels", "socketio"),
                "messages": [_ref("channels", "socketio", "messages", answer) for answer in (event.answer, event.error)],
            },
        }
    for name, message in SOCKET_EVENTS.items():
        operations[f"send_{name}"] = {
            "action": "send",
            "channel": _ref("channels", "socketio"),
            "summary": message.summary,
            "messages": [_ref("channels", "socketio", "messages", name)],
        }
    return operations


def _stream_channel(address: str, title: str, parameters: Document) -> Document:
    return {
        "address": address,
        "title": title,
        "description": _STREAM_DESCRIPTION,
        "servers": [_ref("servers", "http")],
        **({"parameters": parameters} if parameters else {}),
        "messages": {name: _ref("components", "messages", name) for name in ("stream_request", *STREAM_EVENTS)},
    }


def _stream_operations(channel: str, followed: str, query: Document) -> Document:
    def messages(*names: str) -> list[Document]:
        return [_ref("channels", channel, "messages", name) for name in names]

    return {
        f"open_{channel}": {
            "action": "receive",
            "channel": _ref("channels", channel),
            "summary": f"Open the event stream of {followed}",
            "description": "The answer never ends: `stream_opened`, then the snapshot or what was missed, then live "
            "events. Where there is no place it is `server_error` alone, and `retry:` says when to come back.",
            "messages": messages("stream_request"),
            "bindings": {
                "http": {
                    "method": "GET",
                    "query": {
                        "type": "object",
                        **({"required": list(query)} if query else {}),
                        "properties": {**query, **_STREAM_QUERY},
                    },
                    "bindingVersion": "0.3.0",
                }
            },
            "reply": {"channel": _ref("channels", channel), "messages": messages("stream_opened", "server_error")},
        },
        f"send_{channel}": {
            "action": "send",
            "channel": _ref("channels", channel),
            "summary": f"Prices and alerts of {followed}, and what concerns everyone, as they happen",
            "messages": messages(*STREAM_EVENTS),
        },
    }


def _message(name: str, message: SpokenMessage) -> Document:
    described: Document = {"name": name, "summary": message.summary}
    if message is _STREAM_REQUEST:
        described["headers"] = {
            "type": "object",
            "properties": {
                "Accept": {"type": "string", "examples": ["text/event-stream"]},
                "Last-Event-ID": {
                    "type": "string",
                    "description": "Resume after this event; wins over the query parameter",
                    "examples": [_ID],
                },
            },
        }
    if message.model is not None:
        described["payload"] = {"$ref": _SCHEMAS.format(model=message.model.__name__)}
        described["examples"] = [{"name": example, "payload": payload} for example, payload in (message.examples or {}).items()]
    return described


class _SchemasWithoutTitles(GenerateJsonSchema):
    """JSON schemas whose members are not given their own name a second time as a title."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _schemas(models: Iterable[type[BaseModel]]) -> Document:
    _, definitions = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)],
        ref_template=_SCHEMAS,
        schema_generator=_SchemasWithoutTitles,
    )
    schemas = _sorted(definitions["$defs"])
    for model in EVENT_MODELS.values():
        # What a client may not resume from is sent without the member: the model is that of the event in the log.
        required = schemas[model.__name__]["required"]
        if "id" in required:
            required.remove("id")
    return schemas


def _ref(*path: str) -> Document:
    return {"$ref": "#/" + "/".join(path)}


class _ReadableDumper(yaml.SafeDumper):
    """YAML to read: texts of several lines stand as they are, lists are indented, nothing points to another place."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else ">" if len(text) > _LONG else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_ReadableDumper.add_representer(str, _text)
