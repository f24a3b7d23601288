import asyncio
import time

import pytest

from app.realtime.contract.event import ORIGIN, Event
from app.realtime.hub.delivery import Direct, Fetching
from app.realtime.hub.frames import CHUNKED_EVENT_STREAM, ENGINE_PACKETS, EVENT_STREAM, WEBSOCKET_FRAMES, websocket_text
from app.realtime.hub.statistics import StatisticsTable
from app.realtime.hub.subscription import NOTHING_YET, Bounds, Interest, Subscription
from tests.building import alert_event, correlation_event, cursor, numbers, price_event, ready_event
from tests.realtime.listening import ListTransport
from tests.waiting import wait_until

_SIZE = len(price_event(1).payload)


class Connection:
    """A client and what reaches it. Direct, it is written to; otherwise it is woken and fetches."""

    def __init__(self, *, direct: bool, bounds: Bounds | None = None) -> None:
        self.written: list[bytes] = []
        self.woken = 0
        self.finished = 0
        self.reasons: list[str] = []
        self.client = Subscription(
            "one",
            "sse",
            EVENT_STREAM,
            bounds or Bounds(),
            Direct(ListTransport(self.written)) if direct else Fetching(self._wake),
            cut=self.reasons.append,
            finish=self._finish,
        )
        self.statistics = StatisticsTable.alone().row()
        self.client.enter(self.statistics)

    def pause(self) -> None:
        self.client.pause(0.0, ORIGIN)

    def keep(self, *events: Event) -> None:
        self.client.keep(events, ORIGIN)

    def _wake(self) -> None:
        self.woken += 1

    def _finish(self) -> None:
        self.finished += 1


def framed(*events: Event) -> list[bytes]:
    return [EVENT_STREAM.event(event) for event in events]


@pytest.fixture
def direct() -> Connection:
    return Connection(direct=True)


@pytest.fixture
def fetching() -> Connection:
    return Connection(direct=False)


# ------------------------------------------------------------ direct client


def test_a_new_client_is_live_and_nothing_waits_for_it(direct: Connection, fetching: Connection) -> None:
    for client in (direct.client, fetching.client):
        assert not client.has_waiting_events
        assert not client.conflating
        assert client.take() == []
        assert (client.name, client.transport, client.interest) == ("one", "sse", NOTHING_YET)
        assert (client.position, client.seen, client.joined) == (ORIGIN, (0, 0), (0, 0))
        assert (client.closed, client.paused, client.replaying, client.is_lagging) == (False, False, False, False)
        assert (client.is_behind, client.may_have_backlog, client.waiting_bytes, client.lag(1e9)) == (False, False, 0, 0)
        client.cut("reason")
        client.finish()
    for connection in (direct, fetching):
        assert (connection.reasons, connection.finished) == (["reason"], 1)
    assert direct.client.is_direct
    assert direct.client.way() is not None
    assert not fetching.client.is_direct
    assert fetching.client.way() is None


def test_a_direct_client_gets_everything_at_once(direct: Connection) -> None:
    direct.client.send_message("pong", b'{"a":1}')
    direct.client.send_frame(b"frame")
    direct.client.send_history([price_event(1), price_event(2)])
    assert direct.written == [b'event: pong\ndata: {"a":1}\n\n', b"frame", b"".join(framed(price_event(1), price_event(2)))]


def test_frames_are_joined_as_the_transport_has_them() -> None:
    written: list[bytes] = []
    way = Direct(ListTransport(written))
    client = Subscription("a", "sse", CHUNKED_EVENT_STREAM, Bounds(), way, cut=print, finish=lambda: None)
    client.send_frame(b"frame")
    assert written == [b"5\r\nframe\r\n"]


def test_no_history_is_no_write(direct: Connection, fetching: Connection) -> None:
    direct.client.send_history([])
    fetching.client.send_history([])
    assert direct.written == []
    assert fetching.woken == 0


def test_while_its_connection_is_full_a_direct_client_conflates_at_once(direct: Connection) -> None:
    client = direct.client
    direct.pause()
    assert client.way() is None
    direct.keep(price_event(1), price_event(2), alert_event(3))
    client.send_history([price_event(1, "USD_JPY"), price_event(4, "USD_JPY")])
    client.send_message("pong", b"{}")
    assert client.conflating
    assert direct.statistics.conflated.value == 2
    assert client.may_have_backlog
    assert direct.written == []
    client.resume()
    waited = framed(price_event(2), alert_event(3), price_event(4, "USD_JPY"))
    assert direct.written == [b"".join([b"event: pong\ndata: {}\n\n", *waited])]
    assert not client.has_waiting_events
    client.resume()
    assert len(direct.written) == 1
    assert not client.may_have_backlog, "a healthy client has no outbox"


def test_what_was_conflated_is_counted_for_good(direct: Connection) -> None:
    for _ in range(3):
        direct.pause()
        direct.keep(price_event(1), price_event(2), price_event(3))
        direct.client.resume()
    assert direct.statistics.conflated.value == 6


def test_a_connection_that_is_full_again_while_it_drains_stays_paused() -> None:
    written: list[bytes] = []

    def fill(data: bytes) -> None:
        client.pause(9.0, cursor(9))

    client = Subscription(
        "a", "sse", EVENT_STREAM, Bounds(), Direct(ListTransport(written, fill)), cut=print, finish=lambda: None
    )
    client.pause(1.0, cursor(1))
    client.keep([price_event(2)], cursor(1))
    client.resume()
    assert written == framed(price_event(2))
    assert (client.paused, client.lag(10.0), client.position) == (True, 1.0, cursor(9))


def test_a_second_pause_changes_nothing(direct: Connection) -> None:
    client = direct.client
    client.pause(1.0, cursor(1))
    client.keep([price_event(2)], cursor(1))
    client.pause(5.0, cursor(5))
    assert (client.lag(10.0), client.position) == (9.0, cursor(1))


def test_only_the_replay_moves_the_position_of_a_client_that_is_replayed_to(direct: Connection) -> None:
    client = direct.client
    client.start_replay(cursor(1))
    client.pause(0.0, cursor(9))
    client.keep([price_event(10)], cursor(9))
    assert client.position == cursor(1)
    client.replayed_to(cursor(3))
    assert client.position == cursor(3)
    client.end_replay((9, 0))
    assert (client.replaying, client.seen) == (False, (9, 0))


def test_a_fetching_client_has_no_connection_that_could_be_full(fetching: Connection) -> None:
    fetching.pause()
    fetching.keep(price_event(1))
    assert not fetching.client.paused
    fetching.client.resume()
    assert fetching.client.take() == framed(price_event(1))


def test_what_waits_in_a_full_connection_counts_as_waiting() -> None:
    transport = ListTransport([])
    transport.unsent = 100
    client = Subscription("a", "sse", EVENT_STREAM, Bounds(), Direct(transport), cut=print, finish=lambda: None)
    assert client.waiting_bytes == 0, "a connection that keeps up is no concern"
    client.pause(0.0, ORIGIN)
    client.keep([price_event(1)], ORIGIN)
    assert client.waiting_bytes == 100 + _SIZE


def test_what_waits_can_be_discarded(direct: Connection) -> None:
    direct.pause()
    direct.keep(price_event(1))
    direct.client.discard()
    direct.client.resume()
    assert direct.written == []


# ---------------------------------------------------------- fetching client


def test_a_fetching_client_is_woken_and_fetches_in_order(fetching: Connection) -> None:
    client = fetching.client
    fetching.keep(price_event(1))
    client.send_frame(b"answer")
    client.send_history([price_event(2)])
    assert fetching.woken == 3
    assert client.has_waiting_events
    assert client.take() == [b"answer", *framed(price_event(1), price_event(2))]
    assert client.take() == []
    assert not client.has_waiting_events


def test_a_fetching_client_falls_back_above_its_mark_and_conflates_nothing() -> None:
    connection = Connection(direct=False, bounds=Bounds(send_buffer_bytes=2 * _SIZE))
    client = connection.client
    fallen: list[str] = []
    client.begin(0.0, lambda client, reason: None, lambda client, position: fallen.append(position))
    client.follow(Interest(frozenset({"EUR_USD"})))
    client.keep([price_event(1), price_event(2)], cursor(0))
    client.keep([price_event(3), price_event(4)], cursor(2))
    assert fallen == [cursor(2)]
    assert client.take() == framed(price_event(1), price_event(2))
    assert client.thinning is None


def test_a_client_that_asked_for_state_conflates_above_its_mark() -> None:
    client = Connection(direct=False, bounds=Bounds(send_buffer_bytes=2 * _SIZE)).client
    client.follow(Interest(frozenset({"EUR_USD"}), max_hz=5))
    client.keep([price_event(1), price_event(2), price_event(3)], ORIGIN)
    assert client.take() == framed(price_event(3))


def test_a_client_that_does_not_fetch_for_long_lags_and_conflates() -> None:
    connection = Connection(direct=False, bounds=Bounds(fetch_within=5))
    client = connection.client
    began = time.monotonic()
    client.fetch(began, 0, None)
    connection.keep(price_event(1), price_event(2))
    assert client.fetch(began, 0, 1) == framed(price_event(1))
    connection.keep(price_event(3))
    client.check_lag(began + 4)
    assert not client.is_lagging
    client.check_lag(began + 6)
    assert client.lag(began + 8) == pytest.approx(2, abs=0.1)
    assert not client.has_stalled(began + 100)
    assert client.has_stalled(began + 200)
    connection.keep(price_event(4))
    assert client.fetch(began + 200, 0, None) == framed(price_event(4))
    assert client.thinning is not None
    assert client.thinning.count == 2
    client.check_lag(began + 201)
    assert not client.is_lagging


def test_a_fetching_client_gets_history_whole() -> None:
    client = Connection(direct=False, bounds=Bounds(send_buffer_bytes=_SIZE)).client
    client.send_history([price_event(1), price_event(2), price_event(3)])
    assert client.take() == framed(price_event(1), price_event(2), price_event(3))


@pytest.mark.parametrize("direct", [True, False])
def test_alerts_that_do_not_fit_come_from_the_log_later(direct: bool) -> None:
    connection = Connection(direct=direct, bounds=Bounds(send_buffer_bytes=0, alert_lane_events=2))
    client = connection.client
    fallen: list[str] = []
    client.begin(0.0, lambda client, reason: None, lambda client, position: fallen.append(position))
    client.follow(Interest(frozenset({"EUR_USD"}), max_hz=5))
    connection.pause()
    client.keep([alert_event(1), alert_event(2)], cursor(0))
    assert fallen == []
    client.keep([alert_event(3)], cursor(2))
    assert fallen == [cursor(2)]
    assert connection.reasons == []


def test_a_full_lane_cuts_a_client_off_that_has_no_place_to_fall_back_to() -> None:
    connection = Connection(direct=True, bounds=Bounds(alert_lane_events=2))
    connection.pause()
    connection.keep(ready_event(1), ready_event(2))
    assert connection.reasons == []
    connection.keep(ready_event(3))
    assert connection.reasons == ["alert lane overflowed"]


def test_answers_overflow_too_and_the_hub_does_the_cutting() -> None:
    connection = Connection(direct=False, bounds=Bounds(alert_lane_events=1))
    told: list[str] = []
    connection.client.begin(5.0, lambda client, reason: told.append(f"{client.name}: {reason}"))
    connection.client.send_frame(b"one")
    connection.client.send_frame(b"two")
    assert told == ["one: alert lane overflowed"]
    assert connection.reasons == []
    assert connection.client.since == 5.0
    connection.client.close()
    connection.client.cut("reason")
    assert connection.reasons == ["reason"], "once it is closed it ends itself"


# ------------------------------------------------------------ change of way


def test_what_waited_goes_first_over_the_new_connection(fetching: Connection) -> None:
    bounds, statistics, woken = Bounds(send_buffer_bytes=0), StatisticsTable.alone().row(), list[None]()
    way = Fetching(lambda: woken.append(None))
    client = Subscription("a", "polling", ENGINE_PACKETS, bounds, way, cut=print, finish=lambda: None)
    client.enter(statistics)
    client.keep([price_event(1)], ORIGIN)
    client.send_frame(b"40")
    client.check_lag(5.0)
    assert client.is_lagging
    written: list[bytes] = []
    assert not client.become_direct(WEBSOCKET_FRAMES, websocket_text, ListTransport(written), "websocket")
    assert written == [websocket_text(b"40") + WEBSOCKET_FRAMES.event(price_event(1))]
    assert (client.is_direct, client.transport, client.is_lagging) == (True, "websocket", False)
    assert (statistics.clients["polling"].value, statistics.clients["websocket"].value) == (0, 1)
    client.send_message("pong", b"{}")
    assert written[1:] == [WEBSOCKET_FRAMES.message("pong", b"{}")]
    assert len(woken) == 2
    client.pause(6.0, ORIGIN)
    client.keep([price_event(2), price_event(3)], ORIGIN)
    assert statistics.conflated.value == 1, "a direct client conflates at once"


def test_where_nothing_waited_nothing_is_written_over_the_new_connection(fetching: Connection) -> None:
    written: list[bytes] = []
    fetching.client.become_direct(WEBSOCKET_FRAMES, websocket_text, ListTransport(written), "websocket")
    assert written == []


def test_becoming_direct_over_a_full_connection_says_so(fetching: Connection) -> None:
    transport = ListTransport([])
    transport.unsent = transport.get_write_buffer_limits()[1] + 1
    assert fetching.client.become_direct(WEBSOCKET_FRAMES, websocket_text, transport, "websocket")


def test_what_waits_of_a_pair_that_was_left_is_forgotten(fetching: Connection) -> None:
    client = fetching.client
    client.follow(Interest(frozenset({"EUR_USD", "USD_JPY"})))
    kept = [price_event(2, "USD_JPY"), correlation_event(3, "EUR_USD", "USD_JPY"), ready_event(4)]
    fetching.keep(price_event(1), *kept, alert_event(5))
    client.follow(Interest(frozenset({"USD_JPY"})))
    assert client.take() == framed(*kept)
    assert numbers(kept) == [2, 3, 4]


def test_leaving_a_pair_while_nothing_waits_makes_no_outbox(direct: Connection) -> None:
    direct.client.follow(Interest(frozenset({"EUR_USD"})))
    direct.client.follow(Interest())
    assert not direct.client.may_have_backlog


# ------------------------------------------------------------------ drained


async def test_a_client_for_which_nothing_waits_is_drained(direct: Connection, fetching: Connection) -> None:
    await asyncio.wait_for(direct.client.drained(), 10)
    await asyncio.wait_for(fetching.client.drained(), 10)


async def test_a_fetching_client_is_drained_when_it_has_fetched(fetching: Connection) -> None:
    client = fetching.client
    fetching.keep(price_event(1))
    waiting = [asyncio.create_task(client.drained()) for _ in range(2)]
    await wait_until(lambda: client._drained is not None, "drained is awaited")
    assert not any(task.done() for task in waiting)
    first = client._drained
    client.take()
    fetching.keep(price_event(2))  # more came before the waiting one looked
    await wait_until(lambda: client._drained not in (None, first), "they wait again")
    assert not any(task.done() for task in waiting)
    client.take()
    await asyncio.wait_for(asyncio.gather(*waiting), 10)


async def test_a_direct_client_is_drained_when_its_connection_has_room(direct: Connection) -> None:
    client = direct.client
    direct.pause()
    waiting = asyncio.create_task(client.drained())
    await wait_until(lambda: client._drained is not None, "drained is awaited")
    first = client._drained
    client.discard()  # nothing waits, and yet the connection is full
    await wait_until(lambda: client._drained not in (None, first), "drained is awaited again")
    assert not waiting.done()
    client.resume()
    await asyncio.wait_for(waiting, 10)


async def test_a_cancelled_waiter_does_not_wake_the_others(fetching: Connection) -> None:
    client = fetching.client
    fetching.keep(price_event(1))
    impatient, patient = (asyncio.create_task(client.drained()) for _ in range(2))
    await wait_until(lambda: client._drained is not None, "drained is awaited")
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert not patient.done()
    client.take()
    await asyncio.wait_for(patient, 10)


@pytest.mark.parametrize("direct", [True, False])
async def test_closing_a_client_ends_all_waiting_for_it(direct: bool) -> None:
    connection = Connection(direct=direct)
    client = connection.client
    connection.pause()
    connection.keep(price_event(1))
    waiting = asyncio.create_task(client.drained())
    await wait_until(lambda: client._drained is not None, "drained is awaited")
    client.close()
    await asyncio.wait_for(waiting, 10)
    assert client.closed
    assert client.take() == []
    assert not client.has_waiting_events
