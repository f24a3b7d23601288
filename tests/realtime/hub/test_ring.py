from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from app.realtime.contract.event import ORIGIN, Event
from app.realtime.hub.ring import Ring
from tests.building import cursor, gap_event, numbers, price_event


@dataclass
class Model:
    """What a ring is to do, done the long way round: it keeps every event there ever was."""

    size: int
    events: list[Event] = field(default_factory=list)

    def place_after(self, cursor: str) -> int | None:
        if cursor == ORIGIN:
            place = 0 if not self.events or self.events[0].seq == 1 else None
        else:
            found = [index for index, event in enumerate(self.events) if event.is_cursor and event.id == cursor]
            place = found[0] + 1 if found else None
        return None if place is None or place < len(self.events) - self.size else place

    def after(self, cursor: str, limit: int) -> tuple[list[Event], bool] | None:
        place = self.place_after(cursor)
        if place is None:
            return None
        page = self.events[place : place + limit]
        if page and not page[-1].is_cursor:
            del page[-1]
        return page, place + len(page) == len(self.events)

    def seq(self, cursor: str) -> int | None:
        place = self.place_after(cursor)
        return place if not place else self.events[place - 1].seq


def stream(first: int, gaps: list[bool]) -> list[Event]:
    """Events as a reader gives them: a gap stands before an event, and never before the first."""
    events: list[Event] = []
    for number, lost in enumerate(gaps, first):
        if lost and events:
            events.append(gap_event(number))
        events.append(price_event(number))
    return events


@given(st.integers(1, 7), st.sampled_from([1, 2, 50]), st.lists(st.booleans(), max_size=14))
def test_a_ring_gives_what_a_list_of_all_events_would_give(size: int, first: int, gaps: list[bool]) -> None:
    ring, model = Ring(size), Model(size)
    cursors = [ORIGIN, cursor(0), *(cursor(first + number) for number in range(len(gaps) + 1))]
    for event in [None, *stream(first, gaps)]:
        if event is not None:
            ring.append(event)
            model.events.append(event)
        for asked in cursors:
            for limit in range(1, size + 3):
                assert ring.after(asked, limit) == model.after(asked, limit)
            assert ring.seq(asked) == model.seq(asked)
        resumable = [event.id for event in model.events if event.is_cursor]
        assert ring.cursor == (resumable[-1] if resumable else ORIGIN)


@given(st.integers(1, 9), st.integers(2, 9), st.lists(st.booleans(), min_size=1, max_size=14))
def test_reading_page_by_page_gives_everything_once(size: int, limit: int, gaps: list[bool]) -> None:
    ring = Ring(size)
    events = stream(1, gaps)
    for event in events:
        ring.append(event)
    start = next(place for place in [ORIGIN, *(event.id for event in events)] if ring.after(place, 1) is not None)
    read: list[Event] = []
    complete = False
    while not complete:
        page = ring.after(read[-1].id if read else start, limit)
        assert page is not None
        assert not page[0] or page[0][-1].is_cursor
        read += page[0]
        complete = page[1]
    assert read == events[len(events) - len(read) :]
    assert len(events) - len(read) <= max(0, len(events) - size) + 1  # at most the gap before the oldest is left out


def test_an_empty_ring_is_at_the_beginning() -> None:
    ring = Ring()
    assert ring.cursor == ORIGIN
    assert ring.after(ORIGIN, 10) == ([], True)
    assert ring.seq(ORIGIN) == 0
    assert ring.after(cursor(1), 10) is None
    assert ring.seq(cursor(1)) is None


def test_the_rate_is_that_of_the_last_seconds_or_of_as_many_as_are_held() -> None:
    ring, first = Ring(5), 1_764_000_000.001
    assert ring.rate(first) == 0
    for number in range(5):
        ring.append(price_event(1 + number * 1000))
    assert ring.rate(first + 4, seconds=2.5) == 3 / 2.5
    assert ring.rate(first + 4) == 5 / 4
    assert ring.rate(first + 100) == 0


def test_the_beginning_is_held_while_nothing_has_been_evicted() -> None:
    ring = Ring(2)
    for number in (1, 2):
        ring.append(price_event(number))
        assert ring.after(ORIGIN, 9) is not None
    ring.append(price_event(3))
    assert ring.after(ORIGIN, 9) is None
    assert ring.seq(ORIGIN) is None


def test_the_beginning_is_not_held_where_the_log_had_lost_it_before() -> None:
    ring = Ring()
    ring.append(price_event(2))
    assert ring.after(ORIGIN, 9) is None
    assert ring.after(cursor(2), 9) == ([], True)


def test_the_beginning_is_not_held_behind_a_gap() -> None:
    ring = Ring()
    ring.append(gap_event(1))
    assert ring.after(ORIGIN, 9) is None


def test_a_gap_keeps_its_place_and_is_no_cursor() -> None:
    ring = Ring()
    events = [price_event(1), gap_event(5), price_event(5)]
    for event in events:
        ring.append(event)
    assert ring.after(cursor(1), 9) == (events[1:], True)
    assert ring.after(cursor(5), 9) == ([], True)
    assert ring.seq(cursor(5)) == 5


def test_a_page_never_ends_with_a_gap() -> None:
    ring = Ring()
    events = [price_event(1), price_event(2), gap_event(6), price_event(6)]
    for event in events:
        ring.append(event)
    assert ring.after(ORIGIN, 3) == (events[:2], False)
    assert ring.after(cursor(2), 2) == (events[2:], True)


def test_an_evicted_cursor_is_not_held() -> None:
    ring = Ring(3)
    for number in range(1, 6):
        ring.append(price_event(number))
    assert [ring.seq(cursor(number)) for number in range(1, 6)] == [None, 2, 3, 4, 5]
    found = ring.after(cursor(2), 9)
    assert found is not None
    assert numbers(found[0]) == [3, 4, 5]
