import asyncio
import time

from app.providers.pace import Spacing, until
from tests.providers.turns import counted_turns


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
    async with counted_turns() as turns:
        sleeps, start = 0, time.monotonic()
        for number in range(1000):
            before = turns()
            await until(start + number / 20_000)
            sleeps += turns() > before
    assert 0 < sleeps < 100


async def test_turns_are_spaced_out_in_the_order_of_the_calls() -> None:
    spacing, order = Spacing(0.02), list[tuple[int, float]]()

    async def take(number: int) -> None:
        await spacing.turn()
        order.append((number, time.monotonic()))

    await asyncio.gather(*(take(number) for number in range(4)))
    assert [number for number, _ in order] == [0, 1, 2, 3]
    assert order[-1][1] - order[0][1] >= 0.05
