"""Wait for a condition instead of a fixed time."""

import asyncio
from collections.abc import Awaitable, Callable


async def wait_until(
    condition: Callable[[], bool | Awaitable[bool]], description: str | Callable[[], str], timeout: float = 20
) -> None:
    """Return as soon as the condition holds. Raises AssertionError with the description after ``timeout`` seconds.

    The description names the condition (``the hub has caught up``), or is a function called on failure, to report the final
    state. Exceptions of the condition propagate.
    """
    try:
        async with asyncio.timeout(timeout) as limit:
            while not await _holds(condition):  # noqa: ASYNC110 - nothing signals what a test waits for
                await asyncio.sleep(0.01)
    except TimeoutError:
        if not limit.expired():
            raise
        awaited = description if isinstance(description, str) else description()
        raise AssertionError(f"not within {timeout:g} s: {awaited}") from None


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    answer = condition()
    return await answer if isinstance(answer, Awaitable) else answer
