"""How a job becomes a process: settings, logging, signals and exit codes, the same for all."""

import asyncio
import ctypes
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from app.config import Settings, load_settings
from app.errors import ConfigurationError, SourceError

_M_MMAP_THRESHOLD = -3  # of mallopt(3)
_LARGE = 32_768

WRONG_SETTING = 2
"""The exit code of a process whose settings cannot work."""


def run_job(name: str, job: Callable[[Settings, str], Coroutine[Any, Any, None]]) -> int:
    """Run a job on the Redis of the settings until it ends or a signal stops it, and give the exit code."""
    try:
        settings = load_settings()
        run_process(job(settings, named_redis(settings)), settings)
    except (ConfigurationError, SourceError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        return WRONG_SETTING
    return 0


def run_process(work: Coroutine[Any, Any, None], settings: Settings) -> None:
    """Run until the work ends or SIGINT or SIGTERM cancels it."""
    configure_logging(settings)
    # What is loaded by now stays: the collector need not look at it again and again. A server makes thousands of objects a
    # second that die at once; with the default threshold a sixth of its time went into looking for cycles among them.
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)
    _give_back_large_pieces()
    asyncio.run(_until_signal(work))


def _give_back_large_pieces() -> None:
    """Let memory of this size go back to the system when it is freed. glibc would keep it, in between what is in use: the
    buffers of a hundred clients that did not read were still there after they had been cut off."""
    with suppress(OSError, AttributeError):  # it is another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def configure_logging(settings: Settings) -> None:
    """One line a record on standard error."""
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # What clients send wrongly is answered to them, and no news to the operator.
    logging.getLogger("app.realtime.protocol").setLevel(logging.CRITICAL)
    for chatty in ("uvicorn", "httpx", "httpcore", "asyncio", "aiosqlite", "sse_starlette", "alembic", "apscheduler"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def named_redis(settings: Settings) -> str:
    """The Redis that the settings name. Raises ConfigurationError where they name none."""
    if settings.redis_address is None:
        raise ConfigurationError("REDIS_URL: a process of its own needs the Redis of its gateway, as a URL or in parts")
    return settings.redis_address


async def _until_signal(work: Awaitable[None]) -> None:
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
