import asyncio
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
import socketio
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.errors import TooManyClients
from app.http.problems import refused_event_stream
from app.market.pair import DEFAULT_PAIRS, TrackedPairs
from app.realtime.contract.catalogue import PAYLOADS
from app.realtime.contract.event import gap
from app.realtime.contract.publication import publication
from app.realtime.log.log import EventLog, open_redis
from app.realtime.transports.connection import CLIENT_EVENTS as _EVENTS
from app.specs.asyncapi import asyncapi_document
from app.specs.documents import ASYNCAPI_FILE, OPENAPI_FILE, spec_files, write_specs
from app.specs.spoken import CLIENT_EVENTS, LOG_EVENTS, SOCKET_EVENTS, STREAM_EVENTS
from fx_gateway.event_stream import Connected, EventStreamParser, Lost, StreamEvent, stream_events
from tests.gateways import gateway
from tests.node_packages import packages
from tests.project import PROJECT
from tests.waiting import wait_until

_files = cache(spec_files)

_MESSAGES = {name: event.message for name, event in CLIENT_EVENTS.items()} | SOCKET_EVENTS | STREAM_EVENTS
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

# ---------------------------------------------------------------- the files


@pytest.mark.parametrize("name", [OPENAPI_FILE, ASYNCAPI_FILE])
def test_the_committed_file_is_what_the_code_says(name: str) -> None:
    committed = PROJECT / "openapi" / name
    assert committed.is_file(), f"{committed} is missing: make specs"
    up_to_date = committed.read_text(encoding="utf-8") == _files()[name]
    assert up_to_date, f"openapi/{name} is not what the code says: make specs"


def test_the_files_are_written_into_a_new_folder(tmp_path: Path) -> None:
    write_specs(tmp_path / "a" / "b")
    written = {file.name: file.read_bytes().decode() for file in (tmp_path / "a" / "b").iterdir()}
    assert written == _files()
    assert all(text.endswith("\n") and not text.endswith("\n\n") and "\r" not in text for text in written.values())


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _files()
    for name, value in {
        "TRACKED_PAIRS": "EUR_USD",
        "SOURCE": "replay",
        "REDIS_URL": "redis://elsewhere",
        "WEBSOCKET_PORT": "no",
    }.items():
        monkeypatch.setenv(name, value)
    assert spec_files() == before


# ---------------------------------------------------------------- AsyncAPI


def test_asyncapi_is_valid() -> None:
    file = packages("tests/clients") / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"
    schema = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(yaml.safe_load(_files()[ASYNCAPI_FILE]))


def test_every_reference_of_asyncapi_leads_somewhere() -> None:
    document = asyncapi_document()
    references = list(_references(document))
    assert len(references) > 100
    for reference in references:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]


def test_operations_only_speak_messages_of_their_channel() -> None:
    for name, operation in asyncapi_document()["operations"].items():
        for part in (operation, operation.get("reply", operation)):
            channel = part["channel"]["$ref"]
            assert all(message["$ref"].startswith(f"{channel}/messages/") for message in part["messages"]), name


def test_client_events_are_those_of_the_socket_server() -> None:
    assert list(CLIENT_EVENTS) == list(_EVENTS)
    assert {name: event.error for name, event in CLIENT_EVENTS.items()} == {
        name: event.error_event for name, event in _EVENTS.items()
    }


def test_log_events_are_those_that_clients_see() -> None:
    assert {name: message.model for name, message in LOG_EVENTS.items()} == {str(type): model for type, model in PAYLOADS.items()}


def test_a_message_of_two_transports_is_one_message() -> None:
    for name in SOCKET_EVENTS.keys() & STREAM_EVENTS.keys():
        assert SOCKET_EVENTS[name] is STREAM_EVENTS[name]
    assert not CLIENT_EVENTS.keys() & (SOCKET_EVENTS.keys() | STREAM_EVENTS.keys())


@pytest.mark.parametrize("name", sorted(_MESSAGES))
def test_every_example_is_valid(name: str) -> None:
    message = _MESSAGES[name]
    assert bool(message.examples) == (message.model is not None)
    for example in (message.examples or {}).values():
        assert message.model is not None
        message.model.model_validate(example)
        _validate(name, example)


def test_an_event_without_a_place_to_resume_from_is_valid() -> None:
    for name, message in LOG_EVENTS.items():
        for example in (message.examples or {}).values():
            _validate(name, {member: value for member, value in example.items() if member != "id"})


def test_a_gap_is_as_described() -> None:
    for missed in (3, None):
        _validate("gap", json.loads(gap("1764000000000-0", "1764000004211-0", missed).payload))


def test_a_wrong_payload_is_not_valid() -> None:
    for wrong in ({}, {"pairs": 1}, {"pairs": "EUR_USD"}, {"pairs": ["EUR_USD"], "max_hz": 0}):
        with pytest.raises(jsonschema.ValidationError):
            _validate("subscribe", wrong)


def test_streams_take_the_parameters_of_openapi() -> None:
    asyncapi, openapi = asyncapi_document(), json.loads(_files()[OPENAPI_FILE])
    for channel in ("stream_pair", "stream_pairs"):
        described = asyncapi["channels"][channel]
        operation = asyncapi["operations"][f"open_{channel}"]
        parameters = openapi["paths"][described["address"]]["get"]["parameters"]
        query = operation["bindings"]["http"]["query"]
        headers = asyncapi["components"]["messages"]["stream_request"]["headers"]["properties"]
        assert set(query["properties"]) == {each["name"] for each in parameters if each["in"] == "query"}
        assert set(query.get("required", [])) == {
            each["name"] for each in parameters if each["in"] == "query" and each["required"]
        }
        assert set(described.get("parameters", {})) == {each["name"] for each in parameters if each["in"] == "path"}
        assert set(headers) - {"Accept"} == {each["name"] for each in parameters if each["in"] == "header"}


def test_a_refused_stream_gets_an_event_that_is_described() -> None:
    body = refused_event_stream(TooManyClients("Max clients reached: this gateway serves 1000 at once")).body
    [event] = EventStreamParser().feed(bytes(body))
    assert event.type in STREAM_EVENTS
    _validate(event.type, json.loads(event.data))


# ---------------------------------------------------------------- a gateway keeps to AsyncAPI


async def test_socket_io_is_as_described(valkey_url: str, tmp_path: Path) -> None:
    """Every client event is answered, refused and acknowledged with the events and payloads of the document."""
    async with gateway(valkey_url, tmp_path) as running, socketio.AsyncSimpleClient() as client:
        await _publish(valkey_url, "price_update")
        await wait_until(lambda: running.hub.book.newest("EUR_USD") is not None, "the gateway knows a price")
        await client.connect(running.url, transports=["websocket"])
        await _heard(client, "connection_established")
        for name, event in CLIENT_EVENTS.items():
            examples = (event.message.examples or {}).values()
            for example in examples or [None]:
                body = None if example is None else {**example, **({"since": "0-0"} if "since" in example else {})}
                answer = await _acknowledged(client, name, body)
                _validate(event.answer, answer)
                assert await _heard(client, event.answer) == answer
        for name, event in CLIENT_EVENTS.items():
            if event.message.model is not None:
                refusal = await _acknowledged(client, name, {"pairs": ["XXX_YYY"], "instrument": "XXX_YYY"})
                _validate(event.error, refusal)
                assert await _heard(client, event.error) == refusal
        _validate("server_error", await _acknowledged(client, "unheard_of", None))


async def test_events_are_as_described(valkey_url: str, tmp_path: Path) -> None:
    """Every type of event, over Socket.IO and over an event stream, has the payload of the document."""
    async with gateway(valkey_url, tmp_path, heartbeat_interval=0.2) as running, socketio.AsyncSimpleClient() as client:
        await client.connect(running.url, transports=["websocket"])
        streamed: dict[str, StreamEvent] = {}
        async with asyncio.timeout(20):
            async for state in stream_events(running.url, ["EUR_USD"]):
                assert not isinstance(state, Lost)
                if isinstance(state, Connected):
                    await _acknowledged(client, "subscribe", {"pairs": ["EUR_USD"]})
                    await _publish(valkey_url, *_PUBLICATIONS)
                    continue
                assert state.type in STREAM_EVENTS
                _validate(state.type, json.loads(state.data))
                streamed[state.type] = state
                if streamed.keys() >= _PUBLICATIONS.keys() | {"stream_opened", "heartbeat"}:
                    break
        for name in _PUBLICATIONS:
            _validate(name, await _heard(client, name))


# ---------------------------------------------------------------- OpenAPI


def test_openapi_is_valid() -> None:
    OpenAPIV31SpecValidator(json.loads(_files()[OPENAPI_FILE])).validate()


def test_every_operation_is_named_and_described() -> None:
    operations = list(_operations())
    assert len(operations) > 10
    for where, operation in operations:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", operation["operationId"]), where
        assert operation["summary"], where
        assert operation["description"], where
    identifiers = [operation["operationId"] for _, operation in operations]
    assert len(set(identifiers)) == len(identifiers)


def test_every_answer_is_described_and_has_a_schema() -> None:
    for where, operation in _operations():
        assert any(status.startswith("2") for status in operation["responses"]), where
        for status, answer in operation["responses"].items():
            assert answer["description"], f"{where} {status}"
            content = answer.get("content", {})
            assert bool(content) is (status != "204"), f"{where} {status}"
            assert all(media.get("schema") for media in content.values()), f"{where} {status}"


def test_no_answer_is_described_that_never_comes() -> None:
    """The framework describes its own answer to wrong values, which this gateway does not give."""
    assert "HTTPValidationError" not in _files()[OPENAPI_FILE]


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in json.loads(_files()[OPENAPI_FILE])["paths"].items():
        for method in _METHODS:
            if method in item:
                yield f"{method.upper()} {path}", item[method]


# ---------------------------------------------------------------- parts of the tests


@cache
def _document() -> dict[str, Any]:
    return asyncapi_document()


def _validate(name: str, payload: object) -> None:
    """Hold a payload against the schema that the document has for a message."""
    document = _document()
    schema = {**document["components"]["messages"][name]["payload"], "components": document["components"]}
    jsonschema.Draft7Validator(schema).validate(payload)  # as AsyncAPI has schemas


def _references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from _references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _references(inner)


async def _heard(client: socketio.AsyncSimpleClient, name: str) -> dict[str, Any]:
    """The next event of this name."""
    async with asyncio.timeout(10):
        while (event := await client.receive())[0] != name:
            pass
    return cast(dict[str, Any], event[1])


async def _acknowledged(client: socketio.AsyncSimpleClient, name: str, body: object) -> dict[str, Any]:
    return cast(dict[str, Any], await client.call(name, body, timeout=10))


_PUBLICATIONS: dict[str, dict[str, object]] = {
    "price_update": {"instrument": "EUR_USD", "price": {"bid": "1.0945", "ask": "1.0947"}},
    "volatility_alert": {"instrument": "EUR_USD", "volatility": 0.03, "threshold": 0.02},
    "correlation_alert": {"pair1": "EUR_USD", "pair2": "USD_JPY", "correlation": -0.82, "threshold": 0.7},
    "data_ready": {"data_type": "prices", "count": 20},
}


async def _publish(redis_url: str, *types: str) -> None:
    """Publish one event of each of the types."""
    pairs = TrackedPairs(DEFAULT_PAIRS)
    async with open_redis(redis_url) as redis:
        publisher = EventLog(redis, 10_000).publisher()
        await publisher.publish([publication(type, _PUBLICATIONS[type], pairs) for type in types])
