"""Events of a gateway over Server-Sent Events, for as long as somebody reads them."""

import asyncio
import json
import random
import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass

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
"""The event that a gateway answers with when it has no place for a stream now."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """An event of a stream. ``last_event_id`` is where to resume from after it, empty where there was no id yet."""

    type: str
    data: str
    last_event_id: str


@dataclass(frozen=True, slots=True)
class Connected:
    """A gateway has opened the stream."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream is down, for this reason; the next attempt is so many seconds away."""

    reason: str
    retry_in: float


class EventStreamParser:
    """The events in the bytes of a stream, by WHATWG HTML, section 9.2.6.

    ``last_event_id`` is where to resume from: the id in force at the last event that was complete, or the one given at
    the start. ``retry_ms`` is how long the stream last asked its readers to stay away. An event that the stream breaks
    off in is never given out.
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
        """The events that are complete with this piece, wherever the pieces were cut. Raises ValueError for a giant."""
        if not piece:
            return []
        if self._after_cr:
            # The line ended with the CR, at once. Its LF, if this is one, ends no second line.
            piece = piece.removeprefix(b"\n")
        self._after_cr = piece.endswith(b"\r")
        # Not str.splitlines: it ends lines at characters that are text here, as U+2028.
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
        # An id counts from here on, not from its line: the event it came with might have been broken off.
        self.last_event_id = self._id
        event = StreamEvent(self._type or "message", "\n".join(self._data), self._id) if self._data else None
        self._type, self._data, self._size = "", [], 0
        return event


async def stream_events(
    url: str, pairs: Iterable[str], last_event_id: str | None = None
) -> AsyncGenerator[StreamEvent | Connected | Lost]:
    """The events of a gateway's stream of these pairs, or of all where none are named, from after ``last_event_id``.

    A stream that breaks off is resumed after the last event that was given out, so that none is missed and none comes
    twice; ``Lost`` and ``Connected`` tell of it. Raises SourceError where no gateway is found at the first attempt, and
    where one refuses for a reason that does not pass.
    """
    cursor = last_event_id or ""
    retry, failures, found = _RETRY, 0, False
    async with httpx.AsyncClient(timeout=httpx.Timeout(_CONNECTS_WITHIN, read=_SILENT_AFTER), follow_redirects=True) as client:
        while True:
            parser = EventStreamParser(cursor)
            connected = False
            try:
                async with aclosing(_one_stream(client, url, pairs, parser)) as events:
                    async for event in events:
                        found = True
                        if event.type == _REFUSED:
                            raise _Interrupted(_error(event.data))
                        if not connected:
                            connected = True
                            yield Connected()
                        yield event
                        cursor = event.last_event_id
                reason = "the gateway has ended the stream"
            except _Interrupted as interruption:
                reason = str(interruption)
            if not found:
                raise SourceError(f"no gateway at {url}: {reason}")
            if parser.retry_ms is None:
                failures = min(failures + 1, _MOST_DOUBLINGS)
            else:
                retry, failures = parser.retry_ms / 1000, 0
            pause = min(retry * 2**failures, _LONGEST_RETRY) * random.uniform(0.5, 1.5)
            yield Lost(reason, pause)
            await asyncio.sleep(pause)


class _Interrupted(Exception):
    """A stream that broke off, or could not begin, for a reason that may pass."""


async def _one_stream(
    client: httpx.AsyncClient, url: str, pairs: Iterable[str], parser: EventStreamParser
) -> AsyncGenerator[StreamEvent]:
    """The events of one connection. Raises SourceError where another attempt would fare no better, or _Interrupted."""
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
        raise _Interrupted(f"cannot connect: {error}") from error
    except httpx.ConnectTimeout as error:
        raise _Interrupted(f"cannot connect within {_CONNECTS_WITHIN:.0f} s") from error
    except httpx.ReadTimeout as error:
        raise _Interrupted(f"nothing heard for {_SILENT_AFTER:.0f} s") from error
    except httpx.HTTPError as error:
        raise _Interrupted("the connection broke off") from error
    except ValueError as error:
        raise _Interrupted(str(error)) from error


async def _check(response: httpx.Response, url: str) -> None:
    """Raise what an answer that is no event stream amounts to."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if response.status_code == httpx.codes.OK:
        if kind != "text/event-stream":
            raise SourceError(f"no gateway at {url}: what answers there sends no event stream")
        return
    reason = _error(await _beginning(response)) or f"status {response.status_code}"
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
        raise _Interrupted(reason)
    raise SourceError(f"{url} refuses the stream: {reason}")


async def _beginning(response: httpx.Response) -> bytes:
    body = b""
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > _LARGEST_REFUSAL:
            break
    return body


def _error(body: str | bytes) -> str:
    """The ``error`` of a refusal, on one line; empty where it has none."""
    try:
        refusal = json.loads(body)
    except ValueError:
        return ""
    error = refusal.get("error") if isinstance(refusal, dict) else None
    return " ".join(error.split()) if isinstance(error, str) else ""
