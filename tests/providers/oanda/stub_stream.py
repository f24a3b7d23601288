"""The streams of the stand-in for OANDA, and what can be switched about it."""

import asyncio
import json
import random
import socket
import struct
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from tests.providers.oanda.stub_market import Json, Market, nine_digits
from tests.wall_clock import WallClock

ACCOUNT = "101-004-1234567-001"

Ending = Literal["end", "mid-line", "reset"]
"""How a stream is broken off: in good order, within a line, or by a reset of the connection."""


@dataclass(frozen=True)
class Failure:
    """An answer in place of the right one."""

    status: int
    body: bytes = b"<html><body><h1>Bad Gateway</h1></body></html>"
    kind: str = "text/html"


@dataclass
class Knobs:
    """What can be switched while the servers run. Times are in seconds."""

    accounts: list[str] = field(default_factory=lambda: [ACCOUNT])
    not_offered: set[str] = field(default_factory=set)
    heartbeat: float = 5.0
    price_interval: float = 0.25
    requests_a_second: int = 120
    most_streams: int = 20
    prices: bool = True
    stalled: bool = False
    garbage: bool = False
    unknown_types: bool = False
    disorder: bool = False
    empty_books: bool = False
    tradeable: bool = True
    cut_into: int = 0  # bytes of a chunk; 0 for all lines of a moment in one
    rest_failures: deque[Failure] = field(default_factory=deque)
    stream_failures: deque[Failure] = field(default_factory=deque)
    reset_connections: bool = False
    cut_answers: bool = False
    mute: bool = False  # no request is answered
    most_bars: int = 5000  # in an answer, be it less than was asked for


class StubStream:
    """An open stream of prices."""

    def __init__(self, knobs: Knobs, market: Market, clock: WallClock, writer: asyncio.StreamWriter, names: list[str]) -> None:
        self.injected: deque[bytes] = deque()
        self.ending: Ending | None = None
        self.wake = asyncio.Event()
        self._knobs, self._market, self._clock, self._writer, self._names = knobs, market, clock, writer, names
        self._random = random.Random(2)

    async def run(self, reader: asyncio.StreamReader, snapshot: bool) -> None:
        """Send until the client leaves or the stream is to end."""
        knobs, last = self._knobs, time.monotonic()
        if snapshot and not knobs.stalled:
            self._send([as_line(self._market.last[name]) for name in self._names])
        leaving = asyncio.create_task(reader.read())
        try:
            while not leaving.done():
                waking = asyncio.create_task(self.wake.wait())
                await asyncio.wait({leaving, waking}, timeout=knobs.price_interval, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
                if self.ending is not None:
                    self._end(self.ending)
                    return
                if knobs.stalled:
                    continue
                while self.injected:
                    self._chunk(self.injected.popleft())
                if not self.wake.is_set():
                    self._send(self._moment())
                self.wake.clear()
                if time.monotonic() - last >= knobs.heartbeat:
                    last = time.monotonic()
                    self._send([as_line({"type": "HEARTBEAT", "time": nine_digits(self._clock.nanoseconds())})])
                await self._writer.drain()
        finally:
            leaving.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await leaving

    def _moment(self) -> list[bytes]:
        """What there is to say now: prices of some instruments, no two of the same, and what the knobs add."""
        knobs, lines = self._knobs, []
        for name in self._names if knobs.prices else ():
            if self._random.random() < 0.5:
                before = as_line(self._market.last[name])
                lines.append(price_line(self._market, self._knobs, name))
                if knobs.disorder:
                    lines += [before, lines[-1]]
        if knobs.unknown_types:
            lines.append(as_line({"type": "NOTICE", "text": "maintenance"}))
        if knobs.garbage:
            lines += [b"<html>\n", b'{"type":"PRICE","time":\n', b"\xff\xfe\n", b'{"type":"PRICE","instrument":"EUR_USD"}\n']
        return lines

    def _send(self, lines: list[bytes]) -> None:
        text, size = b"".join(lines), self._knobs.cut_into or 1_000_000
        for start in range(0, len(text), size):
            self._chunk(text[start : start + size])

    def _chunk(self, piece: bytes) -> None:
        self._writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def _end(self, ending: Ending) -> None:
        if ending == "end":
            self._writer.write(b"0\r\n\r\n")
        else:
            self._chunk(price_line(self._market, self._knobs, self._names[0])[:40])
            if ending == "reset":
                reset(self._writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut a connection so that its other end sees a reset."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def as_line(message: Json) -> bytes:
    """A message as a line of the stream."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def price_line(market: Market, knobs: Knobs, name: str) -> bytes:
    """The next price of an instrument, as the knobs have it, as a line."""
    price = dict(market.move(name))
    if knobs.empty_books:
        price |= {"bids": [], "asks": [], "tradeable": False, "status": "non-tradeable"}
    if not knobs.tradeable:
        price |= {"tradeable": False, "status": "non-tradeable"}
    return as_line(price)
