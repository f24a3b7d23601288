import itertools
from collections import defaultdict
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.realtime.contract.event import Event
from app.realtime.hub.pacer import Pacer
from tests.building import Clock, alert_event, gap_event, numbers, price_event, ready_event

_KINDS = st.sampled_from(["EUR_USD", "EUR_USD", "USD_JPY", "alert"])
_PAUSES = st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@given(st.lists(st.tuples(_PAUSES, st.booleans(), st.lists(_KINDS, max_size=4))))
def test_each_pair_keeps_its_rate_and_its_last_price_always_comes_out(
    steps: list[tuple[float, bool, list[str]]],
) -> None:
    clock = Clock()
    pacer = Pacer(1, clock)
    counter = itertools.count(1)
    given: dict[str, list[int]] = defaultdict(list)
    out: dict[str, list[tuple[float, int]]] = defaultdict(list)

    def note(events: list[Event]) -> None:
        for event, number in zip(events, numbers(events), strict=True):
            out[event.pairs[0] if event.is_price else "alert"].append((clock.now, number))

    for pause, late, kinds in steps:
        clock.now += pause
        if not late:  # otherwise the timer fires after what has just come
            note(pacer.release())
        events = []
        for number, kind in zip(counter, kinds, strict=False):
            events.append(alert_event(number) if kind == "alert" else price_event(number, kind))
            given[kind].append(number)
        admitted = pacer.admit(events)
        assert [event for event in events if not event.is_price] == [event for event in admitted if not event.is_price]
        assert numbers(admitted) == sorted(numbers(admitted))
        note(admitted)
        if late:
            note(pacer.release())
    clock.now += 1
    note(pacer.release())
    assert pacer.waits is None
    assert [number for _, number in out["alert"]] == given["alert"]
    for pair in ("EUR_USD", "USD_JPY"):
        assert [number for _, number in out[pair]][-1:] == given[pair][-1:]
        for (earlier, older), (later, newer) in itertools.pairwise(out[pair]):
            assert later - earlier >= 1
            assert newer > older


def test_the_first_price_passes_and_the_newest_of_the_rest_comes_when_it_is_due(clock: Clock) -> None:
    pacer = Pacer(2, clock)
    assert numbers(pacer.admit([price_event(1), price_event(2), price_event(3)])) == [1]
    assert "EUR_USD" in pacer.held
    assert pacer.waits == 0.5
    clock.now += 0.25
    assert pacer.admit([price_event(4)]) == []
    assert pacer.release() == []
    assert pacer.waits == 0.25
    clock.now += 0.25
    assert pacer.waits == 0
    assert numbers(pacer.release()) == [4]
    assert pacer.waits is None
    assert not pacer.held


def test_a_released_price_begins_an_interval(clock: Clock) -> None:
    pacer = Pacer(1, clock)
    pacer.admit([price_event(1), price_event(2)])
    clock.now += 1
    assert numbers(pacer.release()) == [2]
    clock.now += 0.5
    assert pacer.admit([price_event(3)]) == []
    clock.now += 0.5
    assert numbers(pacer.release()) == [3]


def test_a_price_after_a_pause_passes_at_once(clock: Clock) -> None:
    pacer = Pacer(1, clock)
    pacer.admit([price_event(1)])
    clock.now += 1
    assert numbers(pacer.admit([price_event(2)])) == [2]


def test_a_price_that_passes_replaces_the_older_one_that_waited(clock: Clock) -> None:
    pacer = Pacer(1, clock)
    pacer.admit([price_event(1), price_event(2)])
    clock.now += 1  # the timer is late: the next price is here before it
    assert numbers(pacer.admit([price_event(3)])) == [3]
    assert not pacer.held
    clock.now += 1
    assert pacer.release() == []


def test_pairs_do_not_wait_for_each_other(clock: Clock) -> None:
    pacer = Pacer(1, clock)
    assert numbers(pacer.admit([price_event(1, "EUR_USD"), price_event(2, "USD_JPY")])) == [1, 2]
    clock.now += 0.5
    assert numbers(pacer.admit([price_event(3, "EUR_USD"), price_event(4, "EUR_CHF")])) == [4]


def test_the_nearest_price_decides_how_long_to_wait(clock: Clock) -> None:
    pacer = Pacer(1, clock)
    pacer.admit([price_event(1, "EUR_USD"), price_event(2, "EUR_USD")])
    clock.now += 0.75
    pacer.admit([price_event(3, "USD_JPY"), price_event(4, "USD_JPY")])
    assert pacer.waits == 0.25
    clock.now += 0.25
    assert numbers(pacer.release()) == [2]
    assert pacer.waits == 0.75


def test_prices_that_are_due_together_come_oldest_first(clock: Clock) -> None:
    pacer = Pacer(1, clock)
    pacer.admit([price_event(1, "EUR_USD"), price_event(2, "USD_JPY")])
    pacer.admit([price_event(3, "USD_JPY"), price_event(4, "EUR_USD")])
    pacer.admit([price_event(5, "USD_JPY")])
    clock.now += 2
    assert numbers(pacer.release()) == [4, 5]


@pytest.mark.parametrize("made", [alert_event, ready_event, gap_event])
def test_what_is_no_price_passes_at_once(clock: Clock, made: Callable[[int], Event]) -> None:
    pacer = Pacer(0.001, clock)
    pacer.admit([price_event(1)])
    events = [made(number) for number in (2, 3)]
    assert pacer.admit(events) == events


def test_nothing_held_means_nothing_to_wait_for(clock: Clock) -> None:
    pacer = Pacer(1, clock)
    assert pacer.waits is None
    assert pacer.release() == []
    assert not pacer.held
