"""What a gateway process counts, in memory that all gateway processes of one machine may share.

The memory is a table of float64 with a row for each process. Only the process writes its row, anybody reads them all, so that
totals are exact and need no lock. A count is exact up to 2**53. A process that is started again goes on with the counters of
its row; its gauges, which say what is so now, begin at zero.
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, MutableSequence, Sequence
from contextlib import suppress
from enum import StrEnum
from mmap import PAGESIZE
from pathlib import Path
from time import process_time, time

from app.realtime.contract.event import Event

_WIDTH = 256  # more than a row needs, and whole cache lines: processes do not share one

LATENCIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
"""Upper bounds of the latency of a delivery, in seconds; the log's clock has milliseconds."""

AGES = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86_400)
"""Upper bounds of the age of a price, in seconds."""

BATCHES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Upper bounds of the events in a batch."""


class Transport(StrEnum):
    """The ways events reach a streaming client."""

    WEBSOCKET = "websocket"
    POLLING = "polling"
    SSE = "sse"


class CutReason(StrEnum):
    """Why the gateway ends a client's connection."""

    LAGGING = "lagging for too long"
    LANE_FULL = "alert lane overflowed"
    NOT_READING = "not reading"
    REPLAY_FAILED = "replay failed"
    FLOODING = "flooding"
    TOO_MANY_PACKETS = "too many packets"
    NOT_A_PACKET = "not a packet"
    PING_TIMEOUT = "ping timeout"
    OTHER = "other"

    @classmethod
    def of(cls, words: str) -> "CutReason":
        """The reason with these words, OTHER for words that are none."""
        return cls(words) if words in _CUT_REASONS else cls.OTHER


_CUT_REASONS = frozenset(reason.value for reason in CutReason)


class Refusal(StrEnum):
    """Why a client that wants a stream is not served."""

    FULL = "full"
    NOT_READY = "not ready"


class Resume(StrEnum):
    """What became of a cursor that a streaming client came back with."""

    RING = "ring"
    LOG = "log"
    LOST = "lost"
    REFUSED = "refused"


class Number:
    """One number of a row."""

    __slots__ = ("_numbers", "_place")

    def __init__(self, numbers: MutableSequence[float], place: int) -> None:
        self._numbers = numbers
        self._place = place

    @property
    def value(self) -> float:
        """What it is now."""
        return self._numbers[self._place]

    def add(self, amount: float = 1) -> None:
        """Make it more; less, with a negative amount."""
        self._numbers[self._place] += amount

    def set(self, value: float) -> None:
        """Make it this."""
        self._numbers[self._place] = value


class Histogram:
    """How many observations were no greater than each bound and greater than the one before, and their sum."""

    __slots__ = ("_first", "_numbers", "bounds")

    def __init__(self, numbers: MutableSequence[float], first: int, bounds: Sequence[float]) -> None:
        self._numbers = numbers
        self._first = first
        self.bounds = bounds

    def observe(self, value: float, times: float = 1) -> None:
        """Take in a value that was seen so often."""
        self._numbers[self._first + 1 + bisect_left(self.bounds, value)] += times
        self._numbers[self._first] += value * times

    @property
    def sum(self) -> float:
        """All values together."""
        return self._numbers[self._first]

    @property
    def counts(self) -> list[float]:
        """Observations in each interval, those above the last bound behind them."""
        return [self._numbers[place] for place in range(self._first + 1, self._first + len(self.bounds) + 2)]

    @property
    def count(self) -> float:
        """How many observations there were."""
        return sum(self.counts)


class Statistics:
    """The row of one process: what it counts.

    Gauges: ``clients`` by transport, ``subscriptions`` (pairs, summed over clients), ``lagging`` clients, ``buffered`` bytes
    that wait for clients, ``log_lag`` (seconds that the newest event was old when it was read), ``log_behind`` (events that the
    log was ahead of this process when it was last compared), ``memory`` (resident bytes) and ``loop_lag`` (seconds by which the
    event loop was late when it last had to be on time).

    Counters: ``connections`` by transport, ``refused`` and ``cut_off`` by reason, ``conflated`` prices, ``read`` events,
    ``batches`` of them by size, ``gaps``, ``deliveries`` (events written or fetched, past ones too) by transport, the ``sent``
    bytes in which they and the answers went to clients, ``latency`` by transport (seconds from an event's id to its delivery, of
    each delivery of an event that came after the client followed), ``price_age`` (seconds from the market time of a batch's
    newest price until the batch was written), ``resumes`` by outcome and ``cpu`` seconds.

    Each is a ``Number`` or ``Histogram``, or a mapping to them from the value of its label.
    """

    def __init__(self, table: "StatisticsTable", numbers: MutableSequence[float], first: int) -> None:
        self.table = table
        self._numbers = numbers
        self._first = self._next = first
        self._cpu_before = 0.0
        # Gauges first: they are what a new process sets back.
        self.clients = self._by(Transport)
        self.subscriptions = self._number()
        self.lagging = self._number()
        self.buffered = self._number()
        self.log_lag = self._number()
        self.log_behind = self._number()
        self.memory = self._number()
        self.loop_lag = self._number()
        self._end_of_gauges = self._next
        self.connections = self._by(Transport)
        self.refused = self._by(Refusal)
        self.cut_off = self._by(CutReason)
        self.conflated = self._number()
        self.read = self._number()
        self.batches = self._histogram(BATCHES)
        self.gaps = self._number()
        self.deliveries = self._by(Transport)
        self.sent = self._number()
        self.latency = {transport.value: self._histogram(LATENCIES) for transport in Transport}
        self.price_age = self._histogram(AGES)
        self.resumes = self._by(Resume)
        self.cpu = self._number()
        assert self._next <= first + _WIDTH

    def zero_gauges(self) -> None:
        """Nothing is so any more that was so of the process that had this row."""
        for place in range(self._first, self._end_of_gauges):
            self._numbers[place] = 0.0

    @property
    def client_count(self) -> int:
        """The streaming clients of this process."""
        return _whole(self.clients)

    def enter(self, transport: str) -> None:
        """A client is served over this transport from here on."""
        self.clients[transport].add()

    def leave(self, transport: str) -> None:
        """A client is no longer served over this transport."""
        self.clients[transport].add(-1)

    def take_batch(self, events: Sequence[Event], late: bool) -> None:
        """A batch has been read from the log and handed out. A gap in it is no event of the log."""
        number = len([event for event in events if event.seq])
        self.read.add(number)
        self.batches.observe(number)
        if late:
            self.log_lag.set(max(0.0, time() - events[-1].order[0] / 1000))

    def take_price(self, at: float) -> None:
        """The newest price of a batch has been handed out; its market time is ``at``, in Unix seconds."""
        self.price_age.observe(max(0.0, time() - at))

    def deliver(self, transport: str, events: int, clients: int, size: int) -> None:
        """So many events have been handed to each of so many clients, in ``size`` bytes."""
        self.deliveries[transport].add(events * clients)
        self.sent.add(size * clients)

    def time(self, transport: str, events: Sequence[Event], clients: int) -> None:
        """These events, in the order of the log, have just been handed to each of so many clients as they happened."""
        if not events:
            return
        latency, now, newest = self.latency[transport], time(), events[-1].order[0]
        if events[0].order[0] == newest:  # as a rule: what is written to the log together has one time
            latency.observe(max(0.0, now - newest / 1000), len(events) * clients)
            return
        for milliseconds, number in Counter(event.order[0] for event in events).items():
            latency.observe(max(0.0, now - milliseconds / 1000), number * clients)

    def take_process(self) -> None:
        """Take in what this process has used of the machine."""
        used = process_time()
        self.cpu.add(used - self._cpu_before)
        self._cpu_before = used
        with suppress(OSError, ValueError, IndexError):  # Linux has the file; elsewhere the memory is not known
            self.memory.set(int(Path("/proc/self/statm").read_text().split()[1]) * PAGESIZE)

    def __str__(self) -> str:
        """What was so far, in one line."""
        figures = {
            "clients": _whole(self.connections),
            "events delivered": _whole(self.deliveries),
            "prices conflated": int(self.conflated.value),
            "gaps": int(self.gaps.value),
            **{f"refused ({reason})": int(number.value) for reason, number in self.refused.items() if number.value},
            **{f"cut off ({reason})": int(number.value) for reason, number in self.cut_off.items() if number.value},
        }
        return ", ".join(f"{count} {what}" for what, count in figures.items())

    def _take(self, places: int) -> int:
        first, self._next = self._next, self._next + places
        return first

    def _number(self) -> Number:
        return Number(self._numbers, self._take(1))

    def _by(self, label: type[StrEnum]) -> dict[str, Number]:
        return {value.value: self._number() for value in label}

    def _histogram(self, bounds: Sequence[float]) -> Histogram:
        return Histogram(self._numbers, self._take(len(bounds) + 2), bounds)


class StatisticsTable:
    """The rows of all gateway processes of a machine."""

    def __init__(self, numbers: MutableSequence[float], workers: int = 1) -> None:
        """``numbers`` are at least ``size(workers)`` float64, which the processes may share."""
        if len(numbers) < self.size(workers):
            raise ValueError(f"{self.size(workers)} numbers are needed")
        self.rows = tuple(Statistics(self, numbers, worker * _WIDTH) for worker in range(workers))

    @classmethod
    def alone(cls) -> "StatisticsTable":
        """A table in the memory of this process, with one row."""
        return cls(array("d", bytes(8 * cls.size(1))))

    @staticmethod
    def size(workers: int) -> int:
        """How many numbers the rows of so many processes take."""
        return workers * _WIDTH

    def row(self, worker: int = 0) -> Statistics:
        """The row that a process is to write, counted from 0, with its gauges at zero."""
        row = self.rows[worker]
        row.zero_gauges()
        return row

    @property
    def workers(self) -> int:
        """How many processes have a row."""
        return len(self.rows)

    @property
    def total_clients(self) -> int:
        """The streaming clients of all processes."""
        return sum(row.client_count for row in self.rows)


def _whole(numbers: Mapping[str, Number]) -> int:
    return int(sum(number.value for number in numbers.values()))
