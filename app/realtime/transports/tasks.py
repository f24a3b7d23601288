"""Tasks that what starts them cannot wait for."""

import asyncio
import logging
from collections.abc import Awaitable

_logger = logging.getLogger(__name__)


class Tasks:
    """The tasks of a server that are under way. A failure is logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Awaitable[None]) -> None:
        """Start a task."""
        task = asyncio.get_running_loop().create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finished(self) -> None:
        """Wait until no task is left."""
        while self._tasks:
            await asyncio.gather(*self._tasks)


async def _logged(work: Awaitable[None]) -> None:
    try:
        await work
    except Exception:
        _logger.exception("a task of a transport failed")
