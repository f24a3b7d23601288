"""A stand-in for OANDA's v20 API: two real servers, one for answers and one for streams, and every fault on demand."""

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from types import TracebackType
from typing import Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.providers.oanda.stub_market import INSTRUMENTS, LENGTHS, Json, Market, candles, nine_digits
from tests.providers.oanda.stub_stream import Ending, Failure, Knobs, StubStream, price_line, reset
from tests.tcp_server import tcp_server
from tests.wall_clock import WallClock

TOKEN = "0123456789abcdef-practice"

_MOST_BARS = 5000
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


@dataclass(frozen=True)
class Request:
    """A request as it came: on which server, when (monotonic), and what it asked for."""

    server: Literal["rest", "stream"]
    at: float
    method: str
    target: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


class _Refused(Exception):
    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(status, message)
        self.failure = Failure(status, json.dumps({"errorMessage": message}).encode(), "application/json")


class OandaStub:
    """The servers, inside ``async with``. What they are asked and how often is in the attributes."""

    def __init__(self, clock: WallClock | None = None) -> None:
        self.knobs = Knobs()
        self.clock = clock or WallClock()
        self.market = Market(self.clock)
        self.connections: list[float] = []
        self.requests: list[Request] = []
        self.statuses: Counter[int] = Counter()
        self.departures: list[float] = []
        self.rest_url = self.stream_url = ""
        self._ports = {"rest": 0, "stream": 0}
        self._servers = AsyncExitStack()
        self._streams: set[StubStream] = set()
        self._answered: deque[float] = deque()

    async def __aenter__(self) -> Self:
        await self.come_up()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.go_down()

    async def come_up(self) -> None:
        """Listen, on the same ports as before."""
        for name, serve in (("rest", self._serve_rest), ("stream", self._serve_stream)):
            self._ports[name] = await self._servers.enter_async_context(tcp_server(serve, self._ports[name]))
        self.rest_url, self.stream_url = (f"http://127.0.0.1:{self._ports[name]}" for name in ("rest", "stream"))

    async def go_down(self) -> None:
        """Listen no more, and cut every connection."""
        await self._servers.aclose()

    @property
    def streaming(self) -> int:
        """The streams that are open."""
        return len(self._streams)

    def inject(self, piece: bytes) -> None:
        """Send these bytes on every open stream, as a chunk of their own."""
        for stream in self._streams:
            stream.injected.append(piece)
            stream.wake.set()

    def break_off(self, ending: Ending) -> None:
        """End every open stream."""
        for stream in self._streams:
            stream.ending = ending
            stream.wake.set()

    # ---------------------------------------------------------------- HTTP

    async def _serve_rest(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connected(writer)
        while True:
            request = await self._read(reader, "rest")
            failures = self.knobs.rest_failures
            if failures:
                failure = failures.popleft()
            else:
                try:
                    failure = Failure(200, json.dumps(self._answer(request)).encode(), "application/json")
                except _Refused as refused:
                    failure = refused.failure
            if self.knobs.cut_answers:
                writer.write(self._head(failure, len(failure.body)) + failure.body[: len(failure.body) // 2])
                return
            writer.write(self._head(failure, len(failure.body)) + failure.body)
            await writer.drain()

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connected(writer)
        request = await self._read(reader, "stream")
        try:
            if self.knobs.stream_failures:
                failure = self.knobs.stream_failures.popleft()
                writer.write(self._head(failure, len(failure.body)) + failure.body)
                return
            names = self._subscribed(request)
        except _Refused as refused:
            writer.write(self._head(refused.failure, len(refused.failure.body)) + refused.failure.body)
            return
        writer.write(self._head(Failure(200, kind="application/octet-stream"), None))
        stream = StubStream(self.knobs, self.market, self.clock, writer, names)
        self._streams.add(stream)
        try:
            await stream.run(reader, snapshot=request.query.get("snapshot") != "false")
        finally:
            self._streams.discard(stream)
            self.departures.append(time.monotonic())

    def _connected(self, writer: asyncio.StreamWriter) -> None:
        self.connections.append(time.monotonic())
        if self.knobs.reset_connections:
            reset(writer)

    async def _read(self, reader: asyncio.StreamReader, server: Literal["rest", "stream"]) -> Request:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *fields = head.decode().split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        url = urlsplit(target)
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        request = Request(server, time.monotonic(), method, target, unquote(url.path), dict(parse_qsl(url.query)), headers)
        self.requests.append(request)
        if self.knobs.mute:
            await reader.read()
            raise ConnectionError("the client has left")
        return request

    def _head(self, answer: Failure, length: int | None) -> bytes:
        self.statuses[answer.status] += 1
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        request_id = f"{len(self.requests):016}"
        return (
            f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Other')}\r\nContent-Type: {answer.kind}\r\n"
            f"{framing}\r\nRequestID: {request_id}\r\n\r\n"
        ).encode()

    # ---------------------------------------------------------------- the API

    def _answer(self, request: Request) -> Json:
        now = time.monotonic()
        while self._answered and self._answered[0] <= now - 1:
            self._answered.popleft()
        if len(self._answered) >= self.knobs.requests_a_second:
            raise _Refused(429)
        self._answered.append(now)
        self._authorize(request)
        match request.path.strip("/").split("/"):
            case ["v3", "accounts"]:
                return {"accounts": [{"id": account, "tags": []} for account in self.knobs.accounts]}
            case ["v3", "accounts", account, "instruments"] if account in self.knobs.accounts:
                return {"instruments": [_instrument(name) for name in self._offered()], "lastTransactionID": "1"}
            case ["v3", "accounts", account, "pricing"] if account in self.knobs.accounts:
                prices = [json.loads(price_line(self.market, self.knobs, name)) for name in self._named(request)]
                return {"prices": prices, "time": nine_digits(time.time_ns())}
            case ["v3", "instruments", name, "candles"]:
                return self._candles(name, request.query)
        raise _Refused(404, "Not Found")

    def _authorize(self, request: Request) -> None:
        if request.method != "GET":
            raise _Refused(405, "Method Not Allowed")
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            raise _Refused(401, "Insufficient authorization to perform request.")

    def _subscribed(self, request: Request) -> list[str]:
        """The instruments that a stream is asked for."""
        self._authorize(request)
        match request.path.strip("/").split("/"):
            case ["v3", "accounts", account, "pricing", "stream"] if account in self.knobs.accounts:
                names = self._named(request)
            case _:
                raise _Refused(404, "Not Found")
        if len(self._streams) >= self.knobs.most_streams:
            raise _Refused(429)
        return names

    def _offered(self) -> list[str]:
        return [name for name in INSTRUMENTS if name not in self.knobs.not_offered]

    def _named(self, request: Request) -> list[str]:
        names = request.query.get("instruments", "").split(",")
        if not set(names) <= set(self._offered()):
            raise _Refused(400, "Invalid value specified for 'instruments'")
        return names

    def _candles(self, name: str, query: Mapping[str, str]) -> Json:
        length, sides = query.get("granularity", "S5"), query.get("price", "M")
        if name not in self._offered():
            raise _Refused(400, "Invalid value specified for 'instrument'")
        if length not in LENGTHS:
            raise _Refused(400, "Invalid value specified for 'granularity'")
        if {"from", "to", "count"} <= query.keys():
            raise _Refused(400, "'count' cannot be specified when 'to' and 'from' are set")
        if int(query.get("count", "500")) > _MOST_BARS:
            raise _Refused(400, "Maximum value for 'count' exceeded")
        now = self.clock.now()
        for bound in ("from", "to"):
            if bound in query and datetime.fromisoformat(query[bound]) > now:
                raise _Refused(400, f"Invalid value specified for '{bound}'. Time is in the future")
        since = datetime.fromisoformat(query["from"]) if "from" in query else now - timedelta(days=1)
        bars = candles(name, length, since, sides, query.get("includeFirst", "true") == "true", now)
        if "to" in query:
            to = nine_digits(int(datetime.fromisoformat(query["to"]).timestamp()) * 1_000_000_000)
            rows = list(islice(takewhile(lambda bar: str(bar["time"]) < to, bars), _MOST_BARS + 1))
            if len(rows) > _MOST_BARS:
                raise _Refused(400, "Maximum value for 'count' exceeded")
        else:
            rows = list(islice(bars, min(int(query.get("count", "500")), self.knobs.most_bars)))
        return {"instrument": name, "granularity": length, "candles": rows}


def _instrument(name: str) -> Json:
    decimals = INSTRUMENTS[name]
    return {"name": name, "type": "CURRENCY", "displayPrecision": decimals, "pipLocation": 1 - decimals}
