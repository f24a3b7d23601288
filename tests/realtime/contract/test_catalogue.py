"""A new event is written in the table, and everything else follows: each consumer is compared with it."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import orjson
import pytest

from app.market.quote import QuoteKind
from app.realtime.contract.catalogue import ALERTS, EVENTS, PAYLOADS, VISIBLE, EventType
from app.realtime.contract.event import Event
from app.routers.live.events import LoggedEvent
from app.specs.spoken import LOG_EVENTS, SOCKET_EVENTS, STREAM_EVENTS
from fx_gateway.event_stream import StreamEvent
from fx_gateway.watch import Board
from tests.building import MOMENT, cursor
from tests.project import PROJECT


def _examples() -> list[tuple[EventType, dict[str, object]]]:
    return [(type, dict(example)) for type, model in PAYLOADS.items() for example in model.examples.values()]


def test_every_type_has_a_row() -> None:
    assert list(EVENTS) == list(EventType)
    assert set(PAYLOADS) == VISIBLE == set(EventType) - {EventType.HEARTBEAT}


@pytest.mark.parametrize("type", list(PAYLOADS))
def test_a_row_names_members_of_its_model(type: EventType) -> None:
    kind, members = EVENTS[type], PAYLOADS[type].model_fields
    assert {*kind.pairs, *(kind.figures or ())} <= members.keys()
    assert (type in ALERTS) == (kind.figures is not None)
    assert PAYLOADS[type].examples, "an event needs an example"
    assert "timestamp" in members


@pytest.mark.parametrize(("type", "example"), _examples())
def test_the_reader_accepts_every_example(type: EventType, example: dict[str, object]) -> None:
    id = example.pop("id", cursor(1))
    assert isinstance(id, str)
    event = Event.from_entry(id, 1, type.value, orjson.dumps(example))
    assert event.pairs == tuple(example[member] for member in EVENTS[type].pairs)


@pytest.mark.parametrize(("type", "example"), _examples())
def test_the_reader_refuses_an_example_without_a_required_member(type: EventType, example: dict[str, object]) -> None:
    example.pop("id", None)
    for missing in example:
        less = {name: value for name, value in example.items() if name != missing}
        if PAYLOADS[type].model_fields[missing].is_required():
            with pytest.raises((ValueError, KeyError, TypeError)):
                Event.from_entry(cursor(1), 1, type.value, orjson.dumps(less))


def test_a_kind_of_price_is_one_of_its_model() -> None:
    [(_, example), *_] = _examples()
    del example["id"]
    for kind in QuoteKind:
        Event.from_entry(cursor(1), 1, EventType.PRICE_UPDATE, orjson.dumps(example | {"kind": kind}))


def test_events_can_be_asked_for_by_every_visible_type() -> None:
    assert get_args(LoggedEvent.model_fields["data"].annotation) == tuple(PAYLOADS.values())


def test_asyncapi_describes_every_visible_type_on_both_transports() -> None:
    assert {name: message.model for name, message in LOG_EVENTS.items()} == {t.value: model for t, model in PAYLOADS.items()}
    assert LOG_EVENTS.keys() <= SOCKET_EVENTS.keys() & STREAM_EVENTS.keys()
    assert all(message.summary == EVENTS[EventType(name)].summary for name, message in LOG_EVENTS.items())


@pytest.mark.parametrize(("type", "example"), _examples())
def test_watch_shows_an_event_that_has_a_headline(type: EventType, example: dict[str, object]) -> None:
    board = Board("http://localhost")
    board.apply(StreamEvent(type.value, orjson.dumps(example).decode(), ""), MOMENT)
    headline = EVENTS[type].headline
    assert (None if board.news is None else board.news.text) == (headline and headline.format_map(example))


def test_the_dashboard_derives_its_list() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in (PROJECT / "web" / "src").glob("*channel*.js")}
    assert len(sources) == 3
    assert not {(path.name, type) for path, source in sources.items() for type in PAYLOADS if type.value in source}


def test_a_new_type_is_written_in_three_modules() -> None:
    """The table, its model and its builder: whatever else names a type treats it specially, and lists only some."""
    listing = {str(path.relative_to(PROJECT)): {type for type in PAYLOADS if _names(path, type)} for path in _modules()}
    complete = {name for name, types in listing.items() if types == set(PAYLOADS)}
    assert complete == {"app/realtime/contract/catalogue.py"}
    assert all(len(types) <= len(PAYLOADS) // 2 + 1 for name, types in listing.items() if name not in complete)
    plain = {name for name, types in listing.items() if EventType.DATA_READY in types}
    assert plain - complete == {"app/realtime/contract/event.py", *_FOR_PUBLISHERS}, "an ordinary event is named nowhere else"


_FOR_PUBLISHERS = ("app/realtime/contract/publication.py", "app/routers/live/publishing.py", "jobs/pubsub_bridge.py")
"""What other programs may publish is chosen, not derived."""


def _modules() -> Iterator[Path]:
    for package in ("app", "jobs", "fx_gateway"):
        yield from (path for path in (PROJECT / package).rglob("*.py") if "pages" not in path.parts)


def _names(path: Path, type: EventType) -> bool:
    """True for a module that has the type as a text or as a member of the enumeration."""
    return any(
        (isinstance(node, ast.Constant) and node.value == type.value)
        or (isinstance(node, ast.Attribute) and node.attr == type.name and ast.unparse(node.value) == "EventType")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )
