"""A timeout that holds even if the work resists its cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of the work. Raises TimeoutError after these seconds, even if the work does not end when cancelled.

    ``asyncio.timeout`` waits for it to end, and a cancellation can be lost: ``wait_for`` of Python 3.11, which redis-py
    uses for writing, swallows one that arrives as the write completes.
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
        task.exception()  # retrieved, or asyncio would log it as never retrieved
