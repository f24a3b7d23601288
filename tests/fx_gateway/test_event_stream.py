import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import SourceError
from app.market.pair import DEFAULT_PAIRS, TrackedPairs
from app.realtime.contract.publication import publication
from app.realtime.log.log import EventLog, open_redis
from app.realtime.transports import sse
from fx_gateway import event_stream
from fx_gateway.event_stream import Connected, EventStreamParser, Lost, StreamEvent, stream_events
from tests.gateways import gateway
from tests.tcp_server import tcp_server
from tests.waiting import wait_until

# ---------------------------------------------------------------- the parser


def _parsed(stream: str | bytes) -> list[tuple[str, str, str]]:
    body = stream.encode() if isinstance(stream, str) else stream
    return [(event.type, event.data, event.last_event_id) for event in EventStreamParser().feed(body)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        # The examples of WHATWG HTML, section 9.2.6
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", "")]),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            [("message", "first event", "1"), ("message", "second event", ""), ("message", " third event", "")],
        ),
        ("data\n\ndata\ndata\n\ndata:", [("message", "", ""), ("message", "\n", "")]),
        ("data:test\n\ndata: test\n\n", [("message", "test", ""), ("message", "test", "")]),
        # Line ends
        ("data: a\r\n\r\ndata: b\r\rdata: c\n\n", [("message", "a", ""), ("message", "b", ""), ("message", "c", "")]),
        ("data: a\n\r\n", [("message", "a", "")]),
        ("data: a\u2028b\x85c\x0bd\n\n", [("message", "a\u2028b\x85c\x0bd", "")]),
        # Types are for one event, ids for all that follow
        ("event: x\ndata: a\n\ndata: b\n\n", [("x", "a", ""), ("message", "b", "")]),
        ("event: x\n\ndata: a\n\n", [("message", "a", "")]),
        ("id: 7\ndata: a\n\ndata: b\n\n", [("message", "a", "7"), ("message", "b", "7")]),
        ("id: 7\n\ndata: a\n\n", [("message", "a", "7")]),
        ("id: 7\nid: 8\0\ndata: a\n\n", [("message", "a", "7")]),
        # What is to be ignored
        ("Data: a\ndatum: b\n: c\n:\nx\n data: d\n\n", []),
        ("data: a\n", []),
        ("", []),
        # Encoding
        (b"\xef\xbb\xbfdata: a\n\n", [("message", "a", "")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"data: a\xffb\n\n", [("message", "a\ufffdb", "")]),
        ("data: €\n\n", [("message", "€", "")]),
    ],
)
def test_a_stream_is_read_by_the_standard(stream: str | bytes, events: list[tuple[str, str, str]]) -> None:
    assert _parsed(stream) == events


@pytest.mark.parametrize(
    ("line", "retry_ms"),
    [
        ("retry: 2000", 2000),
        ("retry:0", 0),
        ("retry: 99999999999999999999", 999_999_999),
        ("retry", None),
        ("retry: 2.5", None),
        ("retry: -1", None),
        ("retry:  7", None),
        ("retry: ٧", None),
    ],
)
def test_retry_is_taken_where_it_is_digits(line: str, retry_ms: int | None) -> None:
    parser = EventStreamParser()
    assert parser.feed(f"{line}\n".encode()) == []
    assert parser.retry_ms == retry_ms


def test_the_id_of_an_event_that_breaks_off_does_not_count() -> None:
    parser = EventStreamParser("1")
    parser.feed(b"id: 2\ndata: a\n\nid: 3\ndata: b\n")
    assert parser.last_event_id == "2"
    parser.feed(b"\n")
    assert parser.last_event_id == "3"


def test_a_reader_that_comes_back_keeps_its_id() -> None:
    [event] = EventStreamParser("1").feed(b"data: opened\n\n")
    assert event.last_event_id == "1"


def test_an_event_is_complete_at_once_with_a_carriage_return() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"data: a\r") == []
    assert [event.data for event in parser.feed(b"\r")] == ["a"]
    assert parser.feed(b"") == []
    assert parser.feed(b"\ndata: b\n") == []
    assert [event.data for event in parser.feed(b"\n")] == ["b"]


@pytest.mark.parametrize("giant", [b"data: " + b"x" * 2_000_000, b"data: xxx\n" * 200_000, b"x" * 2_000_000])
def test_a_giant_is_refused(giant: bytes) -> None:
    parser = EventStreamParser()
    with pytest.raises(ValueError, match="more than 1000000 bytes"):
        parser.feed(giant)


_texts = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=8)
_ids = _texts.filter(lambda id: "\0" not in id)
_events = st.builds(StreamEvent, _texts.filter(bool), st.lists(_texts, min_size=1).map("\n".join), _ids)


@given(st.lists(_events), st.sampled_from(["\n", "\r", "\r\n"]), st.data())
def test_events_are_the_same_wherever_the_pieces_are_cut(events: list[StreamEvent], line_end: str, data: st.DataObject) -> None:
    lines = []
    for event in events:
        lines += [":", f"event: {event.type}", f"id: {event.last_event_id}"]
        lines += [f"data: {line}" for line in event.data.split("\n")] + [""]
    body = "".join(line + line_end for line in lines).encode()
    parser = EventStreamParser()
    assert [event for piece in _cut(body, data) for event in parser.feed(piece)] == events


@given(st.lists(st.sampled_from([b"data", b"id", b"event", b":", b" ", b"\r", b"\n", b"\0", b"\xe2", b"\xac", b"a"])), st.data())
def test_any_bytes_mean_the_same_wherever_the_pieces_are_cut(tokens: list[bytes], data: st.DataObject) -> None:
    body = b"".join(tokens)
    whole, cut = EventStreamParser(), EventStreamParser()
    assert [event for piece in _cut(body, data) for event in cut.feed(piece)] == whole.feed(body)
    assert cut.last_event_id == whole.last_event_id


def _cut(body: bytes, data: st.DataObject) -> list[bytes]:
    places = sorted(data.draw(st.lists(st.integers(0, len(body)))))
    return [body[start:end] for start, end in pairwise([0, *places, len(body)])]


# ---------------------------------------------------------------- the iterator


class ScriptedServer:
    """An HTTP server that answers one connection after the other with given bytes, and ends it after them.

    Where they end in ``_OPEN``, it waits for the client to leave instead.
    """

    def __init__(self, answers: Sequence[bytes]) -> None:
        self.requests: list[str] = []
        self.left = asyncio.Event()
        self.url = ""
        self.connections = 0
        self._answers = list(answers)

    def header(self, request: int, name: str) -> str | None:
        """A header of a request, None where it has none of this name."""
        for line in self.requests[request].split("\r\n")[1:]:
            field, _, value = line.partition(": ")
            if field.lower() == name.lower():
                return value
        return None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            answer = self._answers.pop(0)
            writer.write(answer.removesuffix(_OPEN))
            if answer.endswith(_OPEN):
                await reader.read()
                self.left.set()
        finally:
            self.connections -= 1


_OPEN = b"<and stays open>"


@asynccontextmanager
async def _scripted(*answers: bytes) -> AsyncGenerator[ScriptedServer]:
    server = ScriptedServer(answers)
    async with tcp_server(server.serve) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server
        await wait_until(lambda: server.connections == 0, "the client has left")


def _answer(body: str, status: str = "200 OK", kind: str = "text/event-stream") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n{body}".encode()


def _event(id: str) -> str:
    return f"event: data_ready\nid: {id}\ndata: {{}}\n\n"


async def _states(url: str, count: int, last_event_id: str | None = None) -> list[StreamEvent | Connected | Lost]:
    """The first so many states of a stream."""
    states = []
    async with asyncio.timeout(10), aclosing(stream_events(url, ["EUR_USD", "GBP_USD"], last_event_id)) as stream:
        async for state in stream:
            states.append(state)
            if len(states) == count:
                break
    return states


async def test_a_stream_that_breaks_off_is_resumed_after_the_last_whole_event() -> None:
    first = _answer("retry: 20\n\n" + _event("1-0") + _event("2-0") + "id: 3-0\ndata: {")
    async with _scripted(first, _answer(_event("3-0") + _OPEN.decode())) as server:
        states = await _states(server.url, 6)
        one, two, three = (StreamEvent("data_ready", "{}", id) for id in ("1-0", "2-0", "3-0"))
        lost = states[3]
        assert isinstance(lost, Lost)
        assert states == [Connected(), one, two, Lost("the gateway closed the stream", lost.retry_in), Connected(), three]
        assert 0.01 <= lost.retry_in <= 0.03
        assert server.requests[0].startswith("GET /stream?pairs=EUR_USD%2CGBP_USD HTTP/1.1\r\n")
        assert server.header(0, "Accept") == "text/event-stream"
        assert server.header(0, "Last-Event-ID") is None
        assert server.header(1, "Last-Event-ID") == "2-0"
        await asyncio.wait_for(server.left.wait(), 10)


async def test_a_stream_begins_after_the_id_that_is_given() -> None:
    body = 'retry: 1\nevent: stream_opened\ndata: {"recovered":true}\n\n'
    async with _scripted(_answer(body), _answer(body + _OPEN.decode())) as server:
        await _states(server.url, 4, last_event_id="5-0")
        assert [server.header(request, "Last-Event-ID") for request in (0, 1)] == ["5-0", "5-0"]


async def test_all_pairs_are_asked_for_where_none_are_named() -> None:
    async with _scripted(_answer(_event("1-0") + _OPEN.decode())) as server:
        async with aclosing(stream_events(server.url + "/", [])) as stream:
            assert await anext(stream) == Connected()
        assert server.requests[0].startswith(("GET /stream?pairs=%2A ", "GET /stream?pairs=* "))


async def test_an_answer_that_ends_early_is_a_connection_that_broke_off() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"retry: 1\n" + _event("1-0").encode()
    async with _scripted(head + b"%x\r\n%s\r\n" % (len(body), body)) as server:
        *_, lost = await _states(server.url, 3)
        assert isinstance(lost, Lost)
        assert lost.reason == "the connection broke off"


async def test_a_gateway_that_has_gone_is_tried_again_more_and_more_seldom() -> None:
    pauses = []
    async with asyncio.timeout(10), AsyncExitStack() as serving:
        server = await serving.enter_async_context(_scripted(_answer("retry: 1\n" + _event("1-0"))))
        async with aclosing(stream_events(server.url, [])) as stream:
            assert [type(await anext(stream)) for _ in range(2)] == [Connected, StreamEvent]
            await serving.aclose()
            for _ in range(8):
                lost = await anext(stream)
                assert isinstance(lost, Lost)
                pauses.append(lost.retry_in)
    for attempt, pause in enumerate(pauses):
        assert 0.0005 * 2**attempt <= pause <= 0.0015 * 2**attempt


async def test_a_silent_stream_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "_SILENT_AFTER", 1)
    async with _scripted(_answer("retry: 1\n" + _event("1-0") + _OPEN.decode())) as server:
        *_, lost = await _states(server.url, 3)
        assert isinstance(lost, Lost)
        assert lost.reason.startswith("nothing received for")
        await asyncio.wait_for(server.left.wait(), 10)


async def test_a_giant_is_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "_LARGEST_EVENT", 100)
    async with _scripted(_answer(f"retry: 1\n{_event('1-0')}"), _answer("data: " + "x" * 200 + _OPEN.decode())) as server:
        *_, lost = await _states(server.url, 4)
        assert isinstance(lost, Lost)
        assert lost.reason == "an event of more than 100 bytes"


# ---------------------------------------------------------------- refusals


async def test_a_refusal_that_passes_is_waited_out_as_the_gateway_asks() -> None:
    refusal = 'retry: 20\nevent: server_error\ndata: {"error":"Max clients\\nreached","message":"later"}\n\n'
    async with _scripted(_answer(refusal), _answer(_event("1-0") + _OPEN.decode())) as server:
        states = await _states(server.url, 3)
        lost = states[0]
        assert isinstance(lost, Lost)
        assert lost.reason == "Max clients reached"
        assert 0.01 <= lost.retry_in <= 0.03
        assert states[1:] == [Connected(), StreamEvent("data_ready", "{}", "1-0")]


@pytest.mark.parametrize("status", ["429 Too Many Requests", "502 Bad Gateway", "503 Service Unavailable"])
async def test_a_status_that_passes_is_waited_out(status: str) -> None:
    answers = (_answer("retry: 1\n" + _event("1-0")), _answer("<h1>sorry</h1>", status, "text/html"))
    async with _scripted(*answers, _answer(_event("2-0") + _OPEN.decode())) as server:
        states = await _states(server.url, 6)
        lost = states[3]
        assert isinstance(lost, Lost)
        assert lost.reason == f"status {status[:3]}"
        assert states[4:] == [Connected(), StreamEvent("data_ready", "{}", "2-0")]
        assert server.header(2, "Last-Event-ID") == "1-0"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            _answer('{"error":"Invalid instrument: XXX_YYY"}', "400 Bad Request", "application/problem+json"),
            r"127\.0\.0\.1:\d+ refuses the stream: Invalid instrument: XXX_YYY$",
        ),
        (_answer('["error"]', "404 Not Found", "application/json"), "refuses the stream: status 404$"),
        (_answer('{"error":1}', "404 Not Found", "application/json"), "refuses the stream: status 404$"),
        (_answer("x" * 200_000, "401 Unauthorized", "text/plain"), "refuses the stream: status 401$"),
        (_answer("<h1>hello</h1>", kind="text/html"), "the server there sends no event stream$"),
        (_answer("<h1>sorry</h1>", "502 Bad Gateway", "text/html"), r"^no gateway at http://.*: status 502$"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", r"^no gateway at http://.*: the connection broke off$"),
    ],
)
async def test_what_is_no_gateway_is_told_at_the_first_attempt(answer: bytes, message: str) -> None:
    async with _scripted(answer) as server:
        with pytest.raises(SourceError, match=message):
            await _states(server.url, 1)


async def test_a_refusal_for_good_ends_the_stream_later_too() -> None:
    refusal = _answer('{"error":"Invalid instrument: EUR_USD"}', "400 Bad Request", "application/problem+json")
    async with _scripted(_answer("retry: 1\n" + _event("1-0")), refusal) as server:
        with pytest.raises(SourceError, match="Invalid instrument: EUR_USD"):
            await _states(server.url, 10)


@pytest.mark.parametrize("url", ["localhost:5001", "ftp://localhost", "", "http://localhost:port"])
async def test_what_is_no_url_is_told(url: str) -> None:
    with pytest.raises(SourceError, match="not the URL of a gateway"):
        await _states(url, 1)


async def test_nobody_there_is_told() -> None:
    async with _scripted() as server:
        pass
    with pytest.raises(SourceError, match=r"^no gateway at http://127\.0\.0\.1:\d+: cannot connect"):
        await _states(server.url, 1)


# ---------------------------------------------------------------- a real gateway


async def test_a_reader_that_a_gateway_cuts_off_misses_nothing(
    valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "RETRY_MS", 20)
    news = [publication("data_ready", {"data_type": "prices"}, TrackedPairs(DEFAULT_PAIRS))] * 10
    published: list[str] = []
    got: list[str] = []
    lost = 0
    async with gateway(valkey_url, tmp_path) as running, open_redis(valkey_url) as redis:
        publisher = EventLog(redis, 10_000).publisher()
        async with asyncio.timeout(30), aclosing(stream_events(running.url, [])) as stream:
            async for state in stream:
                match state:
                    case StreamEvent("data_ready"):
                        got.append(state.last_event_id)
                        if len(got) % 7 == 0 and lost < 3:
                            for client in list(running.hub.clients):
                                running.hub.cut(client, "a test")
                    case Connected() | Lost() if lost < 3:
                        lost += isinstance(state, Lost)
                        published += await publisher.publish(news)
                if lost == 3 and len(got) == len(published):
                    break
        assert got == published
        await wait_until(lambda: len(running.hub.clients) == 0, "the gateway has seen the reader leave")
