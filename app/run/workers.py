"""Several worker processes on one port, supervised by the process that started them.

Each worker has its own listening socket, which outlives it: the worker that replaces it accepts the connections that wait
there. What a worker needs is sent through a pipe, so that secrets show neither in its arguments nor in its environment.
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
from itertools import chain
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
from app.run.listeners import listen, urls_of
from app.run.process import WRONG_SETTING, run_process
from app.run.server import GatewayServer

_logger = logging.getLogger(__name__)

MOST_DEATHS = 5
"""The number of workers that die within a minute after which the gateway gives up."""

_MINUTE = 60.0
_STOPS_WITHIN = 10.0
_READY = True


def listeners_of(settings: Settings) -> list[list[socket.socket]]:
    """Open the listening sockets of each worker. Raises ConfigurationError if an address cannot be used."""
    return listen(settings.websocket_host, settings.websocket_port, settings.workers)


def server_on(
    listeners: Sequence[Sequence[socket.socket]],
    settings: Settings,
    redis_url: str,
    ready: Callable[[Sequence[str]], None],
) -> "GatewayServer | Workers":
    """Return the server of these listeners: one in this process for those of one worker, else workers.

    ``ready`` is called with the URLs once requests are answered.
    """
    if len(listeners) > 1:
        return Workers(settings, redis_url, listeners, ready)
    return GatewayServer(
        create_app(settings, redis_url),
        listeners[0],
        keepalive_timeout=settings.keepalive_timeout,
        shutdown_timeout=settings.shutdown_timeout,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        ready=ready,
    )


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker process needs to start."""

    settings: Settings
    redis_url: str = field(repr=False)
    listeners: Sequence[socket.socket]
    doors: Doors
    numbers: MutableSequence[float]
    """The shared memory of the statistics of all workers."""
    board: Memory
    """The shared memory of their reports."""
    link: Connection
    """The worker sends ``True`` once it answers requests, or the reason why it cannot. It is closed when the supervisor dies."""


class Workers:
    """The supervisor of worker processes that serve the same addresses."""

    def __init__(
        self,
        settings: Settings,
        redis_url: str,
        listeners: Sequence[Sequence[socket.socket]],
        ready: Callable[[Sequence[str]], None],
    ) -> None:
        """``listeners`` are those of each worker. ``ready`` is called with the URLs once all of them answer requests."""
        context = multiprocessing.get_context("spawn")
        self._context = context
        self._settings = settings
        self._redis_url = redis_url
        self._listeners = listeners
        self._announce: Callable[[Sequence[str]], None] | None = ready
        self._urls = urls_of(listeners[0])
        self._numbers: MutableSequence[float] = context.RawArray("d", StatisticsTable.size(len(listeners)))
        capacity = Report.capacity(len(settings.tracked_pairs))
        self._board: Memory = context.RawArray("B", Board.size(len(listeners), capacity))
        Board(self._board, len(listeners)).start()
        self._adopts: MutableSequence[int] = context.RawArray("b", len(listeners))
        self._doors = doors(len(listeners), self._adopts)
        self._served: set[int] = set()
        self._deaths: deque[float] = deque(maxlen=MOST_DEATHS)

    async def run_until_stopped(self) -> None:
        """Serve until cancelled. Clients are disconnected before the cancellation is passed on.

        Raises an ExceptionGroup of ConfigurationError or WorkersLost if the workers cannot start or keep dying.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(1, len(self._listeners) + 1):
                    tasks.create_task(self._keep_running(number), name=f"worker {number}")
                try:
                    await asyncio.Event().wait()
                finally:
                    # A stopping worker closes its copy of the listener; with this one open, connections would still queue up.
                    for listener in chain.from_iterable(self._listeners):
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
                how, reason = await self._live(number)
            except OSError as error:
                how, reason = "no process", error.strerror
            self._bury(number, how, reason)
            await asyncio.sleep(backoff.pause_after(monotonic() - began))

    async def _live(self, number: int) -> tuple[str, str | None]:
        """Run one process to its end. Return how it ended and its reason, if any. Raises OSError if it cannot be started."""
        process, link = self._start(number)
        with link:
            try:
                reason = await self._follow(number, process, link)
            finally:
                await self._end(number, process)
        how = _end_of(process)
        process.close()
        return how, reason

    def _start(self, number: int) -> tuple[SpawnProcess, Connection]:
        here, there = self._context.Pipe()
        with there:
            listeners, ways = self._listeners[number - 1], self._doors[number - 1]
            assignment = Assignment(self._settings, self._redis_url, listeners, ways, self._numbers, self._board, there)
            process = self._context.Process(target=serve, args=(assignment,), name=f"worker {number}", daemon=True)
            # Ctrl+C in a terminal, and closing it, signal the workers too, but this process is to stop them. They inherit both
            # signals blocked. The resource tracker, which multiprocessing starts with the first process, would unblock them:
            # start it before.
            resource_tracker.ensure_running()
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])
            try:
                process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return process, here

    async def _follow(self, number: int, process: SpawnProcess, link: Connection) -> str | None:
        """Wait for the end of a worker and return the reason why it cannot serve, if it sent one."""
        await _readable(link.fileno())
        reason: object = None
        with suppress(EOFError, OSError):
            reason = link.recv()
        if reason is _READY:
            self._served.add(number)
            if len(self._served) == len(self._listeners) and self._announce is not None:
                announce, self._announce = self._announce, None
                announce(self._urls)
        await _readable(process.sentinel)
        return reason if isinstance(reason, str) else None

    async def _end(self, number: int, process: SpawnProcess) -> None:
        """Terminate a worker that still runs, and kill it if it does not stop in time."""
        try:
            if process.is_alive():
                process.terminate()
                async with asyncio.timeout(self._settings.shutdown_timeout + _STOPS_WITHIN):
                    await _readable(process.sentinel)
        except TimeoutError:
            _logger.error("worker %d does not stop; killing it", number)
        finally:
            if process.is_alive():
                process.kill()
            process.join()

    def _bury(self, number: int, how: str, reason: str | None) -> None:
        """Clean up after a dead worker. Raises ConfigurationError or WorkersLost if it is not to be replaced."""
        self._adopts[number - 1] = 0
        StatisticsTable(self._numbers, len(self._listeners)).row(number - 1)  # resets its number of clients
        Board(self._board, len(self._listeners)).clear(number - 1)
        if self._announce is not None:
            raise ConfigurationError(reason) if reason else WorkersLost(f"worker {number} ended with {how} before it could serve")
        _logger.critical("worker %d ended with %s%s; restarting it", number, how, f" ({reason})" if reason else "")
        self._deaths.append(monotonic())
        if len(self._deaths) == MOST_DEATHS and self._deaths[-1] - self._deaths[0] < _MINUTE:
            raise WorkersLost(f"{MOST_DEATHS} workers have died within a minute")


def _end_of(process: SpawnProcess) -> str:
    code = process.exitcode
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


async def _readable(descriptor: int) -> None:
    """Wait until a descriptor is readable or at its end."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(descriptor)


def serve(assignment: Assignment) -> None:
    """The entry point of a worker process."""
    try:
        run_process(_serve(assignment), assignment.settings)
    except ConfigurationError as error:
        _tell(assignment.link, str(error))
        raise SystemExit(WRONG_SETTING) from None


def _tell(link: Connection, message: object) -> None:
    with suppress(OSError):  # the supervisor may be gone
        link.send(message)


async def _serve(assignment: Assignment) -> None:
    loop, settings, worker = asyncio.get_running_loop(), assignment.settings, assignment.doors.worker
    workers = len(assignment.doors.outlets)
    row = StatisticsTable(assignment.numbers, workers).row(worker - 1)
    place = Board(assignment.board, workers).place(worker - 1)
    server = GatewayServer(
        create_app(settings, assignment.redis_url, statistics=row, worker=str(worker), place=place),
        assignment.listeners,
        keepalive_timeout=settings.keepalive_timeout,
        shutdown_timeout=settings.shutdown_timeout,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        ready=lambda _: _tell(assignment.link, _READY),
        handover=Handover(assignment.doors),
    )
    serving = asyncio.current_task()
    assert serving is not None

    def stop() -> None:
        # A process manager may signal every process, and then the supervisor signals the workers again. A second
        # cancellation would interrupt the graceful disconnection of clients.
        loop.remove_reader(assignment.link.fileno())
        loop.add_signal_handler(signal.SIGTERM, lambda: None)
        serving.cancel()

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_reader(assignment.link.fileno(), stop)  # becomes readable only at its end: the supervisor is gone
    await server.run_until_stopped()
