"""Deadlines: kept also where the work does not let itself be cancelled."""

import asyncio
import logging

import pytest

from app.http.deadline import within
from tests.waiting import wait_until


class Work:
    """Work that ends when the test says so, and until then notes each cancellation and goes on."""

    def __init__(self, error: Exception | None = None) -> None:
        self.end = asyncio.Event()
        self.cancellations = 0
        self.ended = False
        self._error = error

    async def do(self) -> str:
        """Wait for the end."""
        while not self.end.is_set():
            try:
                await self.end.wait()
            except asyncio.CancelledError:
                self.cancellations += 1
        self.ended = True
        if self._error is not None:
            raise self._error
        return "done"


async def test_the_result_and_the_error_of_the_work_are_passed_on() -> None:
    work = Work()
    work.end.set()
    assert await within(10, work.do()) == "done"
    failing = Work(ValueError("wrong"))
    failing.end.set()
    with pytest.raises(ValueError, match="wrong"):
        await within(10, failing.do())


@pytest.mark.parametrize("error", [None, ValueError("too late")])
async def test_after_the_timeout_the_work_is_not_waited_for(error: Exception | None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    work = Work(error)
    with pytest.raises(TimeoutError):
        await within(0.01, work.do())
    await wait_until(lambda: work.cancellations == 1, "the work was cancelled")
    work.end.set()
    await wait_until(lambda: work.ended, "the work has ended")
    await asyncio.sleep(0)
    assert not caplog.records


async def test_work_that_lets_itself_be_cancelled_is() -> None:
    with pytest.raises(TimeoutError):
        await within(0.01, asyncio.sleep(60))


async def test_who_is_cancelled_leaves_no_work_running() -> None:
    work = Work()
    waiting = asyncio.create_task(within(60, work.do()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await wait_until(lambda: work.cancellations == 1, "the work was cancelled")
    work.end.set()
    await wait_until(lambda: work.ended, "the work has ended")
