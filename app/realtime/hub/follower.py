"""The follower: the one reader of the log in a process. It survives the loss of Redis and notices when nothing arrives."""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Sequence

from app.errors import LogUnavailable
from app.realtime.contract.event import Event, cursor_order
from app.realtime.contract.heartbeat import GatewayHeartbeat, heartbeat
from app.realtime.hub.statistics import Statistics
from app.realtime.log.log import EventLog

_logger = logging.getLogger(__name__)

_PAGE = 512
_BLOCK_MS = 2000
_PROBE_WITHIN = 5.0
"""Seconds within which a published heartbeat must be read."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


class Follower:
    """Reads the log from its beginning and calls ``dispatch`` with each batch.

    ``fault`` says why the log cannot be followed, None while it can. ``is_caught_up`` is true from when the events that the
    log retained at the start have been read.
    """

    def __init__(
        self, log: EventLog, dispatch: Callable[[Sequence[Event]], None], heartbeat_interval: float, statistics: Statistics
    ) -> None:
        """``heartbeat_interval`` is in seconds."""
        self._log = log
        self._dispatch = dispatch
        self._heartbeat_interval = heartbeat_interval
        self._statistics = statistics
        self._seq = 0
        self._node = secrets.token_hex(4)
        self._reader = log.reader()
        self._moved = asyncio.Event()
        self.is_caught_up = False
        self.fault: str | None = "the log has not been read yet"

    @property
    def cursor(self) -> str:
        """The id of the newest event read."""
        return self._reader.cursor

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="log reader")
            tasks.create_task(self._prove(), name="log probe")

    async def caught_up(self) -> None:
        """Wait until every event that the log retained at the start has been read."""
        while not self.is_caught_up:
            await self.next_move()

    async def next_move(self) -> None:
        """Wait for the next batch, or until reading resumes after a fault."""
        await self._moved.wait()

    async def _follow(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                if self.fault is not None:
                    await self._recover()
                await self._read(_BLOCK_MS)
                pause = _FIRST_PAUSE
            except LogUnavailable as error:
                if self.fault is None:
                    _logger.warning("cannot read the log, retrying; clients stay connected: %s", error)
                self.fault = str(error)
                # Jitter, so that the gateways do not all come back to Redis at the same moment.
                await asyncio.sleep(random.uniform(pause / 2, pause))
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _recover(self) -> None:
        """Read up to the current end of the log, at the start and after a fault."""
        await self._log.advance_past(self.cursor)  # Redis may have lost the log, and its clock may be behind
        tail = cursor_order(await self._log.tail())
        while cursor_order(self.cursor) < tail:
            if not await self._read(None):
                break
        self.is_caught_up, self.fault = True, None
        self._announce_move()

    async def _read(self, block_ms: int | None) -> bool:
        """Dispatch the next events; return whether there was anything to read, be it only entries that were skipped."""
        before, malformed = self._reader.cursor, self._reader.malformed
        events = await self._reader.read(_PAGE, block_ms)
        self._statistics.malformed.add(self._reader.malformed - malformed)
        if events:
            self._seq = events[-1].seq
            self._dispatch(events)
            self._announce_move()
        return self._reader.cursor != before

    async def _prove(self) -> None:
        """Publish heartbeats and wait for each to be read: a reader that silently gets nothing is a fault."""
        publisher = self._log.publisher()
        while True:
            await asyncio.sleep(self._heartbeat_interval)
            try:
                [id] = await publisher.publish([heartbeat(GatewayHeartbeat(node=self._node))])
                if (seq := await self._log.sequence_of(id)) is not None:
                    self._statistics.log_behind.set(max(0, seq - self._seq))
                if cursor_order(id) <= cursor_order(self.cursor):
                    await self._log.advance_past(self.cursor)
                async with asyncio.timeout(_PROBE_WITHIN):
                    while cursor_order(self.cursor) < cursor_order(id):
                        await self.next_move()
            except LogUnavailable as error:
                self.fault = str(error)
            except TimeoutError:
                _logger.warning("a heartbeat was published and not read within %g s, reconnecting to Redis", _PROBE_WITHIN)
                self.fault = "heartbeats do not come back through the log"
                await self._log.reconnect()

    def _announce_move(self) -> None:
        """Wake those that wait for a move, once each."""
        self._moved.set()
        self._moved = asyncio.Event()
