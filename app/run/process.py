"""The frame of every process: settings, logging, signals and exit codes."""

import asyncio
import ctypes
import errno
import gc
import logging
import os
import signal
import stat
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from app.config import Settings, load_settings
from app.errors import ConfigurationError, SourceError
from app.quiet_log import OnceAMinute, by_client

_logger = logging.getLogger(__name__)

_M_MMAP_THRESHOLD = -3  # of mallopt(3)
_LARGE = 32_768
_NO_MORE_CONNECTIONS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # see accept(2)

WRONG_SETTING = 2
"""The exit code for settings that cannot work."""


def run_job(name: str, job: Callable[[Settings, str], Coroutine[Any, Any, None]]) -> int:
    """Run a job on the Redis of the settings until it ends or a signal stops it. Return the exit code."""
    try:
        settings = load_settings()
        run_process(job(settings, named_redis(settings)), settings)
    except (ConfigurationError, SourceError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        return WRONG_SETTING
    return 0


def run_process(work: Coroutine[Any, Any, None], settings: Settings, *, ends_with_output: bool = False) -> None:
    """Run until the work ends, or SIGINT, SIGTERM or SIGHUP cancels it.

    With ``ends_with_output`` it is also cancelled when standard output is a pipe that its reader has closed.
    """
    configure_logging(settings)
    # Modules and classes live as long as the process: the garbage collector need not scan them. A server allocates thousands of
    # short-lived objects a second; with the default threshold, a sixth of its time was spent on collections.
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)
    _give_back_large_pieces()
    asyncio.run(_until_signal(work, ends_with_output))


def _give_back_large_pieces() -> None:
    """Return memory of this size to the system when it is freed.

    By default glibc keeps it in the heap, between blocks in use: the buffers of a hundred clients that had been cut off were
    still resident.
    """
    with suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def configure_logging(settings: Settings) -> None:
    """One line a record on standard error, and one a minute for each kind of warning that clients cause."""
    handler = logging.StreamHandler()
    handler.addFilter(OnceAMinute())
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=[handler]
    )
    # Errors of clients are answered to them; they are no news for the operator.
    logging.getLogger("app.realtime.protocol").setLevel(logging.CRITICAL)
    for chatty in ("uvicorn", "httpx", "httpcore", "asyncio", "aiosqlite", "sse_starlette", "alembic", "apscheduler"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def named_redis(settings: Settings) -> str:
    """The URL of the Redis of the settings. Raises ConfigurationError if there is none."""
    if settings.redis_address is None:
        raise ConfigurationError("REDIS_URL: a process of its own needs the Redis of its gateway, as a URL or in parts")
    return settings.redis_address


async def _until_signal(work: Awaitable[None], ends_with_output: bool) -> None:
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    loop.set_exception_handler(_report)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup(1)
        loop.add_signal_handler(signal.SIGHUP, task.cancel)
    with _cancelled_by_closed_output(task) if ends_with_output else nullcontext(), suppress(asyncio.CancelledError):
        await task


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error outside of any task: with its traceback, unless so many clients connect that descriptors run out."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in _NO_MORE_CONNECTIONS:
        _logger.warning("cannot accept connections: %s", os.strerror(error.errno), extra=by_client(None))
    else:
        loop.default_exception_handler(context)


@contextmanager
def _cancelled_by_closed_output(task: "asyncio.Future[None]") -> Iterator[None]:
    """Cancel the task when the reader of the pipe on standard output closes it, even if nothing more is to be written."""
    try:
        output = os.dup(1)  # a duplicate: rich replaces a closed pipe with /dev/null
    except OSError:  # there is no standard output
        yield
        return
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_reader(output)
        task.cancel()

    if stat.S_ISFIFO(os.fstat(output).st_mode):
        loop.add_reader(output, stop)  # the writing end is never readable: only its closing wakes us
    try:
        yield
    finally:
        loop.remove_reader(output)
        os.close(output)
