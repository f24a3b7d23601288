"""A board: texts in memory that all gateway processes of a machine may share, one place for each process.

Each process writes to its own place and reads all of them, without a lock. A text is written with its checksum, so a reader
never takes a half-written text for a whole one, whether its writer is still writing or has died.

The head of the board holds the time at which the gateway started and the time of the last read, so that processes need not
write while nothing reads. Times are of the monotonic clock, which the processes of a machine share.
"""

import ctypes
import struct
from datetime import UTC, datetime
from time import monotonic, time
from zlib import crc32

Memory = bytearray | ctypes.Array[ctypes.c_ubyte]

ASKED_FOR = 10.0
"""Seconds after a read for which processes keep their places up to date."""

_HEAD = struct.Struct("<ddd")  # started, by the wall clock and by the monotonic clock; last read
_ASKED = struct.Struct("<d")
_ASKED_AT = 16
_TITLE = struct.Struct("<dII")  # time of writing, length, checksum of both and the text
_CHECKED = struct.Struct("<dI")
_LINE = 64  # a cache line: none is written by two processes
_ATTEMPTS = 3
"""Reads of a place whose writer may be writing meanwhile."""


class Board:
    """Places for the texts of several processes, counted from 0."""

    def __init__(self, memory: Memory, workers: int) -> None:
        """``memory`` holds at least ``size`` bytes. Call ``start`` once, in the process that allocates it.

        Raises ValueError where the memory is too small.
        """
        self._memory = memory
        self._stride = (len(memory) - _LINE) // workers // _LINE * _LINE
        self.capacity = self._stride - _TITLE.size
        if self.capacity < 1:
            raise ValueError(f"the memory is too small for {workers} places")
        self.workers = workers

    @classmethod
    def alone(cls, capacity: int) -> "Board":
        """Return a started board in the memory of this process, with one place of ``capacity`` bytes."""
        board = cls(bytearray(cls.size(1, capacity)), 1)
        board.start()
        return board

    @staticmethod
    def size(workers: int, capacity: int) -> int:
        """Return the bytes that a board takes with a place of ``capacity`` bytes for each of ``workers`` processes."""
        return _LINE + workers * (-(-(_TITLE.size + capacity) // _LINE) * _LINE)

    def start(self) -> None:
        """Note that the gateway starts now and that the board has not been read."""
        _HEAD.pack_into(self._memory, 0, time(), monotonic(), float("-inf"))

    @property
    def started(self) -> datetime:
        """The time at which the gateway started, aware, in UTC."""
        return datetime.fromtimestamp(_HEAD.unpack_from(self._memory, 0)[0], UTC)

    @property
    def uptime(self) -> float:
        """Seconds since the gateway started."""
        return monotonic() - float(_HEAD.unpack_from(self._memory, 0)[1])

    def ask(self) -> None:
        """Note that the board is being read, so that processes keep their places up to date."""
        _ASKED.pack_into(self._memory, _ASKED_AT, monotonic())

    @property
    def is_asked_for(self) -> bool:
        """True while the last read is less than ``ASKED_FOR`` seconds ago."""
        asked: float = _ASKED.unpack_from(self._memory, _ASKED_AT)[0]
        return monotonic() - asked < ASKED_FOR

    def place(self, worker: int = 0) -> "Place":
        """Clear the place of a process and return it."""
        self.clear(worker)
        return Place(self, worker)

    def clear(self, worker: int) -> None:
        """Clear the place of a process."""
        _TITLE.pack_into(self._memory, self._start(worker), 0.0, 0, 0)

    def write(self, worker: int, text: bytes) -> None:
        """Write a text to a place; only its process may. Raises ValueError for a text longer than ``capacity``."""
        if len(text) > self.capacity:
            raise ValueError(f"{len(text)} bytes are too many for a place of {self.capacity}")
        start, now = self._start(worker), monotonic()
        checksum = crc32(text, crc32(_CHECKED.pack(now, len(text))))
        _TITLE.pack_into(self._memory, start, now, len(text), checksum)
        struct.pack_into(f"{len(text)}s", self._memory, start + _TITLE.size, text)

    def read(self, worker: int, within: float) -> bytes | None:
        """Return the text written to a place in the last ``within`` seconds, None where there is none or it keeps changing."""
        start = self._start(worker)
        for _ in range(_ATTEMPTS):
            written, length, checksum = _TITLE.unpack_from(self._memory, start)
            if not 0 < length <= self.capacity or monotonic() - written > within:
                return None
            text: bytes = struct.unpack_from(f"{length}s", self._memory, start + _TITLE.size)[0]
            if crc32(text, crc32(_CHECKED.pack(written, length))) == checksum:
                return text
        return None

    def _start(self, worker: int) -> int:
        return _LINE + worker * self._stride


class Place:
    """The place of one process."""

    def __init__(self, board: Board, worker: int) -> None:
        self.board = board
        self.worker = worker

    def write(self, text: bytes) -> None:
        """Write a text here. Raises ValueError for one that is too long."""
        self.board.write(self.worker, text)

    def holds_since(self, within: float) -> bool:
        """Return whether a text was written here in the last ``within`` seconds."""
        return self.board.read(self.worker, within) is not None
