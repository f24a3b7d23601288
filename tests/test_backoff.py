import pytest

from app.backoff import Backoff


def test_the_limit_doubles_from_one_second_to_thirty() -> None:
    backoff = Backoff()
    limits = []
    for _ in range(7):
        limits.append(backoff.limit)
        backoff.pause_after(0)
    assert limits == [1, 2, 4, 8, 16, 30, 30]


def test_pauses_are_spread_over_the_whole_limit() -> None:
    backoff = Backoff()
    for _ in range(6):
        backoff.pause_after(0)
    pauses = [backoff.pause_after(0) for _ in range(1000)]
    assert 0 <= min(pauses) < 5
    assert 25 < max(pauses) <= 30


@pytest.mark.parametrize(("lasted", "limit"), [(59.9, 16), (60, 2), (3600, 2)])
def test_a_minute_that_went_well_starts_over(lasted: float, limit: float) -> None:
    backoff = Backoff()
    for _ in range(3):
        backoff.pause_after(0)
    pause = backoff.pause_after(lasted)
    assert pause <= limit / 2
    assert backoff.limit == limit
