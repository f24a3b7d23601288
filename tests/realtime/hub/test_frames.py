import http.client
import io
import random
import socket
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from app.realtime.contract.compact import PriceFormat
from app.realtime.contract.event import Event
from app.realtime.hub.frames import (
    CHUNKED_EVENT_STREAM,
    CHUNKED_GZIP_EVENT_STREAM,
    ENGINE_PACKETS,
    EVENT_STREAM,
    FRAMINGS,
    GZIP_EVENT_STREAM,
    PLAIN_FRAMES,
    PLAIN_MESSAGES,
    WEBSOCKET_FRAMES,
    Framing,
    http_chunk,
    websocket_text,
)
from tests.building import alert_event, correlation_event, cursor, gap_event, price_event, ready_event

_EVENTS = [price_event(1), alert_event(2), correlation_event(3), ready_event(4), gap_event(9), price_event(9)]
_BODIES = st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False) | st.none(), min_size=1).map(orjson.dumps)


# ---------------------------------------------------------------- WebSocket


def websocket_frames(data: bytes) -> list[Frame]:
    """What a real client reads from the connection."""
    client = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)
    client.receive_data(data)
    assert client.parser_exc is None
    frames = client.events_received()
    assert all(isinstance(frame, Frame) for frame in frames)
    return [frame for frame in frames if isinstance(frame, Frame)]


@pytest.mark.parametrize("size", [0, 1, 124, 125, 126, 127, 65_535, 65_536, 65_537, 1_000_000])
def test_a_text_of_any_size_is_one_whole_frame(size: int) -> None:
    text = (bytes(range(32, 127)) * (size // 95 + 1))[:size]
    [frame] = websocket_frames(websocket_text(text))
    assert (frame.opcode, frame.data, frame.fin) == (Opcode.TEXT, text, True)
    assert (frame.rsv1, frame.rsv2, frame.rsv3) == (False, False, False)


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_frame_is_what_a_server_of_the_websockets_library_sends(size: int) -> None:
    text = b"x" * size
    assert websocket_text(text) == Frame(Opcode.TEXT, text).serialize(mask=False)


@given(st.lists(st.integers(0, 300).map(bytes), max_size=8))
def test_frames_one_behind_the_other_stay_apart(texts: list[bytes]) -> None:
    joined = WEBSOCKET_FRAMES.join([websocket_text(text) for text in texts])
    assert [frame.data for frame in websocket_frames(joined)] == texts


def test_events_in_a_websocket_are_socket_io_events_in_engine_io_packets() -> None:
    joined = WEBSOCKET_FRAMES.join([WEBSOCKET_FRAMES.event(event) for event in _EVENTS])
    frames = websocket_frames(joined)
    assert [frame.data for frame in frames] == [ENGINE_PACKETS.event(event) for event in _EVENTS]


# ---------------------------------------------------------------- Engine.IO


def engine_packets(payload: bytes) -> list[tuple[str, Any]]:
    """The Socket.IO events of a polling response: the name and the one argument of each."""
    events = []
    for packet in payload.decode().split("\x1e"):
        assert packet.startswith("42"), "an Engine.IO message that is a Socket.IO event of the main namespace"
        name, argument = orjson.loads(packet[2:])
        events.append((name, argument))
    return events


def test_an_event_is_a_packet_of_its_type_and_payload() -> None:
    assert ENGINE_PACKETS.event(price_event(1)).startswith(b'42["price_update",{"id":"1764000000001-0","instrument":')
    joined = ENGINE_PACKETS.join([ENGINE_PACKETS.event(event) for event in _EVENTS])
    assert engine_packets(joined) == [(event.type, orjson.loads(event.payload)) for event in _EVENTS]


@given(st.lists(_BODIES, min_size=1, max_size=5))
@example([orjson.dumps({"\x1e": '\x1e"]'})])
def test_a_body_cannot_break_out_of_its_packet(bodies: list[bytes]) -> None:
    joined = ENGINE_PACKETS.join([ENGINE_PACKETS.message("news", body) for body in bodies])
    assert engine_packets(joined) == [("news", orjson.loads(body)) for body in bodies]


# ------------------------------------------------------------- event stream


@dataclass(frozen=True)
class Dispatched:
    """An event as a browser's EventSource dispatches it."""

    type: str
    data: str
    last_event_id: str


def event_source(stream: bytes, last_event_id: str = "") -> list[Dispatched]:
    """Read a stream as WHATWG HTML, section 9.2.6, tells a browser to."""
    text = stream.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    dispatched = []
    type, data, id_buffer = "", "", last_event_id
    for line in text.split("\n")[:-1]:  # what has no end of line yet is no line
        if not line:
            last_event_id = id_buffer
            if data:
                dispatched.append(Dispatched(type or "message", data.removesuffix("\n"), last_event_id))
            type, data = "", ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            type = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            id_buffer = value
    return dispatched


@pytest.mark.parametrize("framing", [EVENT_STREAM, CHUNKED_EVENT_STREAM])
def test_a_browser_reads_type_payload_and_cursor(framing: Framing) -> None:
    events = [ready_event(4), gap_event(9), price_event(9), price_event(7).without_cursor()]
    frames = [framing.event(event) for event in events]
    read = event_source(b"".join(frames), "before")
    assert [(event.type, event.data.encode()) for event in read] == [(event.type, event.payload) for event in events]
    assert [event.last_event_id for event in read] == [cursor(4), cursor(4), cursor(9), cursor(9)]


def test_an_event_in_a_stream_is_these_bytes() -> None:
    event = Event.from_entry(cursor(4), 4, "news", b'{"count":4}')
    assert EVENT_STREAM.event(event) == (b'event: news\nid: 1764000000004-0\ndata: {"id":"1764000000004-0","count":4}\n\n')
    assert EVENT_STREAM.event(event.without_cursor()) == b'event: news\ndata: {"count":4}\n\n'


@given(st.lists(_BODIES, min_size=1, max_size=5))
@example([orjson.dumps({"a": "\n\n\r\r\ndata: b\0"})])
def test_a_body_cannot_break_out_of_its_event(bodies: list[bytes]) -> None:
    joined = EVENT_STREAM.join([EVENT_STREAM.message("news", body) for body in bodies])
    assert event_source(joined) == [Dispatched("news", body.decode(), "") for body in bodies]


# ------------------------------------------------------------------ chunks


class _Answer(socket.socket):
    """A connection on which a whole response has arrived."""

    def __init__(self, response: bytes) -> None:
        super().__init__()
        self._response = response

    def makefile(self, *args: object, **kwargs: object) -> io.BytesIO:  # type: ignore[override]
        return io.BytesIO(self._response)


def body_of(chunks: Sequence[bytes]) -> bytes:
    """What an HTTP client makes of the chunks."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with _Answer(head + b"".join(chunks) + b"0\r\n\r\n") as connection:
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.read()


@given(st.lists(st.binary(max_size=300), max_size=6))
@example([b"", b"a", b""])
@example([b"x" * 70_000, b"\r\n0\r\n\r\n"])
def test_chunks_give_the_bodies_back(bodies: list[bytes]) -> None:
    assert body_of([http_chunk(body) for body in bodies]) == b"".join(bodies)


def test_an_empty_body_is_no_chunk() -> None:
    assert http_chunk(b"") == b""
    assert CHUNKED_EVENT_STREAM.join([]) == b""


def test_the_events_of_one_write_are_one_chunk() -> None:
    frames = [CHUNKED_EVENT_STREAM.event(event) for event in _EVENTS]
    chunk = CHUNKED_EVENT_STREAM.join(frames)
    size, _, rest = chunk.partition(b"\r\n")
    assert int(size, 16) == len(rest) - 2
    assert body_of([chunk]) == EVENT_STREAM.join(frames)


# ----------------------------------------------------------------- compact


_LATE = Event.from_entry("1764000000999-399", 7, "price_update", price_event(7, bid="161.09450").bare)
"""As long as a price of a default pair gets: the 400th event of a burst."""


@pytest.mark.parametrize("framing", [framing for (_, format), framing in FRAMINGS.items() if format is PriceFormat.COMPACT])
def test_a_compact_price_takes_at_most_eighty_bytes_with_all_that_carries_it(framing: Framing) -> None:
    assert len(framing.join([framing.event(price_event(1))])) <= 80
    assert len(framing.join([framing.event(price_event(number)) for number in range(1, 21)])) <= 20 * 80


@pytest.mark.parametrize("framing", [framing for (_, format), framing in FRAMINGS.items() if format is PriceFormat.COMPACT])
def test_all_but_prices_are_the_same_in_the_compact_form(framing: Framing) -> None:
    full = framing.in_format(PriceFormat.FULL)
    for event in (alert_event(2), correlation_event(3), ready_event(4), gap_event(9)):
        assert framing.event(event) == full.event(event)
    assert framing.message("pong", b"{}") == full.message("pong", b"{}")
    assert framing.event(price_event(1)) != full.event(price_event(1))


def test_a_compact_price_is_a_row_with_its_id() -> None:
    compact = ENGINE_PACKETS.in_format(PriceFormat.COMPACT)
    [(name, row)] = engine_packets(compact.event(_LATE))
    assert (name, row[:3]) == ("price_update", ["EUR_USD", "161.09450", "161.09470"])
    assert f"{row[3] + row[4]}-{row[5]}" == _LATE.id
    assert row[3] == 1769851800123, "the source's time"
    assert engine_packets(compact.event(_LATE.without_cursor())) == [("price_update", row[:4])]
    [frame] = websocket_frames(WEBSOCKET_FRAMES.in_format(PriceFormat.COMPACT).event(_LATE))
    assert frame.data == compact.event(_LATE)


def test_a_compact_price_of_a_plain_websocket_is_the_row_alone() -> None:
    compact = PLAIN_MESSAGES.in_format(PriceFormat.COMPACT)
    [(_, row)] = engine_packets(ENGINE_PACKETS.in_format(PriceFormat.COMPACT).event(_LATE))
    assert orjson.loads(compact.event(_LATE)) == row
    [frame] = websocket_frames(PLAIN_FRAMES.in_format(PriceFormat.COMPACT).event(_LATE))
    assert frame.data == compact.event(_LATE)


def test_a_compact_price_on_a_stream_is_a_message_with_its_id() -> None:
    compact = EVENT_STREAM.in_format(PriceFormat.COMPACT)
    text = compact.join([compact.event(price_event(5)), compact.event(price_event(6).without_cursor())])
    data = '["EUR_USD","1.09450","1.09470",1769851800123]'
    assert event_source(text) == [Dispatched("message", data, cursor(5)), Dispatched("message", data, cursor(5))]


# -------------------------------------------------------------------- gzip


@pytest.mark.parametrize("format", list(PriceFormat))
def test_pieces_that_are_compressed_apart_can_be_read_in_any_selection_and_each_at_once(format: PriceFormat) -> None:
    framing, plain = GZIP_EVENT_STREAM.in_format(format), EVENT_STREAM.in_format(format)
    chance = random.Random(13)
    pieces = [[framing.event(event) for event in chance.choices(_EVENTS, k=size)] for size in (1, 1, 3, 20, 400)]
    for _ in range(20):
        reader = zlib.decompressobj(wbits=31)
        assert reader.decompress(framing.opening) == b""
        for frames in chance.choices(pieces, k=8):
            assert reader.decompress(framing.join(frames)) == plain.join(frames)


def test_compressed_pieces_are_smaller_even_for_one_event() -> None:
    for format in PriceFormat:
        framing = GZIP_EVENT_STREAM.in_format(format)
        frames = [framing.event(price_event(number)) for number in range(1, 21)]
        assert len(framing.join(frames[:1])) < len(frames[0])
        assert len(framing.join(frames)) < len(b"".join(frames)) / 3


def test_compressed_pieces_are_chunks() -> None:
    framing = CHUNKED_GZIP_EVENT_STREAM
    frames = [framing.event(event) for event in _EVENTS]
    body = body_of([framing.opening, framing.join(frames), framing.join([])])
    assert body == GZIP_EVENT_STREAM.opening + GZIP_EVENT_STREAM.join(frames)
    assert zlib.decompressobj(wbits=31).decompress(body) == EVENT_STREAM.join(frames)
