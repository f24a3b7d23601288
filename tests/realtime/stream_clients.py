"""A client of event streams that shows every byte, with a parser that follows WHATWG HTML, section 9.2.6."""

import asyncio
import socket
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson


class StreamEvent(NamedTuple):
    """An event as a browser's EventSource gives it: with the last id there was, its own or an older one."""

    type: str
    last_id: str
    data: str

    @property
    def body(self) -> Any:
        """The payload, read."""
        return orjson.loads(self.data)


class Reading(NamedTuple):
    """How much of what a test does not ask for is read all the same: by asyncio, and by the kernel."""

    limit: int
    receive_buffer: int | None


EAGERLY, RELUCTANTLY = Reading(1 << 22, None), Reading(1024, 4096)


class EventSourceParser:
    """What an EventSource makes of a stream of bytes."""

    def __init__(self) -> None:
        self.retries: list[int] = []
        self.events: list[StreamEvent] = []
        self.comments: list[str] = []
        self.own_ids: list[str] = []
        self._text = ""
        self._data: list[str] = []
        self._type = ""
        self._last_id = ""

    def feed(self, text: str) -> None:
        """Take in what has arrived."""
        self._text += text.replace("\r\n", "\n")
        *lines, self._text = self._text.split("\n")
        for line in lines:
            self._line(line)

    def _line(self, line: str) -> None:
        if not line:
            self._dispatch()
            return
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "":
                self.comments.append(value)
            case "data":
                self._data.append(value)
            case "event":
                self._type = value
            case "id":
                self._last_id = value
                self.own_ids.append(value)
            case "retry":
                self.retries.append(int(value))
            case _:
                raise AssertionError(f"not a field of an event stream: {line!r}")

    def _dispatch(self) -> None:
        if self._data:
            self.events.append(StreamEvent(self._type or "message", self._last_id, "\n".join(self._data)))
        self._data, self._type = [], ""


class RawStream:
    """An HTTP connection with one request, read as far as a test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.parser = EventSourceParser()
        self.body = b""
        self.received = 0
        """Bytes of the body as it came, compressed or not, without the framing of chunks."""
        self.ended = False
        self._inflater = zlib.decompressobj(wbits=31)

    async def read_head(self) -> None:
        """Read the status line and the headers."""
        async with asyncio.timeout(30):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:] if line)]

    def header(self, name: str) -> str | None:
        """A header that stands at most once."""
        values = [value for header, value in self.headers if header == name]
        assert len(values) < 2, f"{name} stands {len(values)} times"
        return values[0] if values else None

    async def read_some(self) -> None:
        """Read the next piece of the body, and note where it ends."""
        piece = await self._read_piece()
        self.ended = not piece
        self.received += len(piece)
        if self.header("content-encoding") == "gzip":
            piece = self._inflater.decompress(piece)
        self.body += piece
        if (self.header("content-type") or "").startswith("text/event-stream"):
            self.parser.feed(piece.decode())

    async def _read_piece(self) -> bytes:
        if self.header("transfer-encoding") != "chunked":
            return await self.reader.read(65536)
        size = int(await self.reader.readline(), 16)
        piece = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        return piece

    async def read_to_end(self, timeout: float = 30) -> bytes:
        """Read the whole body."""
        async with asyncio.timeout(timeout):
            while not self.ended:
                await self.read_some()
        return self.body

    async def read_events(self, number: int, timeout: float = 30) -> list[StreamEvent]:
        """Read until there are that many events, and return them all."""
        async with asyncio.timeout(timeout):
            while len(self.parser.events) < number:
                assert not self.ended, f"the stream ended after {self.parser.events}"
                await self.read_some()
        return self.parser.events

    async def read_until(self, id: str, timeout: float = 30) -> list[StreamEvent]:
        """Read until the event with this id is there, and give all events."""
        async with asyncio.timeout(timeout):
            while id not in self.parser.own_ids[-50:]:
                assert not self.ended, f"the stream ended after {self.parser.events[-3:]}"
                await self.read_some()
        return self.parser.events

    @property
    def opened(self) -> Any:
        """What ``stream_opened`` said, which comes first."""
        first = self.parser.events[0]
        assert first.type == "stream_opened"
        return first.body

    @property
    def ids(self) -> list[str]:
        """The ids in the stream, in order, those of heartbeats and of the beginning left out."""
        positions = ("stream_opened", "heartbeat")
        beats = {event.last_id for event in self.parser.events if event.type in positions}
        others = {event.last_id for event in self.parser.events if event.type not in positions}
        return [id for id in self.parser.own_ids if id in others or id not in beats]


def connected(url: str, *, receive_buffer: int | None = None) -> socket.socket:
    """A TCP connection to a URL, for which the kernel buffers about that many unread bytes."""
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    parts = urlsplit(url)
    connection.connect((parts.hostname, parts.port))
    connection.setblocking(False)
    return connection


async def tcp(url: str, reading: Reading = EAGERLY) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TCP connection to where a URL leads, as streams."""
    return await asyncio.open_connection(sock=connected(url, receive_buffer=reading.receive_buffer), limit=reading.limit)


@asynccontextmanager
async def raw_stream(
    url: str, path: str, reading: Reading = EAGERLY, /, *, method: str = "GET", version: str = "1.1", **headers: str
) -> AsyncGenerator[RawStream]:
    """A request whose answer's head has been read; underscores in header names become hyphens."""
    reader, writer = await tcp(url, reading)
    lines = [f"{method} {path} HTTP/{version}", f"Host: {urlsplit(url).netloc}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    stream = RawStream(reader, writer)
    try:
        await stream.read_head()
        yield stream
    finally:
        writer.close()


@asynccontextmanager
async def open_stream(url: str, path: str, **headers: str) -> AsyncGenerator[RawStream]:
    """An event stream that has said that it is open."""
    async with raw_stream(url, path, **headers) as stream:
        assert stream.status == 200, await stream.read_to_end()
        await stream.read_events(1)
        yield stream
