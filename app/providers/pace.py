"""Keeping time: waiting for a moment, and spacing calls out."""

import asyncio
import time

_SHORTEST_SLEEP = 0.002


async def until(due: float) -> None:
    """Return when ``time.monotonic()`` has reached ``due``: never early, and at most a few milliseconds late.

    Sleeps have a shortest length, so that at thousands of quotes a second several fall due in one.
    """
    # A timer may fire slightly early, above all on an event loop whose clock counts in milliseconds.
    while (ahead := due - time.monotonic()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(max(ahead, _SHORTEST_SLEEP))


class Spacing:
    """Spaces calls out by at least ``interval`` seconds."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for the caller's turn, in the order of the calls."""
        due = max(self._next, time.monotonic())
        self._next = due + self._interval
        await until(due)
