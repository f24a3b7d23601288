"""Counters, gauges and histograms of a gateway process, in memory that all gateway processes of a machine may share.

The memory is a table of float64 with one row per process. Each process writes its own row and reads all of them, so totals
are exact and need no lock. A count is exact up to 2**53. A process that is restarted continues the counters of its row and
starts its gauges at zero.
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

_WIDTH = 256  # more than a row needs, and a multiple of a cache line: no line is written by two processes

LATENCIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
"""Upper bounds of the latency of a delivery, in seconds. The log's clock has a resolution of milliseconds."""

AGES = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86_400)
"""Upper bounds of the age of a price, in seconds."""

BATCHES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Upper bounds of the events in a batch."""


class Transport(StrEnum):
    """How events reach a streaming client."""

    WEBSOCKET = "websocket"
    POLLING = "polling"
    SSE = "sse"
    PLAIN = "plain"


class CutReason(StrEnum):
    """Why the gateway cuts a client off."""

    LAGGING = "lagging for too long"
    LANE_FULL = "alert lane overflowed"
    NOT_READING = "not reading"
    VANISHED = "vanished"
    REPLAY_FAILED = "replay failed"
    FLOODING = "flooding"
    TOO_MANY_PACKETS = "too many packets"
    NOT_A_PACKET = "not a packet"
    PING_TIMEOUT = "ping timeout"
    OTHER = "other"

    @classmethod
    def of(cls, words: str) -> "CutReason":
        """Return the reason with this text, OTHER for any other text."""
        return cls(words) if words in _CUT_REASONS else cls.OTHER


_CUT_REASONS = frozenset(reason.value for reason in CutReason)


class Refusal(StrEnum):
    """Why a streaming client is refused."""

    FULL = "full"
    NOT_READY = "not ready"


class Resume(StrEnum):
    """Where the events after a client's cursor were found, or why they were not."""

    RING = "ring"
    LOG = "log"
    LOST = "lost"
    REFUSED = "refused"


class Number:
    """A counter or a gauge: one number of a row."""

    __slots__ = ("_numbers", "_place")

    def __init__(self, numbers: MutableSequence[float], place: int) -> None:
        self._numbers = numbers
        self._place = place

    @property
    def value(self) -> float:
        """The current value."""
        return self._numbers[self._place]

    def add(self, amount: float = 1) -> None:
        """Increment the value, or decrement it by a negative amount."""
        self._numbers[self._place] += amount

    def set(self, value: float) -> None:
        """Set the value."""
        self._numbers[self._place] = value


class Histogram:
    """The number of observations in each bucket, and their sum. A bucket includes its upper bound."""

    __slots__ = ("_first", "_numbers", "bounds")

    def __init__(self, numbers: MutableSequence[float], first: int, bounds: Sequence[float]) -> None:
        self._numbers = numbers
        self._first = first
        self.bounds = bounds

    def observe(self, value: float, times: float = 1) -> None:
        """Count a value that was observed ``times`` times."""
        self._numbers[self._first + 1 + bisect_left(self.bounds, value)] += times
        self._numbers[self._first] += value * times

    @property
    def sum(self) -> float:
        """The sum of all observed values."""
        return self._numbers[self._first]

    @property
    def counts(self) -> list[float]:
        """The observations in each bucket, not cumulated; the last bucket has no upper bound."""
        return [self._numbers[place] for place in range(self._first + 1, self._first + len(self.bounds) + 2)]


class Statistics:
    """The statistics of one process: its row.

    Each member is a ``Number`` or a ``Histogram``, or maps the values of a label to them.

    Gauges:

    - ``clients``, by transport
    - ``subscriptions``: pairs, summed over clients
    - ``lagging``: clients that lag
    - ``buffered``: bytes that wait for clients
    - ``log_lag``: age in seconds of the newest event when it was read
    - ``log_behind``: events that this process was behind the log when the two were last compared
    - ``memory``: resident bytes
    - ``loop_lag``: seconds by which the last wake-up of the housekeeping was late

    Counters:

    - ``connections``, by transport
    - ``refused`` and ``cut_off``: clients, by reason
    - ``conflated``: prices
    - ``read``: events of the log; ``batches``: a histogram of how many were read at once
    - ``gaps`` in the log
    - ``malformed``: entries of the log that were skipped
    - ``deliveries``, by transport: events written or fetched, replayed ones included
    - ``sent``: bytes of deliveries and answers
    - ``latency``, by transport: a histogram of the seconds from an event's id to its delivery, for live events only
    - ``price_age``: a histogram of the seconds from the market time of a batch's newest price until the batch was written
    - ``resumes``, by outcome
    - ``cpu``: seconds
    """

    def __init__(self, table: "StatisticsTable", numbers: MutableSequence[float], first: int) -> None:
        self.table = table
        self._numbers = numbers
        self._first = self._next = first
        self._cpu_before = 0.0
        # The gauges come first, so that zero_gauges can reset them as one range.
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
        self.malformed = self._number()
        self.deliveries = self._by(Transport)
        self.sent = self._number()
        self.latency = {transport.value: self._histogram(LATENCIES) for transport in Transport}
        self.price_age = self._histogram(AGES)
        self.resumes = self._by(Resume)
        self.cpu = self._number()
        assert self._next <= first + _WIDTH

    def zero_gauges(self) -> None:
        """Reset the gauges left by the row's previous process."""
        for place in range(self._first, self._end_of_gauges):
            self._numbers[place] = 0.0

    @property
    def client_count(self) -> int:
        """The number of streaming clients of this process."""
        return _whole(self.clients)

    def enter(self, transport: str) -> None:
        """Count a client that is now served over this transport."""
        self.clients[transport].add()

    def leave(self, transport: str) -> None:
        """Stop counting a client that was served over this transport."""
        self.clients[transport].add(-1)

    def take_batch(self, events: Sequence[Event], live: bool) -> None:
        """Count a batch read from the log and dispatched; its gaps are not events of the log.

        ``live`` is false while the process reads the retained events at its start, whose age says nothing about its lag.
        """
        number = len([event for event in events if event.seq])
        self.read.add(number)
        self.batches.observe(number)
        if live:
            self.log_lag.set(max(0.0, time() - events[-1].order[0] / 1000))

    def take_price(self, at: float) -> None:
        """Observe the age of a price that has been sent; ``at`` is its market time in Unix seconds."""
        self.price_age.observe(max(0.0, time() - at))

    def deliver(self, transport: str, events: int, clients: int, size: int) -> None:
        """Count ``events`` events sent to each of ``clients`` clients, in ``size`` bytes for each."""
        self.deliveries[transport].add(events * clients)
        self.sent.add(size * clients)

    def time(self, transport: str, events: Sequence[Event], clients: int) -> None:
        """Observe the latency of live events, in the order of the log, just sent to each of ``clients`` clients."""
        if not events:
            return
        # Ids count milliseconds. Events with the same one are observed together: this runs for every audience and batch.
        latency, now, newest = self.latency[transport], time(), events[-1].order[0]
        if events[0].order[0] == newest:  # the usual case: a batch is published in one step
            latency.observe(max(0.0, now - newest / 1000), len(events) * clients)
            return
        for milliseconds, number in Counter(event.order[0] for event in events).items():
            latency.observe(max(0.0, now - milliseconds / 1000), number * clients)

    def take_process(self) -> None:
        """Update the CPU time and the resident memory of this process."""
        used = process_time()
        self.cpu.add(used - self._cpu_before)
        self._cpu_before = used
        with suppress(OSError, ValueError, IndexError):  # only Linux has this file
            self.memory.set(int(Path("/proc/self/statm").read_text().split()[1]) * PAGESIZE)

    def __str__(self) -> str:
        """The totals in one line, for the log."""
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
    """The statistics of all gateway processes of a machine, one row each."""

    def __init__(self, numbers: MutableSequence[float], workers: int = 1) -> None:
        """``numbers`` holds at least ``size(workers)`` float64, which the processes may share. Raises ValueError for fewer."""
        if len(numbers) < self.size(workers):
            raise ValueError(f"{self.size(workers)} numbers are needed")
        self.rows = tuple(Statistics(self, numbers, worker * _WIDTH) for worker in range(workers))

    @classmethod
    def alone(cls) -> "StatisticsTable":
        """Return a table of one row, in the memory of this process."""
        return cls(array("d", bytes(8 * cls.size(1))))

    @staticmethod
    def size(workers: int) -> int:
        """Return how many numbers the rows of ``workers`` processes take."""
        return workers * _WIDTH

    def row(self, worker: int = 0) -> Statistics:
        """Return the row for a process to write, counted from 0, and reset its gauges."""
        row = self.rows[worker]
        row.zero_gauges()
        return row

    @property
    def total_clients(self) -> int:
        """The number of streaming clients of all processes."""
        return sum(row.client_count for row in self.rows)


def _whole(numbers: Mapping[str, Number]) -> int:
    return int(sum(number.value for number in numbers.values()))
