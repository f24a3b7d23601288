"""Waiting for a condition, so that no test waits for the clock."""

import asyncio
from collections.abc import Awaitable, Callable


async def wait_until(
    condition: Callable[[], bool | Awaitable[bool]], description: str | Callable[[], str], timeout: float = 20
) -> None:
    """Return as soon as the condition holds. Raises AssertionError with the description where it does not in time.

    The description says what is waited for: ``the hub has caught up``, or gives it as things stand in the end. What the
    condition raises is passed on.
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
