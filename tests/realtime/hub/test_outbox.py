import itertools
import random
from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.realtime.contract.event import Event, cursor_order
from app.realtime.hub.delivery import Direct
from app.realtime.hub.frames import EVENT_STREAM
from app.realtime.hub.outbox import Outbox
from app.realtime.hub.subscription import Bounds, Interest, Subscription
from tests.building import (
    alert_event,
    correlation_event,
    cursor,
    event,
    gap_event,
    numbers,
    price_draft,
    price_event,
    ready_event,
)
from tests.realtime.listening import ListTransport

_PAIRS = ("EUR_USD", "GBP_USD", "USD_JPY")
_SIZE = len(price_event(1).payload)
_ROOMY = 1_000_000

_KINDS = st.sampled_from([*_PAIRS, *_PAIRS, "alert", "ready", "gap"])
_BATCHES = st.lists(st.lists(_KINDS, min_size=1, max_size=5), max_size=12)


def outbox(lane: int = 1000, lane_bytes: int = _ROOMY, *, conflating: bool = True) -> Outbox:
    return Outbox(lane, lane_bytes, conflating=conflating)


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


def newest_prices(events: list[Event]) -> dict[str, Event]:
    return {event.pairs[0]: event for event in events if event.is_price}


def unpriced(events: list[Event]) -> list[Event]:
    return [event for event in events if not event.is_price]


# --------------------------------------------------------- what holds always


@given(_BATCHES)
def test_taken_at_once_it_is_in_order_with_every_alert_and_the_newest_price_of_each_pair(batches: list[list[str]]) -> None:
    box = outbox()
    replaced = sum(box.put(batch) for batch in live(batches))
    given = [event for batch in live(batches) for event in batch]
    _, taken = box.take()
    assert [event.payload for event in unpriced(taken) if event.is_cursor] == [
        event.payload for event in unpriced(given) if event.is_cursor
    ]
    assert {pair: event.payload for pair, event in newest_prices(taken).items()} == {
        pair: event.payload for pair, event in newest_prices(given).items()
    }
    orders = [event.order for event in taken if event.is_cursor]
    assert orders == sorted(set(orders))
    assert replaced == len(given) - len(taken)
    assert not box
    for notice, following in itertools.pairwise(taken):
        # Where the event behind a gap was a price that a newer one replaced, the gap stands before what came next.
        assert notice.is_cursor or notice.order <= following.order


@given(_BATCHES)
def test_until_it_conflates_everything_is_kept(batches: list[list[str]]) -> None:
    box = outbox(conflating=False)
    events = live(batches)
    assert sum(box.put(batch) for batch in events) == 0
    assert box.take() == ([], [event for batch in events for event in batch])


@given(_BATCHES, st.lists(st.integers(0, 4 * _SIZE), max_size=40))
def test_pieces_carry_rising_ids_and_an_id_says_that_everything_older_was_sent(
    batches: list[list[str]], rooms: list[int]
) -> None:
    box = outbox()
    given: list[Event] = []
    taken: list[Event] = []
    steps: list[list[Event] | int] = [*live(batches), *rooms]
    random.Random(len(rooms)).shuffle(steps)
    pending = iter(live(batches))
    for step in steps:
        if isinstance(step, int):
            piece = box.take(step)[1]
            assert sum(len(event.payload) for event in piece) <= max(step, len(piece) == 1 and 10 * _SIZE)
        else:
            batch = next(pending)
            box.put(batch)
            given += batch
            continue
        taken += piece
        for place, last in enumerate(taken):
            if last.is_cursor:
                # A client that resumes here has, or is sent, the newest price of each pair; it has every alert up to here.
                sent, later = taken[: place + 1], [one for one in given if one.order > last.order]
                known = {pair: price.order for pair, price in (newest_prices(sent) | newest_prices(later)).items()}
                assert known == {pair: price.order for pair, price in newest_prices(given).items()}
                alerts = {one.order for one in unpriced(given) if one.order <= last.order}
                assert alerts <= {one.order for one in unpriced(sent)}
    taken += box.take()[1]
    orders = [event.order for event in taken if event.is_cursor]
    assert orders == sorted(set(orders))
    assert [event.order for event in unpriced(taken)] == [event.order for event in unpriced(given)]
    assert {pair: price.order for pair, price in newest_prices(taken).items()} == {
        pair: price.order for pair, price in newest_prices(given).items()
    }


@pytest.mark.parametrize("seed", range(20))
def test_a_client_cut_anywhere_and_resumed_has_every_alert_once_and_knows_the_newest_prices(seed: int) -> None:
    """Against a plain model: random arrivals and rooms, a cut at a random moment, a resume from the last id."""
    chance = random.Random(seed)
    pairs = ["EUR_USD", "GBP_USD", "USD_JPY", "AUD_USD", "EUR_GBP"]
    written: list[bytes] = []
    rooms: list[int] = []
    line = _Line(rooms)
    client = Subscription(
        "a", "sse", EVENT_STREAM, Bounds(), Direct(ListTransport(written), line), cut=print, finish=lambda: None
    )
    client.follow(Interest(frozenset(pairs)))
    log: list[Event] = []
    client.pause(0.0, cursor(0))
    cut_at = chance.randrange(20, 400)
    for number in range(1, 400):
        draft = alert_event(number) if chance.random() < 0.1 else None
        pair = chance.choices(pairs, weights=[100, 10, 5, 2, 1])[0]
        log.append(draft or event(number, price_draft(pair, f"1.{number:05}", "2")))
        client.keep(log[-1:], cursor(number - 1))
        assert cursor_order(client.position) < log[-1].order
        if chance.random() < 0.4:
            rooms.append(chance.choice([0, 100, 600, 1500, 4000]))
            client.resume()
            client.pause(float(number), cursor(number))
        if number == cut_at:
            break
    ids = [id for _, id, _ in _parsed(written) if id]
    assert ids == sorted(set(ids), key=cursor_order)
    got = _parsed(written)[: chance.randrange(len(_parsed(written)) + 1)]
    _assert_known(got, log, max((id for _, id, _ in got if id), key=cursor_order, default=cursor(0)))
    _assert_known(_parsed(written), log, client.position)


def _assert_known(got: list[tuple[str, str | None, tuple[str, str]]], log: list[Event], last: str) -> None:
    """Check what a client knows that got some events and resumes after the last."""
    resumed = [one for one in log if one.order > cursor_order(last)]
    alerts = {id for type, id, _ in got if type == "volatility_alert"} | {one.id for one in resumed if not one.is_price}
    assert alerts == {one.id for one in log if not one.is_price}
    known = {pair: bid for type, _, (pair, bid) in got if type == "price_update"}
    known |= {one.pairs[0]: one.body["price"]["bid"] for one in resumed if one.is_price}
    assert known == {one.pairs[0]: one.body["price"]["bid"] for one in log if one.is_price}


class _Line:
    """A slow line with the room that a test gives it."""

    rate: float | None = 1000.0
    progressed_at = 0.0

    def __init__(self, rooms: list[int]) -> None:
        self._rooms = rooms

    @property
    def line(self) -> "_Line":
        return self

    def full(self) -> None:
        """Nothing more is asked of this wire."""

    def unsent(self) -> int:
        return 0

    def room(self) -> int:
        return self._rooms[-1]


def _parsed(written: list[bytes]) -> list[tuple[str, str | None, tuple[str, str]]]:
    parsed = []
    for block in filter(None, b"".join(written).decode().split("\n\n")):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        body = orjson.loads(fields["data"])
        parsed.append((fields["event"], fields.get("id"), (body["instrument"], body.get("price", {}).get("bid", ""))))
    return parsed


def test_a_pair_that_ticks_fast_comes_as_often_as_the_others_and_with_its_newest_price() -> None:
    box = outbox()
    came: list[tuple[str, int]] = []
    slow_pairs = ("GBP_USD", "USD_JPY")
    for number in range(1, 301):
        pair = slow_pairs[number // 10 % 2] if number % 10 == 0 else "EUR_USD"
        box.put([price_event(number, pair)])
        if number % 5 == 0:
            came += [(price.pairs[0], number - numbers([price])[0]) for price in box.take(512, most=1)[1]]
    assert sum(pair == "EUR_USD" for pair, _ in came) > len(came) / 4
    assert all(age <= 1 for pair, age in came if pair == "EUR_USD")


# -------------------------------------------------------------- single cases


def test_an_empty_outbox_has_nothing() -> None:
    box = outbox()
    assert not box
    assert not box.has_events
    assert box.lowest is None
    assert box.take() == ([], [])


def test_only_the_newest_price_of_a_pair_stays_and_the_pairs_are_noted() -> None:
    box = outbox()
    assert box.put([price_event(3), price_event(4, "USD_JPY"), price_event(5)]) == 1
    assert box.merged == {"EUR_USD"}
    assert numbers(box.take()[1]) == [4, 5]


def test_an_outbox_can_begin_to_conflate_with_what_waits() -> None:
    box = outbox(conflating=False)
    box.put([price_event(1), price_event(2, "USD_JPY"), alert_event(3), price_event(4)])
    assert box.conflate() == 1
    assert box.conflate() == 0
    assert box.put([price_event(5)]) == 1
    assert numbers(box.take()[1]) == [2, 3, 5]


def test_answers_come_before_events_and_in_order() -> None:
    box = outbox()
    box.put([price_event(1)])
    box.put_message(b"one")
    box.put_message(b"two")
    assert len(box) == 3
    messages, events = box.take()
    assert messages == [b"one", b"two"]
    assert numbers(events) == [1]


def test_no_more_is_taken_than_there_is_room_for_but_one_frame_however_large() -> None:
    box = outbox(conflating=False)
    box.put_message(b"x" * 5000)
    box.put([price_event(1), price_event(2)])
    assert box.take(100) == ([], [])
    assert box.take(512) == ([b"x" * 5000], [])
    assert numbers(box.take(_SIZE + 50)[1]) == [1]
    assert numbers(box.take(most=1)[1]) == [2]


def test_an_event_is_sent_without_its_id_while_an_older_one_waits() -> None:
    box = outbox()
    box.put([price_event(1), price_event(2, "USD_JPY"), price_event(3)])
    [first] = box.take(512, most=1)[1]
    assert (numbers([first]), first.is_cursor) == ([3], False)
    [second] = box.take(512, most=1)[1]
    assert (numbers([second]), second.is_cursor) == ([2], True)


def test_an_alert_keeps_its_id_however_small_the_pieces() -> None:
    box = outbox()
    box.put([price_event(1), price_event(2, "USD_JPY"), alert_event(3), price_event(4), price_event(5, "USD_JPY")])
    taken = [event for _ in range(3) for event in box.take(512, most=1)[1]]
    assert [(number, event.is_cursor) for number, event in zip(numbers(taken), taken, strict=True)] == [
        (4, False),
        (5, False),
        (3, True),
    ]


def test_an_alert_stands_where_it_was_among_conflated_prices() -> None:
    box = outbox()
    box.put([price_event(1, "USD_JPY"), alert_event(2), price_event(3), correlation_event(4), price_event(5)])
    assert numbers(box.take()[1]) == [1, 2, 4, 5]


def test_a_gap_stands_before_the_event_that_shares_its_place() -> None:
    box = outbox()
    box.put([price_event(1), gap_event(5), price_event(5, "USD_JPY"), gap_event(9), alert_event(9)])
    taken = box.take()[1]
    assert [event.type for event in taken] == ["price_update", "gap", "price_update", "gap", "volatility_alert"]


def test_a_page_of_history_is_kept_whole_beside_conflated_prices() -> None:
    box = outbox()
    box.put([price_event(7)])
    box.put_whole([price_event(number).without_cursor() for number in range(1, 4)])
    assert numbers(box.take()[1]) == [1, 2, 3, 7]


def test_an_older_price_does_not_replace_a_newer_one() -> None:
    box = outbox()
    box.put([price_event(7)])
    assert box.put([price_event(3).without_cursor(), alert_event(8)]) == 1
    assert numbers(box.take()[1]) == [7, 8]


def test_what_is_dropped_does_not_come() -> None:
    box = outbox()
    box.put([price_event(1), alert_event(2), price_event(3, "USD_JPY"), alert_event(4, "USD_JPY"), ready_event(5)])
    box.drop(lambda event: "EUR_USD" in event.pairs)
    assert numbers(box.take()[1]) == [3, 4, 5]


# ------------------------------------------------------------ bounds


def test_the_lane_has_places_by_number_and_by_bytes_and_none_for_prices() -> None:
    alerts = [alert_event(1), alert_event(2)]
    by_number, by_bytes = outbox(2), outbox(1000, 2 * len(alert_event(1).payload))
    for box in (by_number, by_bytes):
        assert box.has_place(alerts)
        box.put(alerts)
        assert box.has_place([price_event(3)])
        assert not box.has_place([price_event(3), alert_event(4)])
        box.drop(lambda event: event.order == alert_event(1).order)
        assert box.has_place([alert_event(4)])
        box.take()
        assert box.has_place(alerts)


def test_answers_overflow_for_good() -> None:
    by_number, by_bytes = outbox(2), outbox(1000, 5)
    for _ in range(3):
        by_number.put_message(b"one")
        by_bytes.put_message(b"one")
    assert by_number.overflowed
    assert by_bytes.overflowed
    by_number.take()
    assert by_number.overflowed


@given(batches=_BATCHES, conflating=st.booleans(), answers=st.lists(st.binary(max_size=50), max_size=5))
def test_its_size_is_that_of_all_that_waits(batches: list[list[str]], conflating: bool, answers: list[bytes]) -> None:
    box = outbox(conflating=conflating)
    for answer in answers:
        box.put_message(answer)
    for batch in live(batches):
        box.put(batch)
    size = box.size
    box.drop(lambda event: False)
    assert box.size == size
    box.conflate()
    size = box.size
    messages, events = box.take()
    assert size == sum(map(len, messages)) + sum(len(event.payload) for event in events)
    assert box.size == 0


def test_where_room_is_no_matter_every_event_keeps_its_id_in_however_many_pieces() -> None:
    box = outbox()
    box.put([price_event(1), price_event(2, "USD_JPY"), alert_event(3), price_event(4)])
    taken = [event for _ in range(3) for event in box.take(most=1)[1]]
    assert numbers(taken) == [2, 3, 4]
    assert all(event.is_cursor for event in taken)
