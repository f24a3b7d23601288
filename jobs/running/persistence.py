"""Patience while Redis or the database is unavailable: work that is retried, and news that is not worth retrying."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.backoff import Backoff
from app.errors import DatabaseUnavailable, LogUnavailable
from app.realtime.contract.event import Draft
from app.realtime.log.log import Publisher

T = TypeVar("T")

_logger = logging.getLogger(__name__)


async def persistently(work: Callable[[], Awaitable[T]], name: str) -> T:
    """Retry the work with backoff until Redis and the database answer; return its result.

    Every failure is logged under ``name``, the program that waits.
    """
    backoff, clock = Backoff(), asyncio.get_running_loop().time
    while True:
        started = clock()
        try:
            return await work()
        except (DatabaseUnavailable, LogUnavailable) as error:
            _logger.warning("%s waits: %s", name, error)
        await asyncio.sleep(backoff.pause_after(clock() - started))


async def publish_now(publisher: Publisher, news: Draft, name: str) -> None:
    """Publish an event that is stale later, such as a heartbeat: where the log is unavailable it is dropped and logged."""
    try:
        await publisher.publish([news])
    except LogUnavailable as error:
        _logger.warning("%s waits: %s", name, error)
