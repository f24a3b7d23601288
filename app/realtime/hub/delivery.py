"""How frames reach a client: written to its connection at once, or kept until the client fetches them."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from app.realtime.wire.wire import Way, way_of

LINE_TIME = 1.0
"""Seconds of a line's own time that one answer to a fetching client may take."""

_LEAST_ANSWER = 1024
_FAST = 32_768
_LOOK_AFTER = 1.0
_WINDOW = 3.0


class Measured(Protocol):
    """What a connection drains; see ``app.realtime.wire.line.Line``."""

    rate: float | None

    def unsent(self) -> int:
        """Return the bytes that were handed over and have not arrived."""
        ...

    def room(self) -> int:
        """Return the bytes that may be handed over now."""
        ...

    @property
    def progressed_at(self) -> float:
        """The monotonic time of the last sign of life."""
        ...


class Wired(Protocol):
    """A connection whose line is measured; see ``app.realtime.wire.wire.Wire``."""

    @property
    def line(self) -> Measured:
        """What the connection drains."""
        ...

    def full(self) -> None:
        """Report the connection as full, until its line has room."""
        ...


class Direct:
    """Write to the client's connection, except while it is full."""

    __slots__ = ("_transport", "_wire", "paused")

    def __init__(self, transport: asyncio.WriteTransport, wire: Wired | None = None) -> None:
        """Without a ``wire`` the connection is never known to be slow."""
        self._transport = transport
        self._wire = wire
        self.paused = False

    @property
    def is_full(self) -> bool:
        """True while more bytes are unsent than the transport's high-water mark."""
        return self._transport.get_write_buffer_size() > self._transport.get_write_buffer_limits()[1]

    @property
    def unsent(self) -> int:
        """Bytes that the transport has accepted and the kernel has not."""
        return self._transport.get_write_buffer_size()

    @property
    def in_flight(self) -> int:
        """Bytes that were written and have not arrived, as far as that is known."""
        return self._transport.get_write_buffer_size() if self._wire is None else self._wire.line.unsent()

    @property
    def rate(self) -> float | None:
        """Bytes a second that the connection drains, None where it is not known to be slow."""
        return None if self._wire is None else self._wire.line.rate

    @property
    def progressed_at(self) -> float:
        """The monotonic time of the connection's last sign of life, 0 where that is not known."""
        return 0.0 if self._wire is None else self._wire.line.progressed_at

    def room(self) -> int | None:
        """Return the bytes that may be written now, None for any number."""
        return None if self._wire is None or self._wire.line.rate is None else self._wire.line.room()

    def way(self) -> Way:
        """Return the shortest way to the connection, for ``write_to_all``. Drop it when the connection closes.

        It holds a file descriptor, which the system gives to another connection after the close.
        """
        return way_of(self._transport)

    def write(self, piece: bytes) -> None:
        """Write to the connection. This never blocks; the transport buffers what the kernel does not take."""
        self._transport.write(piece)

    def pause(self) -> None:
        """Stop writing: the connection is full."""
        self.paused = True

    def resume(self) -> None:
        """Start writing again: the connection has room."""
        self.paused = False

    def hold(self) -> None:
        """Stop writing until the line has room, so that what is sent next goes in pieces."""
        if self._wire is not None:
            self._wire.full()  # which pauses
        self.paused = True

    def wake(self) -> None:
        """Do nothing: the transport says when the connection has room."""


class Fetching:
    """Keep frames in the client's outbox and call ``wake`` for each addition, so that the client fetches them.

    What such a client takes shows only in when it asks again after an answer, which may be soon or late for reasons of its
    own. So it is known to be slow only where that cannot be: part of an answer has not arrived after a second; or for three
    seconds, most of which it spent between an answer and its next request, what waits for it has not become less. Then
    ``rate`` is what it takes, in bytes a second; else it is None.
    """

    __slots__ = ("_answered_at", "_asks", "_bytes", "_left", "_size", "_spent", "_window", "is_idle", "rate", "wake")

    paused = False
    unsent = 0

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.rate: float | None = None
        self.is_idle = False
        """True once the client has not asked for as long as it may."""
        self._asks = False
        self._answered_at = time.monotonic()
        self._size = 0
        self._left: Callable[[], int] | None = None
        self._spent = 0.0
        self._bytes = 0
        self._window: tuple[float, int, float, int] | None = None

    @property
    def is_slow(self) -> bool:
        """True while prices are to be conflated for the client."""
        return self.is_idle or self.rate is not None

    @property
    def progressed_at(self) -> float:
        """The monotonic time at which the client last asked or was answered."""
        return time.monotonic() if self._asks else self._answered_at

    def room(self) -> int | None:
        """Return the bytes that one answer may have, None for any number."""
        return None if self.rate is None else max(_LEAST_ANSWER, int(self.rate * LINE_TIME))

    def ask(self, now: float) -> None:
        """Note that the client asks, and has taken its last answer."""
        if self._asks:
            return
        self._asks, self.is_idle, self._left = True, False, None
        spent = now - self._answered_at
        self._spent += spent
        self._bytes += self._size
        if self.rate is not None and self._size:
            pace = self._size / max(spent, 0.001)
            if pace > self.rate or self._size >= _LEAST_ANSWER // 2:  # a small answer shows only how long a round takes
                self.rate = (self.rate + pace) / 2
            if self.rate > _FAST:
                self.rate = None

    def answer(self, size: int, now: float) -> None:
        """Note that the client is handed an answer of this many bytes."""
        self._asks, self._answered_at, self._size = False, now, size

    def sent(self, left: Callable[[], int]) -> None:
        """Note that the answer is on its way; ``left`` returns how many bytes of it have not arrived."""
        if not self._asks:
            self._left = left

    def look(self, now: float, fetch_within: float) -> None:
        """Look whether the client takes long over its last answer; it may take ``fetch_within`` seconds."""
        if self._asks:
            return
        waited = now - self._answered_at
        if waited >= _LOOK_AFTER and self._left is not None and (left := self._left()):
            self.rate = min(self.rate or _FAST, max(0, self._size - left) / waited)
        if waited > fetch_within:
            self.is_idle = True

    def judge(self, now: float, behind: int) -> None:
        """Compare how many events wait, ``behind``, with how many there were."""
        if not behind:
            self._window = None
        elif self._window is None:
            self._window = (now, behind, self._spent, self._bytes)
        elif now - self._window[0] >= _WINDOW:
            began, before, spent, taken = self._window
            spent = self._spent - spent
            if behind >= before and spent >= (now - began) / 2:
                self.rate = min(self.rate or _FAST, (self._bytes - taken) / spent)
            self._window = (now, behind, self._spent, self._bytes)
