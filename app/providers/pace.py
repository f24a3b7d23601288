"""Keeping time with the clock at any rate."""

import asyncio
import time

_SHORTEST_SLEEP = 0.002


async def until(due: float) -> None:
    """Return when ``time.monotonic()`` has reached ``due``, at once where it has: never early, a few milliseconds late.

    A sleep has a shortest length, so that at thousands of quotes a second several fall due in one.
    """
    # A timer may go off a little early, above all that of another event loop, whose clock counts milliseconds.
    while (ahead := due - time.monotonic()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(max(ahead, _SHORTEST_SLEEP))
