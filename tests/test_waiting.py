import asyncio

import pytest

from tests.waiting import wait_until


async def test_returns_once_the_condition_holds() -> None:
    answers = iter([False, False, True])
    await wait_until(lambda: next(answers), "the third answer")
    assert list(answers) == []


async def test_takes_a_coroutine_function() -> None:
    answers = iter([False, True])

    async def condition() -> bool:
        return next(answers)

    await wait_until(condition, "the second answer")
    assert list(answers) == []


async def test_says_what_it_waited_for() -> None:
    with pytest.raises(AssertionError, match=r"not within 0\.02 s: the moon is blue"):
        await wait_until(lambda: False, "the moon is blue", timeout=0.02)
    with pytest.raises(AssertionError, match="the moon is blue, but it is grey"):
        await wait_until(lambda: False, lambda: "the moon is blue, but it is grey", timeout=0.02)


async def test_a_condition_that_never_answers_is_cut_off() -> None:
    async def condition() -> bool:
        await asyncio.Event().wait()
        return True

    with pytest.raises(AssertionError, match="an answer"):
        await wait_until(condition, "an answer", timeout=0.02)


async def test_what_the_condition_raises_is_passed_on() -> None:
    async def condition() -> bool:
        raise TimeoutError("the condition's own")

    with pytest.raises(TimeoutError, match="the condition's own"):
        await wait_until(condition, "no error")
