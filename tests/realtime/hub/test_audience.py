from collections.abc import Callable

import pytest

from app.realtime.contract.event import ORIGIN, Event
from app.realtime.hub.audience import Audience
from app.realtime.hub.delivery import Direct, Fetching
from app.realtime.hub.frames import EVENT_STREAM
from app.realtime.hub.statistics import StatisticsTable
from app.realtime.hub.subscription import NOTHING_YET, Bounds, Interest, Subscription
from tests.building import Clock, alert_event, correlation_event, cursor, numbers, price_event, ready_event
from tests.realtime.listening import ListTransport

_EURO = Interest(frozenset({"EUR_USD"}))


class Connection:
    """A client and what is written to it."""

    def __init__(self, *, direct: bool = True, on_write: Callable[["Connection"], None] | None = None) -> None:
        self.written: list[bytes] = []
        self._on_write = on_write
        self.client = Subscription(
            "one",
            "sse",
            EVENT_STREAM,
            Bounds(),
            Direct(ListTransport(self.written, self._has_written)) if direct else Fetching(lambda: None),
            cut=lambda _: None,
            finish=lambda: None,
        )

    def pause(self) -> None:
        self.client.pause(0.0, ORIGIN)

    def _has_written(self, data: bytes) -> None:
        if self._on_write is not None:
            self._on_write(self)


def deliver(audience: Audience, *events: Event, position: str = ORIGIN) -> None:
    audience.deliver(events, {event: EVENT_STREAM.event(event) for event in events}, position)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def audience(clock: Clock) -> Audience:
    return Audience(EVENT_STREAM, _EURO, clock, StatisticsTable.alone().row())


def test_everyone_who_can_take_it_gets_the_same_bytes_in_one_write(audience: Audience) -> None:
    connections = [Connection() for _ in range(3)]
    for connection in connections:
        audience.add(connection.client)
    deliver(audience, price_event(1), price_event(2))
    first = connections[0].written
    assert first == [EVENT_STREAM.event(price_event(1)) + EVENT_STREAM.event(price_event(2))]
    assert all(connection.written[0] is first[0] for connection in connections)
    assert audience.last == price_event(2).order


def test_for_the_others_events_wait(audience: Audience) -> None:
    fetching, paused = Connection(direct=False), Connection()
    paused.pause()
    audience.add(fetching.client)
    audience.add(paused.client)
    deliver(audience, price_event(1), price_event(2))
    assert paused.written == []
    assert fetching.client.take() == [EVENT_STREAM.event(price_event(1)), EVENT_STREAM.event(price_event(2))]
    paused.client.resume()
    assert paused.written == [EVENT_STREAM.event(price_event(2))]


def test_a_client_stands_where_it_was_when_the_first_event_had_to_wait(audience: Audience) -> None:
    client = Connection(direct=False).client
    audience.add(client)
    deliver(audience, price_event(3), position=cursor(2))
    deliver(audience, price_event(4), position=cursor(3))
    assert client.position == cursor(2)
    client.take()
    deliver(audience, price_event(5), position=cursor(4))
    assert client.position == cursor(4)


def test_a_client_that_the_write_fills_does_not_get_the_events_twice(audience: Audience) -> None:
    def fill(connection: Connection) -> None:
        connection.pause()
        audience.remove(connection.client)
        audience.add(connection.client)

    filled = Connection(on_write=fill)
    audience.add(filled.client)
    deliver(audience, price_event(1))
    assert filled.written == [EVENT_STREAM.event(price_event(1))]
    assert not filled.client.has_waiting_events
    deliver(audience, price_event(2))
    assert len(filled.written) == 1
    assert filled.client.has_waiting_events


def test_a_client_that_the_write_ends_is_not_heard_of_again(audience: Audience) -> None:
    ended = Connection(on_write=lambda connection: audience.remove(connection.client))
    other = Connection()
    audience.add(ended.client)
    audience.add(other.client)
    deliver(audience, price_event(1))
    deliver(audience, price_event(2))
    assert (len(ended.written), len(other.written)) == (1, 2)


def test_it_is_as_many_as_its_clients(audience: Audience) -> None:
    assert not audience
    first, second = Connection(), Connection(direct=False)
    audience.add(first.client)
    audience.add(second.client)
    audience.add(second.client)
    assert len(audience) == 2
    audience.remove(first.client)
    audience.remove(second.client)
    audience.remove(second.client)
    assert not audience


def test_it_selects_what_concerns_it_in_order(audience: Audience) -> None:
    events = [price_event(1), price_event(2, "USD_JPY"), ready_event(3), alert_event(4), alert_event(5, "USD_JPY")]
    assert audience.select(events) == [events[0], events[2], events[3]]
    assert audience.pacer is None


def test_clients_that_follow_nothing_get_events_without_an_id(clock: Clock) -> None:
    audience = Audience(EVENT_STREAM, NOTHING_YET, clock, StatisticsTable.alone().row())
    selected = audience.select([price_event(1), ready_event(2)])
    assert numbers(selected) == [2]
    assert selected[0].payload == ready_event(2).bare
    assert not selected[0].is_cursor


def test_a_limited_audience_gets_the_newest_price_when_it_is_due(clock: Clock) -> None:
    audience = Audience(EVENT_STREAM, Interest(frozenset({"EUR_USD"}), max_hz=2), clock, StatisticsTable.alone().row())
    assert audience.pacer is not None
    assert numbers(audience.select([price_event(1), price_event(2), price_event(3)])) == [1]
    assert audience.pacer.waits == 0.5
    clock.now += 0.5
    [released] = audience.release()
    assert numbers([released]) == [3]
    assert released.is_cursor


def test_a_price_that_newer_events_have_overtaken_comes_without_an_id(clock: Clock) -> None:
    audience = Audience(EVENT_STREAM, Interest(frozenset({"EUR_USD", "USD_JPY"}), max_hz=2), clock, StatisticsTable.alone().row())
    events = [price_event(1), price_event(2), alert_event(3), price_event(4, "USD_JPY"), price_event(5, "USD_JPY")]
    deliver(audience, *audience.select(events))
    assert audience.last == price_event(4).order
    clock.now += 0.5
    overtaken, newest = audience.release()
    assert numbers([overtaken, newest]) == [2, 5]
    assert not overtaken.is_cursor
    assert overtaken.payload == price_event(2).bare
    assert newest.is_cursor


def test_what_was_delivered_last_never_falls_back(audience: Audience) -> None:
    deliver(audience, price_event(5))
    deliver(audience, price_event(3).without_cursor())
    assert audience.last == price_event(5).order


# ----------------------------------------------------------------- interest


def test_a_client_wants_events_of_its_pairs_and_those_for_everyone() -> None:
    interest = Interest(frozenset({"EUR_USD", "USD_JPY"}))
    assert interest.wants(price_event(1, "EUR_USD"))
    assert not interest.wants(price_event(1, "GBP_USD"))
    assert interest.wants(correlation_event(1, "GBP_USD", "USD_JPY"))
    assert not interest.wants(correlation_event(1, "GBP_USD", "EUR_CHF"))
    assert interest.wants(ready_event(1))


def test_a_client_that_has_not_subscribed_wants_what_concerns_everyone() -> None:
    assert NOTHING_YET.wants(ready_event(1))
    assert not NOTHING_YET.wants(price_event(1))
    assert not NOTHING_YET.follows


def test_clients_that_want_the_same_share_an_audience() -> None:
    assert Interest(frozenset({"A", "B"}), 2) == Interest(frozenset({"B", "A"}), 2)
    assert len({Interest(frozenset({"A"})), Interest(frozenset({"A"}), 2), NOTHING_YET, Interest()}) == 4
