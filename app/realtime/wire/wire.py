"""The wire: direct access to the connection under an ASGI request, offered by our own server.

Our server puts a ``Wire`` into ``scope["state"]``. Other ASGI servers offer none, and the ordinary ASGI ``send`` is used.
"""

import asyncio
import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from app.realtime.wire.line import GONE_AFTER, Line, is_still_suspect, is_suspect, unsent_of

SCOPE_KEY = "fx.wire"

_UNSENT_IN_KERNEL = 16_384
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_LOOK_EVERY = 0.1

ROUND = 1.0
"""Seconds in which every connection is looked at once."""

_MARK = 65_536

_UNREACHABLE = frozenset((errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN))
"""How the kernel reports a peer that no longer answers."""


class WireUser:
    """Callbacks of a connection for the object that uses its wire. They run in the event loop and must not block."""

    __slots__ = ()

    def wire_full(self) -> None:
        """Stop writing: more than a second of what the line drains is unsent, or more bytes than the mark.

        A line that is known to be slow is full all the time, so that a burst never meets an empty one: it is told about
        again after each call of ``wire_has_room``.
        """

    def wire_has_room(self) -> None:
        """Write again, but no more than ``Wire.line.room()`` bytes while ``Wire.line.rate`` is known.

        Called when the transport has drained to a quarter of the mark, and about every 100 ms while the line is full.
        """

    def wire_gone(self) -> None:
        """Forget the connection: writing is over. Called once, before the connection closes.

        ``Wire.has_vanished`` says whether the client has left without a word.
        """

    def wire_received(self, message: str | bytes) -> None:
        """Take a message that the client sent over a detached websocket."""

    def wire_answered(self) -> None:
        """Note that the client has answered a ping frame."""


_UNUSED = WireUser()


class Wire:
    """The transport under a request or a websocket, for complete bytes that are written without waiting."""

    __slots__ = ("_let_go", "_line", "_mark", "_timer", "_user", "detached", "has_vanished", "is_gone", "transport")

    def __init__(self, transport: asyncio.Transport, let_go: Callable[[], None] | None = None) -> None:
        """``let_go`` frees what the server keeps for the request, once the ASGI call of a detached request has returned."""
        self.transport = transport
        self.detached = False
        self.is_gone = False
        self.has_vanished = False
        """True once the connection has ended because the client's kernel did not answer any more."""
        self._let_go = let_go
        self._user = _UNUSED
        self._mark = _MARK
        self._line: Line | None = None  # of the few that are not drained at once
        self._timer: asyncio.TimerHandle | None = None

    def open(self, mark: int, user: WireUser) -> None:
        """Start using the wire; it reports itself full above ``mark`` unsent bytes.

        Calls ``user.wire_gone`` at once if the connection is gone already.
        """
        self.watch(user)
        if self.is_gone:
            return
        self._mark = mark
        self.transport.set_write_buffer_limits(high=mark)
        connection = self.transport.get_extra_info("socket")
        if connection is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # What the kernel has taken can no longer be conflated: a slow reader would get megabytes of old prices.
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_IN_KERNEL)
        self._expect(thin=is_suspect(self.transport))

    def watch(self, user: WireUser) -> None:
        """Report to ``user`` from now on, with the connection's limits unchanged."""
        if self.is_gone:
            user.wire_gone()
        else:
            self._user = user

    def unwatch(self) -> None:
        """Report to no user any more."""
        self._user = _UNUSED

    @property
    def is_used(self) -> bool:
        """True while the connection's end is reported to a user."""
        return self._user is not _UNUSED

    def detach(self) -> None:
        """Keep the connection when the ASGI call returns, so that neither a task nor a request is kept for it."""
        self.detached = True

    def let_go(self) -> None:
        """Free what the server keeps for a detached request. Called by the server when the ASGI call has returned."""
        let_go, self._let_go = self._let_go, None
        if let_go is not None:
            let_go()

    def release(self) -> None:
        """Forget the server's connection, which has ended or has another wire, and refers to this one."""
        self._let_go = None

    # ------------------------------------------------------------ the line

    @property
    def line(self) -> Line:
        """What the connection drains. It is measured from the first use on, and while something stays unsent."""
        if self._line is None:
            self._line = Line(self.transport, self._mark)
        return self._line

    def full(self) -> None:
        """Pass on that the transport asks for a pause."""
        self._user.wire_full()
        self._watch_closely()
        if self._line is not None:
            self._line.was_full = True

    def room(self) -> None:
        """Pass on that the transport has drained."""
        if self._line is None or self._line.room() > 0:
            self._user.wire_has_room()

    def glance(self, now: float) -> None:
        """Look at a connection on which something is unsent; the server does so about once a second.

        ``now`` is the monotonic time. What is still unsent at the second look makes the line measured closely.
        """
        if self.is_gone or self._timer is not None:
            return
        line = self._line
        if line is None:
            line = self.line
        else:
            line.look(now)
        if line.is_late or line.answers_late:
            self._watch_closely()
        elif line.has_vanished:
            self.vanish()

    def all_sent(self) -> None:
        """Note that nothing is unsent, so that nothing more has to be kept of the line."""
        if self._timer is None:
            self._line = None

    def vanish(self) -> None:
        """End the connection of a client that left without a word."""
        self.has_vanished = True
        self.abort()

    def _watch_closely(self) -> None:
        if self._timer is None and not self.is_gone and self._user is not _UNUSED:
            # A client that only does not read is for the user to judge; one that has vanished shows when the line is measured.
            self._set_user_timeout(0)
            line = self.line
            line.began_at = time.monotonic()
            line.look(line.began_at)
            self._timer = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look)

    def _set_user_timeout(self, seconds: float) -> None:
        """Set how long the kernel lets sent bytes be unacknowledged, or the window be closed; 0 is its own default."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))

    def _expect(self, *, thin: bool) -> None:
        """Look at the connection before its turn: what it gets now may be more than its line carries in a while.

        One that may be ``thin`` is full from now on, so that it gets this in pieces.
        """
        if self.is_gone:
            return
        if thin and self._user is not _UNUSED:
            self.line.suspect()
            self.full()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look_before_turn)

    def _look_before_turn(self) -> None:
        self._timer = None
        if self.is_gone or not unsent_of(self.transport):
            return
        if self.line.is_overdue and self._user is not _UNUSED:
            self.line.suspect()
            self.full()
        else:
            self._watch_closely()

    def _look(self) -> None:
        """Measure the line, and tell the user whether it is full or has room."""
        self._timer = None
        if self.is_gone:
            return
        line, user, now = self.line, self._user, time.monotonic()
        line.look(now)
        if line.has_vanished:
            self.vanish()
            return
        before = line.position
        if line.was_full and line.room() > 0:
            user.wire_has_room()
            if self.is_gone:
                return
        is_full = line.rate is not None or line.is_late
        if is_full:
            line.was_full = True
            user.wire_full()
        elif now - line.began_at >= ROUND if not line.was_full else line.unsent() == 0 and line.position == before:
            # It keeps up, and nothing waits any more, neither here nor with the user.
            line.was_full = line.answers_late = False
            self._set_user_timeout(GONE_AFTER)
            return
        self._timer = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look)

    def received(self, message: str | bytes) -> None:
        """Pass on a message from the client."""
        self._expect(thin=is_still_suspect(self.transport))  # what it has asked for
        self._user.wire_received(message)

    def answered(self) -> None:
        """Pass on that the client has answered a ping frame."""
        self._user.wire_answered()

    def gone(self) -> None:
        """Report that the connection is ending. Later calls do nothing."""
        self.is_gone = True
        self._line = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        user, self._user = self._user, _UNUSED
        user.wire_gone()

    def lost(self, error: Exception | None) -> None:
        """Report that the connection has ended, with the error that ended it, if any."""
        if not self.is_gone and isinstance(error, OSError) and error.errno in _UNREACHABLE:
            self.has_vanished = True
        self.gone()

    def abort(self) -> None:
        """End the connection at once and drop what is unsent."""
        self.gone()
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):
                # Reset the connection. Otherwise the kernel keeps unsent data until the client reads it, which may be never.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def finish(self, last: bytes) -> None:
        """Send the last bytes and close."""
        self.gone()
        if not self.transport.is_closing():
            self.transport.write(last)
            self.transport.close()


class Way(NamedTuple):
    """The cheapest way to write shared bytes to one of many connections; see ``write_to_all``."""

    descriptor: int
    unsent: Callable[[], int]
    write: Callable[[bytes], None]


def way_of(transport: asyncio.WriteTransport) -> Way:
    """Return the way to a transport's connection: past the transport where nothing encrypts, else through it."""
    connection = transport.get_extra_info("socket")
    if connection is None or transport.get_extra_info("sslcontext") is not None:
        return Way(-1, lambda: 1, transport.write)
    return Way(connection.fileno(), transport.get_write_buffer_size, transport.write)


def write_to_all(ways: Iterable[Way], piece: bytes) -> None:
    """Write the same bytes to many connections. The transport of each keeps what the kernel does not take, in order.

    This loop is the cost of a delivery, most of it the system call. Going through the transports would add a tenth.
    """
    size, write_now = len(piece), os.write
    for descriptor, unsent, write in ways:
        if unsent():
            write(piece)
            continue
        try:
            sent = write_now(descriptor, piece)
        except OSError:
            write(piece)  # full or gone: the transport finds out which and handles it
        else:
            if sent < size:
                write(piece[sent:])


def wire_of(scope: Mapping[str, Any]) -> Wire | None:
    """Return the wire of an ASGI scope, None if the server offers none."""
    wire = (scope.get("state") or {}).get(SCOPE_KEY)
    return wire if isinstance(wire, Wire) else None
