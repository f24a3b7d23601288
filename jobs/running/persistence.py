"""Trying again while Redis or the database is away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.backoff import Backoff
from app.errors import DatabaseUnavailable, LogUnavailable

T = TypeVar("T")

_logger = logging.getLogger(__name__)


async def persistently(work: Callable[[], Awaitable[T]], name: str) -> T:
    """What the work gives, however often it has to be tried. Every failure is logged under the name of who waits."""
    backoff, clock = Backoff(), asyncio.get_running_loop().time
    while True:
        started = clock()
        try:
            return await work()
        except (DatabaseUnavailable, LogUnavailable) as error:
            _logger.warning("%s waits: %s", name, error)
        await asyncio.sleep(backoff.pause_after(clock() - started))
