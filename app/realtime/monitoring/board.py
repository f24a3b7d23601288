"""A board in memory that all gateway processes of one machine may share: each has a place to write on, everybody reads them all.

What a place holds is whole or not there at all: it is written with a checksum of itself, which nothing half written has. So
nobody waits for anybody, and a process that dies while it writes leaves nothing that could be taken for a text.

The head of the board holds when the gateway was started and when somebody last asked for what stands on it, so that nobody
needs to write while nobody reads. Times are those of the machine's monotonic clock, which all processes have in common.
"""

import ctypes
import struct
from datetime import UTC, datetime
from time import monotonic, time
from zlib import crc32

Memory = bytearray | ctypes.Array[ctypes.c_ubyte]

ASKED_FOR = 10.0
"""Seconds for which a board is worth writing on after somebody has asked for what stands on it."""

_HEAD = struct.Struct("<ddd")  # started by the wall's clock and by the monotonic one, and last asked for
_ASKED = struct.Struct("<d")
_ASKED_AT = 16
_TITLE = struct.Struct("<dII")  # when it was written, how long it is, and the checksum of both with the text
_CHECKED = struct.Struct("<dI")
_LINE = 64  # no two processes write to one cache line
_ATTEMPTS = 3


class Board:
    """Places for the texts of so many processes."""

    def __init__(self, memory: Memory, workers: int) -> None:
        """``memory`` has the ``size`` that the board needs. Whoever made it calls ``start``."""
        self._memory = memory
        self._stride = (len(memory) - _LINE) // workers // _LINE * _LINE
        self.capacity = self._stride - _TITLE.size
        if self.capacity < 1:
            raise ValueError(f"the memory is too small for {workers} places")
        self.workers = workers

    @classmethod
    def alone(cls, capacity: int) -> "Board":
        """A board in the memory of this process, with one place for so many bytes."""
        board = cls(bytearray(cls.size(1, capacity)), 1)
        board.start()
        return board

    @staticmethod
    def size(workers: int, capacity: int) -> int:
        """How many bytes a board takes that has a place for so many bytes for each of so many processes."""
        return _LINE + workers * (-(-(_TITLE.size + capacity) // _LINE) * _LINE)

    def start(self) -> None:
        """Note that the gateway starts now. Nobody has asked yet."""
        _HEAD.pack_into(self._memory, 0, time(), monotonic(), float("-inf"))

    @property
    def started(self) -> datetime:
        """When the gateway was started, aware."""
        return datetime.fromtimestamp(_HEAD.unpack_from(self._memory, 0)[0], UTC)

    @property
    def uptime(self) -> float:
        """Seconds since then."""
        return monotonic() - float(_HEAD.unpack_from(self._memory, 0)[1])

    def ask(self) -> None:
        """Somebody wants to know what stands here."""
        _ASKED.pack_into(self._memory, _ASKED_AT, monotonic())

    @property
    def is_asked_for(self) -> bool:
        """True while somebody has asked within the last seconds."""
        asked: float = _ASKED.unpack_from(self._memory, _ASKED_AT)[0]
        return monotonic() - asked < ASKED_FOR

    def place(self, worker: int = 0) -> "Place":
        """The place of a process, counted from 0, with nothing on it."""
        self.clear(worker)
        return Place(self, worker)

    def clear(self, worker: int) -> None:
        """Take away what a process has written."""
        _TITLE.pack_into(self._memory, self._start(worker), 0.0, 0, 0)

    def write(self, worker: int, text: bytes) -> None:
        """Put a text in the place of a process, which alone does so. Raises ValueError for one that is longer than the place."""
        if len(text) > self.capacity:
            raise ValueError(f"{len(text)} bytes are too many for a place of {self.capacity}")
        start, now = self._start(worker), monotonic()
        checksum = crc32(text, crc32(_CHECKED.pack(now, len(text))))
        _TITLE.pack_into(self._memory, start, now, len(text), checksum)
        struct.pack_into(f"{len(text)}s", self._memory, start + _TITLE.size, text)

    def read(self, worker: int, within: float) -> bytes | None:
        """What a process has written in the last ``within`` seconds, None where it has not, or is writing all the time."""
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
    """Where one process writes."""

    def __init__(self, board: Board, worker: int) -> None:
        self.board = board
        self.worker = worker

    def write(self, text: bytes) -> None:
        """Put a text in this place. Raises ValueError for one that is too long."""
        self.board.write(self.worker, text)

    def holds_since(self, within: float) -> bool:
        """True where something was written here in the last ``within`` seconds."""
        return self.board.read(self.worker, within) is not None
