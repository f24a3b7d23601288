import time

import pytest

from app.realtime.hub.delivery import Fetching


@pytest.fixture
def fetching() -> Fetching:
    return Fetching(lambda: None)


def answered(fetching: Fetching, at: float, size: int = 4000, took: float = 0.0) -> float:
    """Let the client ask and be answered; return when it asks again."""
    fetching.ask(at)
    fetching.answer(size, at)
    return at + took


def test_a_client_that_takes_its_time_is_not_slow(fetching: Fetching) -> None:
    now = time.monotonic()
    for behind in (400, 300, 200, 100):
        now = answered(fetching, now, took=5)
        fetching.judge(now, behind)
    assert not fetching.is_slow
    assert fetching.room() is None


def test_a_client_is_slow_while_what_waits_does_not_become_less(fetching: Fetching) -> None:
    now = time.monotonic()
    for behind in (100, 120, 140, 160, 180):
        now = answered(fetching, now, size=3000, took=1)
        fetching.ask(now)
        fetching.judge(now, behind)
    assert fetching.rate == pytest.approx(3000)
    assert fetching.room() == 3000


def test_the_time_that_the_gateway_takes_to_answer_makes_no_client_slow(fetching: Fetching) -> None:
    now = time.monotonic()
    for behind in range(100, 200, 10):
        fetching.ask(now)
        fetching.judge(now, behind)
        now += 1
        fetching.answer(3000, now)
        now += 0.01
    assert not fetching.is_slow


def test_an_answer_of_which_a_part_has_not_arrived_after_a_second_shows_what_the_line_carries(fetching: Fetching) -> None:
    now = answered(fetching, time.monotonic())
    fetching.sent(lambda: 2000)
    fetching.look(now + 0.5, 10)
    assert fetching.rate is None
    fetching.look(now + 2, 10)
    assert fetching.rate == pytest.approx(1000)


def test_an_answer_that_has_arrived_shows_nothing_until_the_client_is_idle(fetching: Fetching) -> None:
    now = answered(fetching, time.monotonic())
    fetching.sent(lambda: 0)
    fetching.look(now + 9, 10)
    assert not fetching.is_slow
    fetching.look(now + 11, 10)
    assert fetching.is_slow
    assert fetching.room() is None, "nothing is known of its line"
    fetching.ask(now + 12)
    assert not fetching.is_slow


def test_a_line_that_turns_out_to_be_fast_is_forgotten(fetching: Fetching) -> None:
    now = answered(fetching, time.monotonic())
    fetching.sent(lambda: 3900)
    fetching.look(now + 1, 10)
    assert fetching.room() == 1024, "an answer is never smaller"
    now = answered(fetching, now + 1.1, size=1024, took=0.001)
    fetching.ask(now)
    assert fetching.rate is None
