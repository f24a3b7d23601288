"""Work that is waited for until a deadline and no longer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """What the work gives. Raises TimeoutError after the time, however long the work takes to end once it is cancelled.

    ``asyncio.timeout`` waits for that end, and a cancellation can be lost: Python 3.11's ``wait_for``, which redis-py
    writes with, forgets one that comes as the write ends.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.add_done_callback(_forget)
            task.cancel()
    if not task.done():
        raise TimeoutError
    return task.result()


def _forget(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()  # nobody waits for it any more
