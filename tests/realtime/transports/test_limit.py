import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.realtime.transports.limit import RequestLimit
from tests.building import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_so_many_requests_are_answered_in_a_window(clock: Clock) -> None:
    limit = RequestLimit(3, 60, clock)
    assert [limit.take() for _ in range(3)] == [0, 0, 0]
    assert limit.remaining == 0
    assert limit.take() == 60
    clock.now += 20
    assert limit.take() == 40


def test_the_next_window_begins_with_a_request(clock: Clock) -> None:
    limit = RequestLimit(1, 60, clock)
    limit.take()
    clock.now += 59.5
    assert limit.take() == 0.5
    clock.now += 100
    assert limit.take() == 0
    assert limit.resets_in == 60
    assert limit.take() == 60


def test_a_window_ends_exactly_at_its_end(clock: Clock) -> None:
    limit = RequestLimit(2, 60, clock)
    limit.take()
    limit.take()
    clock.now += 60
    assert limit.take() == 0
    assert (limit.remaining, limit.resets_in) == (1, 60)


def test_it_tells_what_is_left_and_how_much_was_too_much(clock: Clock) -> None:
    limit = RequestLimit(2, 60, clock)
    assert (limit.remaining, limit.over, limit.resets_in) == (2, 0, 0)
    told = []
    for _ in range(4):
        limit.take()
        told.append((limit.remaining, limit.over))
        clock.now += 1
    assert told == [(1, 0), (0, 0), (0, 1), (0, 2)]
    assert limit.resets_in == 56


def test_zero_sets_no_limit(clock: Clock) -> None:
    limit = RequestLimit(0, 60, clock)
    assert [limit.take() for _ in range(1000)] == [0] * 1000
    assert limit.over == 0


@given(st.integers(1, 5), st.lists(st.floats(0, 30), max_size=60))
def test_no_window_ever_lets_more_through(requests: int, pauses: list[float]) -> None:
    clock = Clock()
    limit = RequestLimit(requests, 10, clock)
    opened, answered = -math.inf, 0
    for pause in pauses:
        clock.now += pause
        wait = limit.take()
        if wait:
            assert answered == requests
            assert wait == opened + 10 - clock.now > 0
        elif clock.now >= opened + 10:
            opened, answered = clock.now, 1
        else:
            answered += 1
        assert answered <= requests
