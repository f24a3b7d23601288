"""Watched background tasks: the process is stopped when one fails."""

import asyncio
import logging
import signal
from collections.abc import Iterator

import pytest

from app.background import watched
from tests.waiting import wait_until


@pytest.fixture
def stops() -> Iterator[list[int]]:
    """The signals to stop that this process has got, which it survives."""
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


async def _fail() -> None:
    raise ZeroDivisionError


async def _return() -> None: ...


async def test_a_task_that_fails_stops_the_process(stops: list[int], caplog: pytest.LogCaptureFixture) -> None:
    async with watched(_fail(), "clock", endless=False):
        await wait_until(lambda: stops == [signal.SIGTERM], "the process is stopped")
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.CRITICAL, "the clock has failed")
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


async def test_an_endless_task_that_returns_stops_the_process(stops: list[int], caplog: pytest.LogCaptureFixture) -> None:
    async with watched(_return(), "clock"):
        await wait_until(lambda: stops == [signal.SIGTERM], "the process is stopped")
    assert [record.getMessage() for record in caplog.records] == ["the clock has failed"]


async def test_a_task_with_an_end_may_return(stops: list[int]) -> None:
    async with watched(_return(), "clock", endless=False):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert stops == []


async def test_a_task_is_cancelled_on_leaving(stops: list[int]) -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with watched(work(), "clock"):
        await asyncio.sleep(0)
    assert cancelled.is_set()
    assert stops == []
