"""The line: what a connection drains, and its signs of life, as the kernel knows them.

The kernel counts what it has taken from us and the client's kernel has not acknowledged (``SIOCOUTQ``, see tcp(7)), and says
when it last heard of the client (``TCP_INFO``, ``struct tcp_info`` in include/uapi/linux/tcp.h). Neither costs anything until
it is asked. Where they do not exist, the transport's buffer and the clock take their place.
"""

import array
import socket
import struct
import sys
import time
from asyncio import WriteTransport
from typing import NamedTuple

if sys.platform == "linux":
    import fcntl
    import termios

BACKLOG = 1.0
"""Seconds of a line's own time that may be unsent on it."""

GONE_AFTER = 43.0
"""Seconds without a sign of life after which a client is gone."""

LEAST_ROOM = 512
"""Bytes that a line has room for whenever nothing is unsent on it."""

SUSPECT_RTT = 0.035
"""Round-trip time in seconds from which a new line has to show what it drains before it gets more than ``FIRST_ROOM``.

That of two empty packets on a line of 3 KB/s.
"""

FIRST_ROOM = 1024
"""Bytes that a suspect line gets at first: a second's worth of the slowest line that is served well."""

_SHORTEST_SAMPLE = 0.05
_FIRST_SAMPLE = 0.25
_SAMPLE = 1.0
_LATE_ANSWER = 0.2
_STALLED_AFTER = 3.0
_OVERDUE = 0.05
_FORGIVES_EVERY = 30.0
_PROVEN_AFTER = 1.0
_NEW = 8192
_PROVEN_PACE = 4 * FIRST_ROOM / BACKLOG
_FORGET_AFTER = 60.0

_TCP_INFO = struct.Struct("=3xB12xI4xI24xII8xI48xQQ12xI")


class TcpInfo(NamedTuple):
    """The members of ``struct tcp_info`` that are used; offsets 3, 16, 24, 52, 56, 68, 120, 128 and 148."""

    probes: int
    """Probes of the receiver's window, or of an idle connection, that were not answered."""
    snd_mss: int
    """Bytes of the largest segment."""
    unacked: int
    """Segments in flight."""
    last_data_recv: int
    """Milliseconds since the client last sent bytes."""
    last_ack_recv: int
    """Milliseconds since the client's kernel last acknowledged anything."""
    rtt: int
    """Microseconds of a round trip, smoothed."""
    bytes_acked: int
    """Bytes that the client's kernel has taken."""
    bytes_received: int
    """Bytes that have come from the client."""
    min_rtt: int
    """Microseconds of the shortest round trip, in which no acknowledgement was put off."""


def tcp_info(connection: socket.socket) -> TcpInfo | None:
    """Return what the kernel knows of a TCP connection; None where it does not tell, and once the connection is closed."""
    if sys.platform != "linux":
        return None
    try:
        return TcpInfo(*_TCP_INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)))
    except (OSError, struct.error):
        return None


class OutQueue:
    """Asks the kernel how many bytes of a connection are unsent or not acknowledged (``SIOCOUTQ``)."""

    __slots__ = ("_answer",)

    def __init__(self) -> None:
        self._answer = array.array("i", [0])

    def bytes_of(self, descriptor: int) -> int:
        """Return the bytes; 0 where the kernel does not tell, and once the connection is closed."""
        if sys.platform != "linux" or descriptor < 0:
            return 0
        try:
            fcntl.ioctl(descriptor, termios.TIOCOUTQ, self._answer)  # the same number as SIOCOUTQ
        except OSError:
            return 0
        return self._answer[0]


class Line:
    """What one connection drains.

    It is measured at each ``look``; make one at least every second while anything is unsent, and every 100 to 250 ms while the
    client waits. Nothing is counted when something is written.

    - ``rate``: bytes a second that the connection drains, while the line is what limits; else None.
    - ``is_late``: true while something handed over more than ``BACKLOG`` ago is not acknowledged, or cannot be in time.
    - ``answers_late``: true if acknowledgements took long when the measuring began, at ``began_at``.
    - ``was_full``: whether the connection's user was told to wait. For the use of the wire.

    While ``rate`` is known, hand over no more than ``room()``, also of a burst after a quiet time.
    """

    __slots__ = (
        "_acked", "_acked_at", "_before", "_due", "_due_at", "_forgiven", "_limited_at", "_looked_at", "_mark", "_queue",
        "_received", "_sample", "_taken_at", "_transport", "_unsent", "answers_late", "began_at", "is_late", "is_suspect",
        "rate", "was_full",
    )  # fmt: skip

    def __init__(self, transport: WriteTransport, mark: int, queue: OutQueue | None = None) -> None:
        """``mark`` is the most that may be unsent in the transport, in bytes. ``queue`` may be shared between lines."""
        self._transport = transport
        self._mark = mark
        self._queue = queue or OutQueue()
        self.rate: float | None = None
        self.is_late = False
        self.is_suspect = self.was_full = self.answers_late = False
        self.began_at = now = time.monotonic()
        self._acked = self._received = 0
        self._unsent = self.unsent()
        info = self._info()
        self._looked_at = self._acked_at = self._taken_at = self._limited_at = now
        if info is not None:
            self._acked, self._received = info.bytes_acked, info.bytes_received
            self._taken_at = now - min(info.last_ack_recv, info.last_data_recv) / 1000
            self.answers_late = self._unsent > 0 and max(info.last_ack_recv * 1000, info.rtt) >= _LATE_ANSWER * 1e6
        self._forgiven = now - _FORGIVES_EVERY
        self._before: tuple[int, float] = (self._acked, now)
        self._sample: tuple[int, float] = self._before
        self._due, self._due_at = self._acked + self._unsent, now

    def suspect(self) -> None:
        """Ask a line to show what it drains, before it gets more than ``FIRST_ROOM`` at once."""
        if self.rate is None:
            self.is_suspect = True
            self.rate = FIRST_ROOM / BACKLOG
        if self.is_suspect:
            self._limited_at = time.monotonic()

    @property
    def is_overdue(self) -> bool:
        """True while several segments are unsent, and no acknowledgement has come for two round trips.

        A client may wait with its acknowledgement until it has two segments (RFC 9293, section 3.8.6.3), no longer.
        """
        info = self._info()
        if info is None or self.unsent() <= 2 * info.snd_mss:
            return False
        return info.last_ack_recv >= max(1000 * _OVERDUE, 2 * info.rtt / 1000)

    # ------------------------------------------------------------ what it holds

    def unsent(self) -> int:
        """Return the bytes that were handed over and that the client's kernel has not acknowledged."""
        return self._transport.get_write_buffer_size() + self._queue.bytes_of(descriptor_of(self._transport))

    def room(self) -> int:
        """Return the bytes that may be handed over now.

        With them, what is unsent is about a second of what the line drains. A line that is not known to be slow has room up to
        its mark. Where nothing is unsent there is always room for ``LEAST_ROOM``.
        """
        if self.rate is None:
            return max(0, self._mark - self._transport.get_write_buffer_size())
        unsent = self.unsent()
        room = min(int(self.rate * BACKLOG), self._mark) - unsent
        return max(room, 0 if unsent else LEAST_ROOM)

    @property
    def position(self) -> int:
        """The bytes that were handed over since the connection began; only differences mean something."""
        info = self._info()
        return self.unsent() + (self._acked if info is None else info.bytes_acked)

    # ------------------------------------------------------------ signs of life

    @property
    def progressed_at(self) -> float:
        """The monotonic time of the last sign of life: the client's kernel took bytes, or some came from the client.

        Where nothing is unsent, an answer of the client's kernel to a probe is a sign as well.
        """
        info = self._info()
        if info is None:
            return self._taken_at
        self._note(info, now := time.monotonic())
        silent = info.last_data_recv if self.unsent() else min(info.last_data_recv, info.last_ack_recv)
        return max(self._taken_at, now - silent / 1000)

    @property
    def received_at(self) -> float | None:
        """The monotonic time at which bytes last came from the client; None if the kernel does not tell."""
        info = self._info()
        return None if info is None else time.monotonic() - info.last_data_recv / 1000

    @property
    def has_vanished(self) -> bool:
        """True if the client's kernel has left something unanswered and said nothing for ``GONE_AFTER`` seconds."""
        info = self._info()
        if info is None:
            return False
        silent = min(info.last_ack_recv, info.last_data_recv)
        return bool(info.unacked or info.probes) and silent >= GONE_AFTER * 1000

    # ------------------------------------------------------------ looking

    def look(self, now: float) -> None:
        """Measure what the line has drained since the last look; ``now`` is the monotonic time."""
        if now - self._looked_at < _SHORTEST_SAMPLE:
            return
        was_unsent, before = self._unsent, self._acked
        self._unsent = self.unsent()
        info = self._info()
        if info is None:  # what has left the buffer since is at least what the buffer is shorter by
            if was_unsent > self._unsent:
                self._acked += was_unsent - self._unsent
                self._taken_at = now
        else:
            self._note(info, now)
        self._looked_at = now
        if self._acked != before:
            self._acked_at = now
        if self._unsent == 0:
            self._drained(now)
        elif was_unsent == 0:
            self._start_sample(now)
        else:
            self._limits(now, 0 if info is None else info.snd_mss, info is not None and info.unacked == 0)
        self._check_due(now)

    def _note(self, info: TcpInfo, now: float) -> None:
        if info.bytes_acked != self._acked or info.bytes_received != self._received:
            self._acked, self._received, self._taken_at = info.bytes_acked, info.bytes_received, now

    def _drained(self, now: float) -> None:
        """Take in that the line has taken everything since the sample began, and perhaps faster."""
        acked, at = self._before
        pace = (self._acked - acked) / max(now - at, _SHORTEST_SAMPLE)
        self._start_sample(now)
        if self.rate is None:
            return
        self.rate = max(self.rate, pace)
        if self.is_suspect and self._acked - acked >= FIRST_ROOM // 2 and pace < _PROVEN_PACE:
            self._limited_at = now  # it may have taken just what it drains in this time
        proven = self.is_suspect and now - self._limited_at >= _PROVEN_AFTER
        if proven or self.rate >= self._mark / BACKLOG or now - self._limited_at >= _FORGET_AFTER:
            self.rate, self.is_suspect = None, False

    def _forgives(self) -> bool:
        """Return whether a pause in reading says nothing of the line: not one that comes again and again."""
        again = self._acked_at - self._forgiven
        if again == 0 or again >= _FORGIVES_EVERY:
            self._forgiven = self._acked_at
            return True
        return False

    def _limits(self, now: float, segment: int, is_closed: bool) -> None:
        """Take in that something was unsent all the time since the sample began: the line is what limits.

        ``segment`` is in bytes; the client's window may be closed.
        """
        if is_closed and now - self._acked_at >= _STALLED_AFTER and self._forgives():
            self._start_sample(now)
            return
        acked, at = self._sample
        elapsed, taken = now - at, self._acked - acked
        # A segment may be on its way, of which nothing is known until it has arrived.
        if self.rate is None and elapsed >= _FIRST_SAMPLE and self._unsent > BACKLOG * (taken + segment) / elapsed:
            self.rate = taken / elapsed
        if elapsed >= _SAMPLE and taken:  # a large segment may take longer than a sample
            if self.rate is not None:
                self.rate = (self.rate + taken / elapsed) / 2 if self.rate and not self.is_suspect else taken / elapsed
                self.is_suspect, self._limited_at = False, now
            # The last acknowledgement of a sample may be for what the one before has sent, so both count once all is taken.
            self._before, self._sample = self._sample, (self._acked, now)

    def _check_due(self, now: float) -> None:
        if self._acked >= self._due or self._unsent == 0:
            self._due, self._due_at = self._acked + self._unsent, now
        passed = now - self._due_at >= BACKLOG
        if passed and self.rate is None:
            acked, at = self._before
            self.rate = (self._acked - acked) / max(now - at, BACKLOG)
            self._limited_at = now
        self.is_late = passed or (self.rate is not None and self._unsent > self.rate * BACKLOG)

    def _start_sample(self, now: float) -> None:
        self._before = self._sample = (self._acked, now)

    def _info(self) -> TcpInfo | None:
        return info_of(self._transport)


def is_suspect(transport: WriteTransport) -> bool:
    """Return whether a new connection may be a thin line: its round trips are long, as even a small packet takes long there.

    A client that is only far away gets what comes in its first second in pieces.
    """
    info = info_of(transport)
    return info is not None and info.min_rtt >= SUSPECT_RTT * 1e6


def is_still_suspect(transport: WriteTransport) -> bool:
    """Return the same for a connection in use, of which a handshake is too little to show what its line drains."""
    info = info_of(transport)
    return info is not None and info.min_rtt >= SUSPECT_RTT * 1e6 and info.bytes_acked < _NEW


def info_of(transport: WriteTransport) -> TcpInfo | None:
    """Return what the kernel knows of the connection under a transport, None if it has none or is closed."""
    connection = transport.get_extra_info("socket")
    return None if connection is None or connection.fileno() < 0 else tcp_info(connection)


def unsent_of(transport: WriteTransport) -> int:
    """Return the bytes that were handed to a transport and that the client's kernel has not acknowledged."""
    return transport.get_write_buffer_size() + OutQueue().bytes_of(descriptor_of(transport))


def descriptor_of(transport: WriteTransport) -> int:
    """Return the file descriptor under a transport, -1 if it has none or is closed."""
    connection = transport.get_extra_info("socket")
    return -1 if connection is None else connection.fileno()
