"""The schedule of a replay on its original clock: jobs run when they are due in recorded time."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from app.market.clock import utc_now
from app.realtime.contract.event import Event, cursor_order
from app.realtime.log.log import LogReader
from app.sources import SOURCES
from app.storage.job_runs import JobRuns
from app.storage.recording import Batch, Recording
from jobs.running.context import JobContext
from jobs.running.feed_time import is_heartbeat_of_feed, is_set_back, moment_of
from jobs.running.persistence import persistently
from jobs.running.scheduled import ScheduledJob

_NAME = "the schedule of the replay"
_PAGE = 1000
_BLOCK_MS = 1000
_MOST_DUE = 1000
_POLL = 0.1
_RUNS_A_STEP = 2
"""The runs of a job between two heartbeats of the feed. After a silence, what was quoted before it is done by the second."""

_MOMENT = timedelta(microseconds=1)
_LARGEST_NUMBER = 2**64 - 1

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Due:
    """The jobs that fell due by a heartbeat of the feed, with their times."""

    event: Event
    jobs: Sequence[tuple[datetime, ScheduledJob]]


class ReplaySchedule:
    """Follows the feed's clock through the log, and runs jobs with it for the present. ``runs`` counts the runs that ended.

    A job waits until the recorder has stored everything before it was due, so that it finds the same bars at any speed.
    """

    def __init__(self, context: JobContext, jobs: Sequence[ScheduledJob]) -> None:
        self._context = context
        self._jobs = jobs
        self._schedule = Recording(context.database, SOURCES, "replay schedule")
        self._recorder = Recording(context.database, SOURCES)
        self._node: str | None = None
        self._now: datetime | None = None
        self.runs = 0

    async def run(self) -> None:
        """Run jobs until cancelled, waiting while the database or Redis is unavailable."""
        due: asyncio.Queue[_Due] = asyncio.Queue(_MOST_DUE)
        reader = await persistently(self._resume, _NAME)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(reader, due), name="clock of the replay")
            tasks.create_task(self._work(due), name=_NAME)

    async def _resume(self) -> LogReader:
        """Return a reader whose next heartbeat is the last one whose jobs have run, which has the time from which to go on."""
        runs = JobRuns(self._context.database)
        for job in self._jobs:
            await runs.abandon(job.name, utc_now())
        position = await self._schedule.position()
        if position is None:
            return self._context.log.reader()
        cursor, seq = position
        milliseconds, number = cursor_order(cursor)
        before = f"{milliseconds}-{number - 1}" if number else f"{max(milliseconds - 1, 0)}-{_LARGEST_NUMBER}"
        return self._context.log.reader(before, max(seq - 1, 0))

    async def _follow(self, reader: LogReader, due: asyncio.Queue[_Due]) -> None:
        while True:
            for event in await persistently(partial(reader.read, _PAGE, _BLOCK_MS), _NAME):
                if is_heartbeat_of_feed(event) and (jobs := self._due_at(event)):
                    await due.put(_Due(event, jobs))

    def _due_at(self, event: Event) -> list[tuple[datetime, ScheduledJob]]:
        """Take in a heartbeat of the feed; return the jobs that have fallen due since the one before, in order of time."""
        moment, before = moment_of(event), self._now
        again = is_set_back(event, self._node, before)
        self._node = event.body.get("node")
        if before is None or again:
            self._now = moment
            return []
        self._now = max(before, moment)
        found = []
        for job in self._jobs:
            at = before
            for _ in range(_RUNS_A_STEP):
                at = job.due.next(at + _MOMENT)
                if at <= moment:
                    found.append((at, job))
        return sorted(found, key=lambda entry: entry[0])

    async def _work(self, waiting: asyncio.Queue[_Due]) -> None:
        while True:
            due = await waiting.get()
            await persistently(partial(self._recorded, due.event), _NAME)
            for at, job in due.jobs:
                await persistently(partial(job.run_at, self._context, at), _NAME)
                self.runs += 1
            await persistently(partial(self._schedule.write, Batch(due.event.id, due.event.seq)), _NAME)

    async def _recorded(self, event: Event) -> None:
        """Wait until the recorder has stored everything up to this event. Raises DatabaseUnavailable."""
        while True:
            position = await self._recorder.position()
            if position is not None and cursor_order(position[0]) >= event.order:
                return
            await asyncio.sleep(_POLL)
