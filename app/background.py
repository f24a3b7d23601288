"""Background tasks that are watched: the process does not outlive one that fails."""

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def watched(work: Coroutine[Any, Any, None], name: str, *, endless: bool = True) -> AsyncGenerator[None]:
    """Run a task in the background and cancel it on leaving.

    If it fails, or returns although it is ``endless``, the process gets SIGTERM rather than serving without it.
    """

    def check(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (endless or task.exception() is not None):
            _logger.critical("the %s has failed", name, exc_info=task.exception())
            signal.raise_signal(signal.SIGTERM)

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(check)
    try:
        yield
    finally:
        task.remove_done_callback(check)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
