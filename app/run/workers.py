"""Several gateway processes on one port, watched by the process that started them.

Each worker has a listening socket of its own, which outlives it: a worker that is started again goes on with the connections
that wait there. All that a worker needs is sent to it through a pipe, so that nothing of it shows among its arguments or in
its environment.
"""

import asyncio
import logging
import multiprocessing
import signal
import socket
from collections import deque
from collections.abc import Callable, MutableSequence, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from time import monotonic

from app.backoff import Backoff
from app.config import Settings
from app.errors import ConfigurationError, WorkersLost
from app.main import create_app
from app.realtime.hub.statistics import StatisticsTable
from app.realtime.monitoring.board import Board, Memory
from app.realtime.monitoring.report import Report
from app.realtime.wire.handover import Doors, Handover, doors
from app.run.process import WRONG_SETTING, run_process
from app.run.server import GatewayServer, listen, listen_together, url_of

_logger = logging.getLogger(__name__)

MOST_DEATHS = 5
"""So many workers that die within a minute end the gateway."""

_MINUTE = 60.0
_STOPS_WITHIN = 10.0
_READY = True


def listeners_of(settings: Settings) -> list[socket.socket]:
    """A listening socket for each worker at the settings' address. Raises ConfigurationError where it cannot be had."""
    if settings.workers == 1:
        return [listen(settings.websocket_host, settings.websocket_port)]
    return listen_together(settings.websocket_host, settings.websocket_port, settings.workers)


def server_on(
    listeners: Sequence[socket.socket], settings: Settings, redis_url: str, ready: Callable[[str], None]
) -> "GatewayServer | Workers":
    """What serves these listeners: a server in this process for one, workers for several.

    ``ready`` is called with the URL once requests are answered.
    """
    if len(listeners) > 1:
        return Workers(settings, redis_url, listeners, ready)
    return GatewayServer(
        create_app(settings, redis_url),
        listeners[0],
        shutdown_timeout=settings.shutdown_timeout,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        ready=ready,
    )


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the process of a worker is given."""

    settings: Settings
    redis_url: str = field(repr=False)
    listener: socket.socket
    doors: Doors
    numbers: MutableSequence[float]
    """The memory of the statistics, shared by all workers."""
    board: Memory
    """The memory of their reports, shared likewise."""
    link: Connection
    """Takes ``True`` once requests are answered, or else why they never will be; it ends with the process that started this."""


class Workers:
    """Gateway processes that serve one address together."""

    def __init__(
        self, settings: Settings, redis_url: str, listeners: Sequence[socket.socket], ready: Callable[[str], None]
    ) -> None:
        """A worker for each listener. ``ready`` is called with the URL once all of them answer requests."""
        context = multiprocessing.get_context("spawn")
        self._context = context
        self._settings = settings
        self._redis_url = redis_url
        self._listeners = listeners
        self._announce: Callable[[str], None] | None = ready
        self._url = url_of(listeners[0])
        self._numbers: MutableSequence[float] = context.RawArray("d", StatisticsTable.size(len(listeners)))
        capacity = Report.capacity(len(settings.tracked_pairs))
        self._board: Memory = context.RawArray("B", Board.size(len(listeners), capacity))
        Board(self._board, len(listeners)).start()
        self._adopts: MutableSequence[int] = context.RawArray("b", len(listeners))
        self._doors = doors(len(listeners), self._adopts)
        self._served: set[int] = set()
        self._deaths: deque[float] = deque(maxlen=MOST_DEATHS)

    async def run_until_stopped(self) -> None:
        """Serve until cancelled; clients are let go before the cancellation is passed on.

        Raises ConfigurationError or WorkersLost, in an ExceptionGroup, where the workers cannot start or do not stay alive.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(1, len(self._listeners) + 1):
                    tasks.create_task(self._keep_running(number), name=f"worker {number}")
                try:
                    await asyncio.Event().wait()
                finally:
                    # A worker that stops closes its listener; nobody shall wait at this end of it.
                    for listener in self._listeners:
                        listener.close()
        finally:
            for one in self._doors:
                one.inbox.close()
            for outlet in self._doors[0].outlets:
                outlet.close()

    async def _keep_running(self, number: int) -> None:
        backoff = Backoff()
        while True:
            began = monotonic()
            try:
                how, said = await self._live(number)
            except OSError as error:
                how, said = "no process", error.strerror
            self._bury(number, how, said)
            await asyncio.sleep(backoff.pause_after(monotonic() - began))

    async def _live(self, number: int) -> tuple[str, str | None]:
        """The life of one process: how it ended, and what it said of why it cannot serve. Raises OSError where there is none."""
        process, link = self._start(number)
        with link:
            try:
                said = await self._follow(number, process, link)
            finally:
                await self._end(number, process)
        how = _end_of(process)
        process.close()
        return how, said

    def _start(self, number: int) -> tuple[SpawnProcess, Connection]:
        here, there = self._context.Pipe()
        with there:
            listener, ways = self._listeners[number - 1], self._doors[number - 1]
            assignment = Assignment(self._settings, self._redis_url, listener, ways, self._numbers, self._board, there)
            process = self._context.Process(target=serve, args=(assignment,), name=f"worker {number}", daemon=True)
            # A terminal's Ctrl+C reaches the workers too, which are told by this process. They inherit that it is blocked; the
            # tracker, which multiprocessing starts with the first process, would unblock it, so it is started before.
            resource_tracker.ensure_running()
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            try:
                process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return process, here

    async def _follow(self, number: int, process: SpawnProcess, link: Connection) -> str | None:
        """Wait for the end of a worker, and give what it said of why it cannot serve."""
        await _readable(link.fileno())
        said: object = None
        with suppress(EOFError, OSError):
            said = link.recv()
        if said is _READY:
            self._served.add(number)
            if len(self._served) == len(self._listeners) and self._announce is not None:
                announce, self._announce = self._announce, None
                announce(self._url)
        await _readable(process.sentinel)
        return said if isinstance(said, str) else None

    async def _end(self, number: int, process: SpawnProcess) -> None:
        """Let a worker's clients go and the worker end, if it still runs."""
        try:
            if process.is_alive():
                process.terminate()
                async with asyncio.timeout(self._settings.shutdown_timeout + _STOPS_WITHIN):
                    await _readable(process.sentinel)
        except TimeoutError:
            _logger.error("worker %d does not stop and is killed", number)
        finally:
            if process.is_alive():
                process.kill()
            process.join()

    def _bury(self, number: int, how: str, said: str | None) -> None:
        """Clear away what a dead worker had. Raises ConfigurationError or WorkersLost where it is not to be replaced."""
        self._adopts[number - 1] = 0
        StatisticsTable(self._numbers, len(self._listeners)).row(number - 1)  # which has no clients from here on
        Board(self._board, len(self._listeners)).clear(number - 1)
        if self._announce is not None:
            raise ConfigurationError(said) if said else WorkersLost(f"worker {number} ended with {how} before it could serve")
        _logger.critical("worker %d has ended with %s%s and is started again", number, how, f" ({said})" if said else "")
        self._deaths.append(monotonic())
        if len(self._deaths) == MOST_DEATHS and self._deaths[-1] - self._deaths[0] < _MINUTE:
            raise WorkersLost(f"{MOST_DEATHS} workers have died within a minute")


def _end_of(process: SpawnProcess) -> str:
    code = process.exitcode
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


async def _readable(descriptor: int) -> None:
    """Wait until there is something to read, or an end."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(descriptor)


def serve(assignment: Assignment) -> None:
    """The whole life of a worker's process."""
    try:
        run_process(_serve(assignment), assignment.settings)
    except ConfigurationError as error:
        _tell(assignment.link, str(error))
        raise SystemExit(WRONG_SETTING) from None


def _tell(link: Connection, message: object) -> None:
    with suppress(OSError):  # nobody may be left to hear it
        link.send(message)


async def _serve(assignment: Assignment) -> None:
    loop, settings, worker = asyncio.get_running_loop(), assignment.settings, assignment.doors.worker
    workers = len(assignment.doors.outlets)
    row = StatisticsTable(assignment.numbers, workers).row(worker - 1)
    place = Board(assignment.board, workers).place(worker - 1)
    server = GatewayServer(
        create_app(settings, assignment.redis_url, statistics=row, worker=str(worker), place=place),
        assignment.listener,
        shutdown_timeout=settings.shutdown_timeout,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        ready=lambda _: _tell(assignment.link, _READY),
        handover=Handover(assignment.doors),
    )
    serving = asyncio.current_task()
    assert serving is not None

    def stop() -> None:
        # Whoever stops a gateway may tell every process of it, and the first one tells the workers again; a second
        # cancellation would cut off the clients that the first one lets go.
        loop.remove_reader(assignment.link.fileno())
        loop.add_signal_handler(signal.SIGTERM, lambda: None)
        serving.cancel()

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_reader(assignment.link.fileno(), stop)  # only its end is ever read: the process that started this is gone
    await server.run_until_stopped()
