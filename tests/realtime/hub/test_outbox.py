import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.realtime.contract.event import Event
from app.realtime.hub.outbox import Outbox
from tests.building import alert_event, correlation_event, gap_event, numbers, price_event, ready_event

_PAIRS = ("EUR_USD", "GBP_USD", "USD_JPY")
_SIZE = len(price_event(1).payload)
_ROOMY = 1_000_000

_KINDS = st.sampled_from([*_PAIRS, *_PAIRS, "alert", "ready", "gap"])
_BATCHES = st.lists(st.lists(_KINDS, min_size=1, max_size=5), max_size=12)


def live(batches: Sequence[Sequence[str]]) -> list[list[Event]]:
    """Events as the log gives them, in the same batches: a gap stands before the event that shares its place."""
    counter = itertools.count(1)
    return [[event for kind in kinds for event in made(kind, next(counter))] for kinds in batches]


def made(kind: str, number: int) -> list[Event]:
    match kind:
        case "alert":
            return [alert_event(number)]
        case "ready":
            return [ready_event(number)]
        case "gap":
            return [gap_event(number), price_event(number)]
        case pair:
            return [price_event(number, pair)]


def put(outbox: Outbox, batches: list[list[Event]]) -> tuple[list[Event], int]:
    """Put the batches in; return all that was put, and how many prices were replaced."""
    replaced = sum(outbox.put(batch) for batch in batches)
    return [event for batch in batches for event in batch], replaced


def newest_prices(events: list[Event]) -> dict[str, Event]:
    return {event.pairs[0]: event for event in events if event.is_price}


def orders_of(prices: dict[str, Event]) -> dict[str, tuple[int, int]]:
    return {pair: event.order for pair, event in prices.items()}


def unpriced(events: list[Event]) -> list[Event]:
    return [event for event in events if not event.is_price]


# --------------------------------------------------------- what holds always


@given(_BATCHES, st.integers(0, 30 * _SIZE))
def test_alerts_stay_in_order_and_the_newest_price_of_each_pair_survives(batches: list[list[str]], lossless: int) -> None:
    outbox = Outbox(lossless, 1000, _ROOMY)
    given, replaced = put(outbox, live(batches))
    _, taken = outbox.take()
    assert unpriced(taken) == unpriced(given)
    assert newest_prices(taken) == newest_prices(given)
    assert len(taken) == len(set(taken))
    assert [event for event in given if event in set(taken)] == taken  # nothing is made up, nothing changes places
    assert replaced == len(given) - len(taken)
    assert not outbox.overflowed
    assert not outbox


@given(_BATCHES, st.integers(0, 30 * _SIZE))
def test_ids_only_rise(batches: list[list[str]], lossless: int) -> None:
    outbox = Outbox(lossless, 1000, _ROOMY)
    put(outbox, live(batches))
    _, taken = outbox.take()
    orders = [event.order for event in taken if event.is_cursor]
    assert orders == sorted(set(orders))
    for notice, following in itertools.pairwise(taken):
        # Where the event behind a gap was a price that a newer one replaced, the gap stands before what came next.
        assert notice.is_cursor or notice.order <= following.order


@given(_BATCHES)
def test_below_the_mark_everything_is_kept(batches: list[list[str]]) -> None:
    events = live(batches)
    outbox = Outbox(sum(len(event.payload) for batch in events for event in batch), 0, _ROOMY)
    given, replaced = put(outbox, events)
    assert not outbox.conflating
    assert outbox.take() == ([], given)
    assert replaced == 0
    assert not outbox.overflowed


@given(st.lists(st.one_of(st.lists(_KINDS, min_size=1, max_size=3), st.just("answer")), max_size=30), st.integers(0, 6))
def test_what_waits_is_bounded(steps: list[list[str] | str], lane: int) -> None:
    outbox = Outbox(0, lane, _ROOMY)
    counted = 0
    batches = iter(live([step for step in steps if isinstance(step, list)]))
    for step in steps:
        if isinstance(step, str):
            outbox.put_message(b"answer")
            counted += 1
        else:
            batch = next(batches)
            outbox.put(batch)
            counted += len(unpriced(batch))
        assert outbox.overflowed == (counted > lane)
        if outbox.overflowed:
            return
    messages, events = outbox.take()
    assert len(messages) + len(unpriced(events)) == counted
    assert len(events) + len(messages) <= len(_PAIRS) + lane


@given(
    st.lists(st.tuples(st.sampled_from(["put", "history", "take"]), st.lists(_KINDS, min_size=1, max_size=4))),
    st.integers(0, 12 * _SIZE),
)
def test_history_and_live_events_do_not_push_each_other_out(steps: list[tuple[str, list[str]]], lossless: int) -> None:
    outbox = Outbox(lossless, 1000, _ROOMY)
    batches = iter(live([kinds for _, kinds in steps]))
    given: list[Event] = []

    def check() -> None:
        _, taken = outbox.take()
        assert set(unpriced(taken)) == set(unpriced(given))
        assert orders_of(newest_prices(taken)) == orders_of(newest_prices(given))
        orders = [event.order for event in taken if event.is_cursor]
        assert orders == sorted(set(orders))
        given.clear()

    for step, _ in steps:
        batch = next(batches)
        if step == "take":
            check()
        elif step == "put":
            outbox.put(batch)
            given += batch
        else:
            # What a client asked for later lies before what it has: it carries no id.
            past = [price_event(1, "EUR_CHF"), alert_event(2, "AUD_NZD"), price_event(3, "AUD_NZD")]
            page = [event.without_cursor() for event in past]
            outbox.put_history(page)
            given += page
    check()


# -------------------------------------------------------------- single cases


def test_an_empty_outbox_has_nothing() -> None:
    outbox = Outbox(100, 10, _ROOMY)
    assert not outbox
    assert not outbox.has_events
    assert not outbox.conflating
    assert outbox.take() == ([], [])


def test_above_the_mark_only_the_newest_price_of_a_pair_stays() -> None:
    outbox = Outbox(2 * _SIZE, 10, _ROOMY)
    outbox.put([price_event(1), price_event(2)])
    assert not outbox.conflating
    assert outbox.put([price_event(3), price_event(4, "USD_JPY"), price_event(5)]) == 3
    assert outbox.conflating
    assert numbers(outbox.take()[1]) == [4, 5]


def test_once_taken_everything_is_kept_again() -> None:
    outbox = Outbox(2 * _SIZE, 10, _ROOMY)
    outbox.put(price_event(number) for number in range(1, 6))
    outbox.take()
    outbox.put([price_event(6), price_event(7)])
    assert numbers(outbox.take()[1]) == [6, 7]


def test_answers_come_before_events_and_in_order() -> None:
    outbox = Outbox(1000, 10, _ROOMY)
    outbox.put([price_event(1)])
    outbox.put_message(b"one")
    outbox.put_message(b"two")
    assert outbox
    messages, events = outbox.take()
    assert messages == [b"one", b"two"]
    assert numbers(events) == [1]
    assert not outbox


def test_an_answer_alone_is_no_event() -> None:
    outbox = Outbox(1000, 10, _ROOMY)
    outbox.put_message(b"one")
    assert outbox
    assert not outbox.has_events
    assert not outbox.conflating


def test_an_alert_stands_where_it_was_among_conflated_prices() -> None:
    outbox = Outbox(0, 10, _ROOMY)
    outbox.put([price_event(1, "USD_JPY"), alert_event(2), price_event(3), correlation_event(4), price_event(5)])
    assert numbers(outbox.take()[1]) == [1, 2, 4, 5]


def test_a_gap_stands_before_the_event_that_shares_its_place() -> None:
    outbox = Outbox(0, 10, _ROOMY)
    outbox.put([price_event(1), gap_event(5), price_event(5, "USD_JPY"), gap_event(9), alert_event(9)])
    taken = outbox.take()[1]
    assert [event.type for event in taken] == ["price_update", "gap", "price_update", "gap", "volatility_alert"]


def test_a_full_lane_has_overflowed_for_good() -> None:
    outbox = Outbox(0, 2, _ROOMY)
    outbox.put([alert_event(1), alert_event(2)])
    assert not outbox.overflowed
    outbox.put([alert_event(3)])
    assert outbox.overflowed
    outbox.take()
    assert outbox.overflowed


def test_answers_and_alerts_share_the_lane() -> None:
    outbox = Outbox(0, 2, _ROOMY)
    outbox.put([alert_event(1), price_event(2), price_event(3)])
    outbox.put_message(b"answer")
    assert not outbox.overflowed
    outbox.put_message(b"answer")
    assert outbox.overflowed


@pytest.mark.parametrize("lossless", [0, 10_000])
def test_what_is_dropped_does_not_come(lossless: int) -> None:
    outbox = Outbox(lossless, 10, _ROOMY)
    outbox.put([price_event(1), alert_event(2), price_event(3, "USD_JPY"), alert_event(4, "USD_JPY"), ready_event(5)])
    outbox.drop(lambda event: "EUR_USD" in event.pairs)
    assert numbers(outbox.take()[1]) == [3, 4, 5]


def test_what_was_dropped_takes_no_room() -> None:
    outbox = Outbox(2 * _SIZE, 10, _ROOMY)
    outbox.put([price_event(1), price_event(2)])
    outbox.drop(lambda event: True)
    assert not outbox
    outbox.put([price_event(3), price_event(4)])
    assert numbers(outbox.take()[1]) == [3, 4]


def test_history_is_kept_whole_however_large() -> None:
    outbox = Outbox(_SIZE, 0, _ROOMY)
    outbox.put_history([price_event(number) for number in range(1, 65)])
    assert outbox.has_events
    assert not outbox.conflating
    assert numbers(outbox.take()[1]) == list(range(1, 65))


def test_history_counts_for_what_comes_after_it() -> None:
    outbox = Outbox(3 * _SIZE, 10, _ROOMY)
    outbox.put_history([price_event(number) for number in range(1, 4)])
    outbox.put([price_event(4)])
    assert outbox.conflating
    assert numbers(outbox.take()[1]) == [4]


def test_history_behind_conflated_events_takes_nothing_away() -> None:
    outbox = Outbox(0, 10, _ROOMY)
    outbox.put([price_event(7), alert_event(8)])
    outbox.put_history([price_event(3, "USD_JPY").without_cursor()])
    assert numbers(outbox.take()[1]) == [3, 7, 8]


def test_an_older_price_in_history_does_not_replace_a_newer_one() -> None:
    outbox = Outbox(0, 10, _ROOMY)
    outbox.put([price_event(7)])
    outbox.put_history([price_event(3).without_cursor()])
    assert outbox.put([alert_event(8)]) == 1
    assert numbers(outbox.take()[1]) == [7, 8]


# ------------------------------------------------------------ bytes


def test_a_lane_overflows_by_bytes_too() -> None:
    alert = alert_event(1)
    outbox = Outbox(0, 1000, 2 * len(alert.payload))
    outbox.put([alert, alert_event(2)])
    assert not outbox.overflowed
    outbox.put_message(b"x")
    assert outbox.overflowed


def test_what_was_taken_or_is_no_longer_wanted_leaves_room_in_the_lane() -> None:
    outbox = Outbox(0, 1000, 2 * len(alert_event(1).payload))
    outbox.put([alert_event(1), alert_event(2)])
    outbox.take()
    outbox.put([alert_event(3), alert_event(4)])
    outbox.drop(lambda event: event.order == alert_event(3).order)
    outbox.put([alert_event(5)])
    assert not outbox.overflowed


def test_prices_do_not_count_in_the_lane() -> None:
    outbox = Outbox(0, 0, 1)
    outbox.put([price_event(number, pair) for number, pair in enumerate(_PAIRS, 1)])
    assert not outbox.overflowed


@given(batches=_BATCHES, lossless=st.sampled_from([0, 3 * _SIZE, 10_000]), answers=st.lists(st.binary(max_size=50), max_size=5))
def test_its_size_is_that_of_all_that_waits(batches: list[list[str]], lossless: int, answers: list[bytes]) -> None:
    outbox = Outbox(lossless, 1000, _ROOMY)
    for answer in answers:
        outbox.put_message(answer)
    for batch in live(batches):
        outbox.put(batch)
    size = outbox.size
    outbox.drop(lambda event: False)
    assert outbox.size == size
    messages, events = outbox.take()
    assert size == sum(map(len, messages)) + sum(len(event.payload) for event in events)
    assert outbox.size == 0
