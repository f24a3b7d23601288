"""Socket.IO, the event streams and the plain websocket as AsyncAPI, generated from the messages and their models."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from app.main import VERSION
from app.realtime.contract.catalogue import PAYLOADS
from app.realtime.contract.samples import ID
from app.specs.openapi import HOST, Document, in_order
from app.specs.spoken import CLIENT_EVENTS, PLAIN_EVENTS, SOCKET_EVENTS, STREAM_EVENTS, STREAM_REQUEST, SpokenMessage

_SCHEMAS = "#/components/schemas/{model}"

_DESCRIPTION = """\
Foreign-exchange prices and alerts over Socket.IO, Server-Sent Events and plain websockets. All clients see the same events
of one log, in the same order and under the same ids.

- **Cursor.** Every event has an `id`, like `1764000000000-0`. The ids a client sees only rise, and the last one it saw
  is where it resumes from, on any node and over any transport. An event without an `id` is news, but no place to
  resume from: a price that `max_hz` held back past a newer event, or an event for a client that follows no pairs yet.
- **Snapshot.** A subscription begins with the newest price of each of its pairs, unless `snapshot` is false. The first
  live event follows the snapshot exactly: nothing is missing and nothing is repeated.
- **Resuming.** With a cursor (`since`, or the header `Last-Event-ID`) a subscription begins with everything that was
  missed instead. `recovered` says whether that worked: true, or false where the log no longer holds the cursor and a
  snapshot follows, or null where no cursor was given.
- **`max_hz`** limits the prices of each pair per second; newer prices replace older ones that had to wait. Alerts are
  never held back. Such a subscription resumes with its alerts and a snapshot: it asked for state, not history.
- **Gap.** Where the log itself lost events, a `gap` says between which cursors. Loss is never silent.
- **Slow clients** get the newest price of each pair and every alert as their line carries them. `conflated` says which
  prices were left out for this client, and that it may resume from the cursor `to`. An event without an `id` is then
  one that an older one has yet to follow. A client that takes nothing for too long is disconnected.

Prices are decimal strings at the pair's precision. Times are RFC 3339 in UTC. Prices whose `source` is `simulated` are
invented.
"""

_SOCKET_DESCRIPTION = """\
Socket.IO protocol 5 on Engine.IO 4, namespace `/`: what socket.io-client 3 and newer and python-socketio 5 and newer
speak, by WebSocket or by long polling. A message's name is the name of the event, its payload the event's one argument.

Every client event is answered by an event of its own. A client that emits it with an acknowledgement gets the same body
a second time, as the acknowledgement's one argument: the body of the answer, or that of the error, which has the member
`error`.

If no place is free, or the gateway has not caught up with its log, the connection is refused with the reason in the
`message` of `connect_error`. A client that asks too often gets its error event, and is disconnected if it continues.
"""

_STREAM_DESCRIPTION = """\
Server-Sent Events as the WHATWG HTML standard has them. A message's name is the `event:` field, its payload the `data:`
field; `id:` is the cursor, on events that can be resumed from, on heartbeats, and on `stream_opened` unless a snapshot
or missed events follow. `retry:` comes first, and again when the gateway stops.

A browser's EventSource reconnects by itself and sends the last id as the header `Last-Event-ID`. A status other than
200 would stop it for good, so a client that accepts `text/event-stream` is refused with status 200 and the event
`server_error` if the reason is temporary. Others get the status, as the REST interface describes it.

With `format=compact`, prices have no `event:` field, so an EventSource gives them to `onmessage`. A stream is compressed
where `Accept-Encoding` asks for gzip, as browsers do; every event can be read as it arrives.
"""

_PLAIN_DESCRIPTION = """\
A plain websocket, without a library. Each message is one JSON object `{"type", "id", "data"}`: a message's name is its
`type`, its payload its `data`. `id` is the cursor, on events that can be resumed from, on heartbeats, and on
`stream_opened` unless a snapshot or missed events follow; other messages have none. With `format=compact` a price is the
array alone. Messages are text, and nothing is compressed.

The pairs can stand in the address, or a client subscribes with a message, `{"type": "subscribe", "data": {…}}`. Each
client event is answered by an event of its own. Pings are those of websockets, which clients answer by themselves.

Before the websocket opens, a request is refused with a status, as the REST interface describes it. A browser shows that to
no page, so a page's websocket is opened, gets `server_error` and is closed: with code 1013 where the reason may pass, else
with 1008. When the gateway stops it sends `stream_closing` and closes with 1012.
"""

_STREAM_QUERY: Document = {
    "since": {
        "type": "string",
        "description": "Resume after this event. `last_event_id` and `lastEventId` are other names for it; of several cursors "
        "the newest counts.",
        "examples": [ID],
    },
    "snapshot": {
        "type": "boolean",
        "default": True,
        "description": "Send the newest price of each pair first",
    },
    "max_hz": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1000,
        "description": "At most this many prices of each pair a second; newer ones replace older ones",
    },
    "format": {
        "type": "string",
        "enum": ["full", "compact"],
        "default": "full",
        "description": "The form of a price: `compact` is an array",
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
    """Return Socket.IO, the event streams and the plain websocket as AsyncAPI 3.0."""
    requests = {name: event.message for name, event in CLIENT_EVENTS.items()}
    spoken = {**requests, **SOCKET_EVENTS, "stream_request": STREAM_REQUEST, **STREAM_EVENTS, **PLAIN_EVENTS}
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
                "host": HOST,
                "protocol": "ws",
                "description": "Socket.IO over WebSocket, and plain websockets",
            },
            "http": {
                "host": HOST,
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
            "plain": _plain_channel(),
        },
        "operations": {
            **_request_operations("socketio", "receive", " An acknowledgement carries the same body as the answer."),
            **_event_operations("socketio", "send", SOCKET_EVENTS),
            **_stream_operations("stream_pair", "one pair", {}),
            **_stream_operations("stream_pairs", "several pairs", _PAIRS_QUERY),
            **_request_operations("plain", "receive_plain", ""),
            **_event_operations("plain", "send_plain", PLAIN_EVENTS),
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


def _request_operations(channel: str, prefix: str, more: str) -> Document:
    """What clients send over a channel, each with its answers; ``more`` is added to the descriptions."""
    return {
        f"{prefix}_{name}": {
            "action": "receive",
            "channel": _ref("channels", channel),
            "summary": event.message.summary,
            "description": f"{event.description}{more}",
            "messages": [_ref("channels", channel, "messages", name)],
            "reply": {
                "channel": _ref("channels", channel),
                "messages": [_ref("channels", channel, "messages", answer) for answer in (event.answer, event.error)],
            },
        }
        for name, event in CLIENT_EVENTS.items()
    }


def _event_operations(channel: str, prefix: str, events: Mapping[str, SpokenMessage]) -> Document:
    """What the gateway sends over a channel."""
    return {
        f"{prefix}_{name}": {
            "action": "send",
            "channel": _ref("channels", channel),
            "summary": message.summary,
            "messages": [_ref("channels", channel, "messages", name)],
        }
        for name, message in events.items()
    }


def _plain_channel() -> Document:
    pairs = {
        **_PAIRS_QUERY["pairs"],
        "description": "Pairs in any accepted spelling, separated by commas, or `*` for all. Without it the client subscribes "
        "with a message, and no other parameter but `format` is accepted.",
    }
    return {
        "address": "/ws",
        "title": "Plain websocket",
        "summary": "Prices and alerts as JSON messages, without a library",
        "description": _PLAIN_DESCRIPTION,
        "servers": [_ref("servers", "websocket")],
        "messages": {name: _ref("components", "messages", name) for name in (*CLIENT_EVENTS, *PLAIN_EVENTS)},
        "bindings": {
            "ws": {
                "method": "GET",
                "query": {"type": "object", "properties": {"pairs": pairs, **_STREAM_QUERY}},
                "bindingVersion": "0.1.0",
            }
        },
    }


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
            "events. If no place is free it is `server_error` alone, and `retry:` says when to come back.",
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
    described: Document = {"name": message.name or name, "summary": message.summary}
    if message is STREAM_REQUEST:
        described["headers"] = {
            "type": "object",
            "properties": {
                "Accept": {"type": "string", "examples": ["text/event-stream"]},
                "Last-Event-ID": {
                    "type": "string",
                    "description": "Resume after this event; wins over the query parameter",
                    "examples": [ID],
                },
            },
        }
    if message.model is not None:
        described["payload"] = {"$ref": _SCHEMAS.format(model=message.model.__name__)}
        described["examples"] = [{"name": example, "payload": payload} for example, payload in (message.examples or {}).items()]
    return described


class _SchemasWithoutTitles(GenerateJsonSchema):
    """JSON schemas without titles that repeat the names of their members."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def tuple_schema(self, schema: Any) -> Any:
        described = super().tuple_schema(schema)
        if "prefixItems" in described:  # JSON Schema as AsyncAPI has it, draft 7
            described["items"] = described.pop("prefixItems")
        return described


def _schemas(models: Iterable[type[BaseModel]]) -> Document:
    _, definitions = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)],
        ref_template=_SCHEMAS,
        schema_generator=_SchemasWithoutTitles,
    )
    schemas = in_order(definitions["$defs"])
    for model in PAYLOADS.values():
        # An event that a client may not resume from is sent without its id.
        required = schemas[model.__name__]["required"]
        if "id" in required:
            required.remove("id")
    return schemas


def _ref(*path: str) -> Document:
    return {"$ref": "#/" + "/".join(path)}
