"""A client of a gateway's event stream, which reconnects and resumes by itself."""

import asyncio
import json
import random
import re
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

import httpx

from app.errors import SourceError

_CONNECTS_WITHIN = 5.0
_SILENT_AFTER = 45.0
_RETRY = 2.0
_LONGEST_RETRY = 60.0
_MOST_DOUBLINGS = 10
_LARGEST_EVENT = 1_000_000
_LARGEST_REFUSAL = 65_536

_LINE_END = re.compile(rb"\r\n?|\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_REFUSED = "server_error"
"""The event with which a gateway refuses a stream for a temporary reason."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """An event of a stream. ``last_event_id`` is where to resume after it, empty before the first id."""

    type: str
    data: str
    last_event_id: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The stream is open."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream is down; the next attempt follows in ``retry_in`` seconds."""

    reason: str
    retry_in: float


class EventStreamParser:
    """Parses the bytes of an event stream. Specification: WHATWG HTML, section 9.2.6.

    ``last_event_id`` is where to resume: the id in force at the last complete event, or the one given at the start.
    ``retry_ms`` is the reconnection time last sent by the server. An incomplete event at the end of a stream is discarded.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self._rest = b""
        self._at_start = True
        self._after_cr = False
        self._id = last_event_id
        self._type = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[StreamEvent]:
        """Return the events completed by this piece. Raises ValueError for an event of more than a megabyte."""
        if not piece:
            return []
        if self._after_cr:
            # The CR already ended the line; an LF after it belongs to the same line end.
            piece = piece.removeprefix(b"\n")
        self._after_cr = piece.endswith(b"\r")
        # Not str.splitlines, which also splits at characters that are text here, such as U+2028.
        *lines, self._rest = _LINE_END.split(self._rest + piece)
        events = [event for line in lines if (event := self._take_in(line)) is not None]
        if self._size + len(self._rest) > _LARGEST_EVENT:
            raise ValueError(f"an event of more than {_LARGEST_EVENT} bytes")
        return events

    def _take_in(self, line: bytes) -> StreamEvent | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._complete()
        field, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                self._type = value
            case "data":
                self._data.append(value)
                self._size += len(line)
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry_ms = int(value[:9])  # already more than a week
        return None

    def _complete(self) -> StreamEvent | None:
        # An id takes effect with its complete event, not with its line: the stream may break off in between.
        self.last_event_id = self._id
        event = StreamEvent(self._type or "message", "\n".join(self._data), self._id) if self._data else None
        self._type, self._data, self._size = "", [], 0
        return event


class Connection(Protocol):
    """One connection to a gateway."""

    @property
    def retry_ms(self) -> int | None:
        """The reconnection time last sent by the server."""

    def events(self) -> AsyncGenerator[StreamEvent]:
        """Yield the events of the connection. Raises Interrupted, or SourceError where retrying is pointless."""
        ...


Connect = Callable[[str, Iterable[str], str], Connection]
"""Makes a connection to a gateway's URL that follows the pairs, by default all, after a cursor, empty for none."""


async def stream_events(
    url: str, pairs: Iterable[str], last_event_id: str | None = None, connect: Connect | None = None
) -> AsyncGenerator[StreamEvent | Connected | Lost]:
    """Yield the events of a gateway's stream of these pairs, by default of all, after ``last_event_id``.

    A stream that breaks off is resumed after the last event yielded, so that none is missed or repeated; ``Lost`` and
    ``Connected`` report it. ``connect`` makes the connections, of an event stream by default. Raises SourceError if there is no
    gateway at the first attempt, or if it refuses permanently.
    """
    cursor = last_event_id or ""
    retry, failures, found = _RETRY, 0, False
    while True:
        connection = (connect or EventStream)(url, pairs, cursor)
        connected = False
        try:
            async with aclosing(connection.events()) as events:
                async for event in events:
                    found = True
                    if event.type == _REFUSED:
                        raise Interrupted(error_of(event.data))
                    if not connected:
                        connected = True
                        yield Connected()
                    yield event
                    cursor = event.last_event_id
            reason = "the gateway closed the stream"
        except Interrupted as interruption:
            reason = str(interruption)
        if not found:
            raise SourceError(f"no gateway at {url}: {reason}")
        if connection.retry_ms is None:
            failures = min(failures + 1, _MOST_DOUBLINGS)
        else:
            retry, failures = connection.retry_ms / 1000, 0
        pause = min(retry * 2**failures, _LONGEST_RETRY) * random.uniform(0.5, 1.5)
        yield Lost(reason, pause)
        await asyncio.sleep(pause)


class Interrupted(Exception):
    """A stream that broke off or could not begin, for a temporary reason."""


class EventStream:
    """A connection that carries an event stream."""

    def __init__(self, url: str, pairs: Iterable[str], cursor: str) -> None:
        self._url = url
        self._pairs = pairs
        self._parser = EventStreamParser(cursor)

    @property
    def retry_ms(self) -> int | None:
        """The reconnection time last sent by the server."""
        return self._parser.retry_ms

    async def events(self) -> AsyncGenerator[StreamEvent]:
        """Yield the events of the connection. Raises Interrupted, or SourceError where retrying is pointless."""
        timeout = httpx.Timeout(_CONNECTS_WITHIN, read=_SILENT_AFTER)
        async with (
            httpx.AsyncClient(timeout=timeout, follow_redirects=True) as client,
            aclosing(_one_stream(client, self._url, self._pairs, self._parser)) as events,
        ):
            async for event in events:
                yield event


async def _one_stream(
    client: httpx.AsyncClient, url: str, pairs: Iterable[str], parser: EventStreamParser
) -> AsyncGenerator[StreamEvent]:
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if parser.last_event_id:
        headers["Last-Event-ID"] = parser.last_event_id
    try:
        address = httpx.URL(f"{url.rstrip('/')}/stream", params={"pairs": ",".join(pairs) or "*"})
        async with client.stream("GET", address, headers=headers) as response:
            await _check(response, url)
            async for piece in response.aiter_bytes():
                for event in parser.feed(piece):
                    yield event
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise SourceError(f"not the URL of a gateway: {url}") from error
    except httpx.ConnectError as error:
        raise Interrupted(f"cannot connect: {error}") from error
    except httpx.ConnectTimeout as error:
        raise Interrupted(f"cannot connect within {_CONNECTS_WITHIN:.0f} s") from error
    except httpx.ReadTimeout as error:
        raise Interrupted(f"nothing received for {_SILENT_AFTER:.0f} s") from error
    except httpx.HTTPError as error:
        raise Interrupted("the connection broke off") from error
    except ValueError as error:
        raise Interrupted(str(error)) from error


async def _check(response: httpx.Response, url: str) -> None:
    """Check that the answer is an event stream. Raises SourceError, or Interrupted for a temporary refusal."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if response.status_code == httpx.codes.OK:
        if kind != "text/event-stream":
            raise SourceError(f"no gateway at {url}: the server there sends no event stream")
        return
    reason = error_of(await _beginning(response)) or f"status {response.status_code}"
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
        raise Interrupted(reason)
    raise SourceError(f"{url} refuses the stream: {reason}")


async def _beginning(response: httpx.Response) -> bytes:
    body = b""
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > _LARGEST_REFUSAL:
            break
    return body


def error_of(body: str | bytes) -> str:
    """Return the ``error`` of a refusal on one line, empty if it has none."""
    try:
        refusal = json.loads(body)
    except ValueError:
        return ""
    error = refusal.get("error") if isinstance(refusal, dict) else None
    return " ".join(error.split()) if isinstance(error, str) else ""
