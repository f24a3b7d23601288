import asyncio
import time

from app.providers.pace import until


async def test_returns_at_once_when_late() -> None:
    given_way: list[bool] = []
    asyncio.get_running_loop().call_soon(given_way.append, True)
    await until(time.monotonic())
    assert not given_way


async def test_is_never_early() -> None:
    start = time.monotonic()
    for number in range(500):
        due = start + number / 10_000
        await until(due)
        assert time.monotonic() >= due


async def test_several_fall_due_in_one_sleep() -> None:
    """Thousands a second would not hold if each slept by itself."""
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    sleeps, start = 0, time.monotonic()
    for number in range(1000):
        before = turns
        await until(start + number / 20_000)
        sleeps += turns > before
    counting.cancel()
    assert 0 < sleeps < 100
