"""Connections move to the worker that holds their session.

When several workers listen on one port, the kernel gives each TCP connection to any of them. A polling session lives in one
worker, which its id names (``w2.…`` is a session of worker 2), but its requests may come over many connections. So a connection
on which a request for another worker's session begins is passed to that worker over a Unix socket (``SCM_RIGHTS``, see
unix(7)), with the bytes read from it. The client notices nothing. The next request may move the connection again.

Pipelined requests are served by the worker of the first of them.
"""

import asyncio
import errno
import logging
import re
import socket
from collections import deque
from collections.abc import Awaitable, Callable, MutableSequence, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.quiet_log import by_client
from app.realtime.wire.connection import LARGEST_READ, HttpConnection

_logger = logging.getLogger(__name__)

LONGEST_LINE = 8192
"""Bytes of a request line that are held back until they name a session."""

MOVES_WITHIN = 5.0
"""Seconds for which a connection waits for a worker to have room; then it is closed."""

MOST_WAITING = 1000
"""Connections that may wait for room at one worker."""

_LARGEST_MOVE = LONGEST_LINE + LARGEST_READ
_INBOX_BYTES = 1 << 20
_MOST_AT_ONCE = 64
_TRY_AGAIN = 0.02
_NO_ROOM = (errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS)

_STARTS = (b"GET /socket.io/?", b"POST /socket.io/?", b"GET /socket.io?", b"POST /socket.io?")
_UNDER_PREFIX = re.compile(rb"(?:GET|POST) (?:/[A-Za-z0-9._~-]+){1,20}?/socket\.io/?\?")
_NAMES_WORKER = re.compile(
    rb"[\r\n]*(?:GET|POST) (?:/[A-Za-z0-9._~-]+){0,20}?/socket\.io/?\?(?:(?!sid=)[^& \r\n]*&)*sid=w([1-9][0-9]?)\."
)
_END_OF_TARGET = re.compile(rb"[ \r\n]")


@dataclass(frozen=True, slots=True)
class Doors:
    """The sockets between the workers, as one of them holds them. They can be sent to its process."""

    worker: int
    """The number of this worker; the first is 1."""
    inbox: socket.socket
    outlets: Sequence[socket.socket]
    """The sending ends of the inboxes of worker 1, 2, …."""
    adopts: MutableSequence[int]
    """1 for each worker that adopts connections now, in memory that the processes share."""


def doors(workers: int, adopts: MutableSequence[int]) -> list[Doors]:
    """Return the doors of each worker. The caller closes their sockets."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(workers)]
    outlets = [outlet for outlet, _ in pairs]
    for outlet in outlets:
        outlet.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _INBOX_BYTES)
    return [Doors(number, inbox, outlets, adopts) for number, (_, inbox) in enumerate(pairs, 1)]


class _Move(NamedTuple):
    """A connection that waits to be passed on."""

    until: float
    connection: socket.socket
    data: bytes


class Handover:
    """Passes connections to other workers, and adopts those that they pass on."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._waiting: dict[int, deque[_Move]] = {number: deque() for number in range(1, len(doors.outlets) + 1)}
        self._timer: asyncio.TimerHandle | None = None
        for end in (doors.inbox, *doors.outlets):
            end.setblocking(False)

    def leads_to(self, worker: int) -> bool:
        """Return whether this is the number of another worker that adopts connections now."""
        return worker in self._waiting and worker != self._doors.worker and bool(self._doors.adopts[worker - 1])

    def move(self, worker: int, connection: socket.socket, data: bytes) -> None:
        """Pass a connection on, with the bytes read from it. The caller closes its own descriptor of it, and no more.

        Retry for ``MOVES_WITHIN`` seconds while the worker has no room, then close the connection.
        """
        waiting = self._waiting[worker]
        if not waiting and self._is_out(worker, connection.fileno(), data):
            return
        if len(waiting) >= MOST_WAITING:
            _logger.warning("worker %d accepts no connections; closing one", worker, extra=by_client(None))
            return
        loop = asyncio.get_running_loop()
        waiting.append(_Move(loop.time() + MOVES_WITHIN, connection.dup(), data))
        if self._timer is None:
            self._timer = loop.call_later(_TRY_AGAIN, self._try_again)

    async def receive(self, adopt: Callable[[socket.socket, bytes], Awaitable[None]]) -> None:
        """Adopt the connections that other workers pass on, until cancelled. Connections that arrive later are closed."""
        loop, inbox = asyncio.get_running_loop(), self._doors.inbox
        arrived = asyncio.Event()
        loop.add_reader(inbox.fileno(), arrived.set)
        self._doors.adopts[self._doors.worker - 1] = 1
        try:
            while True:
                await arrived.wait()
                arrived.clear()
                # The connection's own protocol finds out whether it is broken. One that cannot be adopted at all is closed.
                adopting = asyncio.gather(*(self._adopt(adopt, *moved) for moved in self._arrived()))
                try:
                    await asyncio.shield(adopting)
                except asyncio.CancelledError:
                    await adopting  # so that the shutdown reaches them as well
                    raise
        finally:
            self._doors.adopts[self._doors.worker - 1] = 0
            loop.remove_reader(inbox.fileno())
            while left := self._arrived():
                for connection, _ in left:
                    connection.close()

    def close(self) -> None:
        """Close the connections that still wait to be passed on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for waiting in self._waiting.values():
            while waiting:
                waiting.popleft().connection.close()

    def _try_again(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        for worker, waiting in self._waiting.items():
            while waiting:
                until, connection, data = waiting[0]
                if not self._is_out(worker, connection.fileno(), data):
                    if loop.time() < until:
                        break
                    _logger.warning("worker %d accepts no connections; closing one", worker, extra=by_client(None))
                waiting.popleft()
                connection.close()
        if any(self._waiting.values()):
            self._timer = loop.call_later(_TRY_AGAIN, self._try_again)

    def _is_out(self, worker: int, descriptor: int, data: bytes) -> bool:
        """Send the connection; return False if there is no room now. One that can never be sent counts as sent."""
        try:
            socket.send_fds(self._doors.outlets[worker - 1], [data], [descriptor])
        except OSError as error:
            if error.errno in _NO_ROOM:
                return False
            _logger.warning("failed to pass a connection to worker %d: %s", worker, error.strerror, extra=by_client(None))
        return True

    def _arrived(self) -> list[tuple[socket.socket, bytes]]:
        moved: list[tuple[socket.socket, bytes]] = []
        with suppress(BlockingIOError):
            while len(moved) < _MOST_AT_ONCE:
                data, descriptors, _, _ = socket.recv_fds(self._doors.inbox, _LARGEST_MOVE, 1)
                if descriptors:
                    moved.append((socket.socket(fileno=descriptors[0]), data))
                else:
                    _logger.warning("lost a connection: this process has too many open files", extra=by_client(None))
        return moved

    async def _adopt(
        self, adopt: Callable[[socket.socket, bytes], Awaitable[None]], connection: socket.socket, data: bytes
    ) -> None:
        try:
            connection.setblocking(False)
            await adopt(connection, data)
        except OSError as error:
            _logger.debug("a connection passed on by another worker is gone: %s", error)
            connection.close()


class MovableHttpConnection(HttpConnection):
    """An HTTP connection that moves to the worker whose session is requested."""

    _is_in_message = False
    _held = b""

    def __init__(self, handover: Handover, *arguments: Any, read: bytes = b"", **options: Any) -> None:
        """``read`` is what another worker has already read from the connection."""
        super().__init__(*arguments, **options)
        self._handover = handover
        self._read = read

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._read:
            # In this call: asyncio starts to read, and so to deliver what follows, only after it.
            data, self._read = self._read, b""
            self.data_received(data)

    def data_received(self, data: bytes) -> None:
        if self._is_in_message or not self.is_between_requests:
            super().data_received(data)
            return
        data, self._held = self._held + data, b""
        worker = worker_named(data)
        if worker is None and may_name_worker(data):
            self._hold(data)
        elif worker is None or not self._handover.leads_to(worker):
            super().data_received(data)
        elif self.wire.transport.get_write_buffer_size():
            self._hold(data)
            self.wire.transport.pause_reading()
            asyncio.get_running_loop().call_later(_TRY_AGAIN, self._go_on)
        else:
            self._move(worker, data)

    def request_begins(self) -> None:
        self._is_in_message = True
        super().request_begins()

    def request_arrived(self) -> None:
        self._is_in_message = False
        super().request_arrived()

    def _hold(self, data: bytes) -> None:
        """Keep back the beginning of a request line. Its deadline runs, and the idle connection's timeout does not."""
        self._held = data
        super().data_received(b"")

    def _go_on(self) -> None:
        """Look again whether the client has read the last answer, which cannot move with the connection."""
        transport = self.wire.transport
        if not transport.is_closing():
            transport.resume_reading()
            self.data_received(b"")

    def _move(self, worker: int, data: bytes) -> None:
        transport = self.wire.transport
        self._handover.move(worker, transport.get_extra_info("socket"), data)
        # Closes this process's descriptor only: the connection stays open as long as any process has one.
        transport.abort()


def worker_named(data: bytes) -> int | None:
    """Return the worker that the first request names by its session id, None if it names none or not yet."""
    named = _NAMES_WORKER.match(data)
    return int(named[1]) if named else None


def may_name_worker(data: bytes) -> bool:
    """Return whether the data is the beginning of a request line that may still name a worker."""
    line = data.lstrip(b"\r\n")
    if not line or len(line) > LONGEST_LINE:
        return False
    for start in _STARTS:
        if line.startswith(start):
            return _END_OF_TARGET.search(line, len(start)) is None
        if start.startswith(line):
            return True
    # A prefix is looked for only in what has arrived: a segment of TCP has more room than it takes.
    under = _UNDER_PREFIX.match(line)
    return under is not None and _END_OF_TARGET.search(line, under.end()) is None
