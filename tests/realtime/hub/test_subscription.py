import asyncio

import pytest

from app.realtime.contract.event import ORIGIN, Event
from app.realtime.hub.frames import CHUNKED_EVENT_STREAM, ENGINE_PACKETS, EVENT_STREAM, WEBSOCKET_FRAMES, websocket_text
from app.realtime.hub.subscription import NOTHING_YET, Bounds, Interest, Subscription
from tests.building import alert_event, correlation_event, numbers, price_event, ready_event
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
            "somebody",
            "sse",
            EVENT_STREAM,
            bounds or Bounds(),
            cut=self.reasons.append,
            finish=self._finish,
            write=self.written.append if direct else None,
            wake=None if direct else self._wake,
        )

    def _wake(self) -> None:
        self.woken += 1

    def _finish(self) -> None:
        self.finished += 1


def framed(*events: Event) -> list[bytes]:
    return [EVENT_STREAM.event(event) for event in events]


def is_lagging(client: Subscription) -> bool:
    return client.lagging_since is not None


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
        assert (client.name, client.transport, client.interest) == ("somebody", "sse", NOTHING_YET)
        assert (client.position, client.seen, client.joined) == (ORIGIN, (0, 0), (0, 0))
        assert (client.closed, client.paused, client.replaying, client.lagging_since) == (False, False, False, None)
        client.cut("reason")
        client.finish()
    for connection in (direct, fetching):
        assert (connection.reasons, connection.finished) == (["reason"], 1)
    assert direct.client.takes_now
    assert not fetching.client.takes_now


def test_a_direct_client_gets_everything_at_once(direct: Connection) -> None:
    direct.client.send_message("pong", b'{"a":1}')
    direct.client.send_frame(b"frame")
    direct.client.send_history([price_event(1), price_event(2)])
    assert direct.written == [b'event: pong\ndata: {"a":1}\n\n', b"frame", b"".join(framed(price_event(1), price_event(2)))]


def test_frames_are_joined_as_the_transport_has_them() -> None:
    written: list[bytes] = []
    client = Subscription("a", "sse", CHUNKED_EVENT_STREAM, Bounds(), cut=print, finish=lambda: None, write=written.append)
    client.send_frame(b"frame")
    assert written == [b"5\r\nframe\r\n"]


def test_no_history_is_no_write(direct: Connection, fetching: Connection) -> None:
    direct.client.send_history([])
    fetching.client.send_history([])
    assert direct.written == []
    assert fetching.woken == 0


def test_while_its_connection_is_full_a_direct_client_conflates_at_once(direct: Connection) -> None:
    client = direct.client
    client.paused = True
    assert not client.takes_now
    client.keep([price_event(1), price_event(2), alert_event(3)])
    client.send_history([price_event(1, "USD_JPY"), price_event(4, "USD_JPY")])
    client.send_message("pong", b"{}")
    assert client.conflating
    assert client.conflated == 2
    outbox = client.outbox
    assert direct.written == []
    client.paused = False
    client.flush()
    waited = framed(price_event(2), alert_event(3), price_event(4, "USD_JPY"))
    assert direct.written == [b"".join([b"event: pong\ndata: {}\n\n", *waited])]
    assert not client.has_waiting_events
    client.flush()
    assert len(direct.written) == 1
    assert client.outbox is not outbox, "a healthy client has none"


def test_what_was_conflated_is_counted_for_good(direct: Connection) -> None:
    client = direct.client
    for _ in range(3):
        client.paused = True
        client.keep([price_event(1), price_event(2), price_event(3)])
        client.paused = False
        client.flush()
    assert client.conflated == 6


# ---------------------------------------------------------- fetching client


def test_a_fetching_client_is_woken_and_fetches_in_order(fetching: Connection) -> None:
    client = fetching.client
    client.keep([price_event(1)])
    client.send_frame(b"answer")
    client.send_history([price_event(2)])
    assert fetching.woken == 3
    assert client.has_waiting_events
    assert client.take() == [b"answer", *framed(price_event(1), price_event(2))]
    assert client.take() == []
    assert not client.has_waiting_events


def test_a_fetching_client_conflates_above_its_mark() -> None:
    client = Connection(direct=False, bounds=Bounds(send_buffer_bytes=2 * _SIZE)).client
    client.keep([price_event(1), price_event(2)])
    assert not client.conflating
    client.keep([price_event(3)])
    assert client.conflating
    assert client.take() == framed(price_event(3))


def test_a_fetching_client_gets_history_whole() -> None:
    client = Connection(direct=False, bounds=Bounds(send_buffer_bytes=_SIZE)).client
    client.send_history([price_event(1), price_event(2), price_event(3)])
    assert client.take() == framed(price_event(1), price_event(2), price_event(3))


def test_a_client_with_neither_write_nor_wake_keeps_what_comes() -> None:
    client = Subscription("a", "polling", EVENT_STREAM, Bounds(), cut=print, finish=lambda: None)
    client.keep([price_event(1)])
    assert client.take() == framed(price_event(1))


@pytest.mark.parametrize("direct", [True, False])
def test_a_full_lane_cuts_the_client_off(direct: bool) -> None:
    connection = Connection(direct=direct, bounds=Bounds(send_buffer_bytes=0, alert_lane_events=2))
    connection.client.paused = True
    connection.client.keep([alert_event(1), alert_event(2)])
    assert connection.reasons == []
    woken = connection.woken
    connection.client.keep([alert_event(3)])
    assert connection.reasons == ["alert lane overflowed"]
    assert connection.woken == woken


def test_answers_overflow_the_lane_too_and_whoever_owns_the_client_decides() -> None:
    connection = Connection(direct=False, bounds=Bounds(alert_lane_events=1))
    told: list[str] = []
    connection.client.on_cut = told.append
    connection.client.send_frame(b"one")
    connection.client.send_frame(b"two")
    assert told == ["alert lane overflowed"]
    assert connection.reasons == []


# ------------------------------------------------------------ change of way


def test_what_waited_goes_first_over_the_new_connection(fetching: Connection) -> None:
    client = fetching.client
    client.framing = ENGINE_PACKETS
    client.lagging_since = 5.0
    assert is_lagging(client)
    client.keep([price_event(1)])
    client.send_frame(b"40")
    written: list[bytes] = []
    client.become_direct(WEBSOCKET_FRAMES, websocket_text, written.append, "websocket")
    assert written == [websocket_text(b"40") + WEBSOCKET_FRAMES.event(price_event(1))]
    assert (client.takes_now, client.transport, is_lagging(client)) == (True, "websocket", False)
    client.send_message("pong", b"{}")
    assert written[1:] == [WEBSOCKET_FRAMES.message("pong", b"{}")]
    assert fetching.woken == 2
    client.paused = True
    client.keep([price_event(2), price_event(3)])
    assert client.conflated == 1, "a direct client conflates at once"


def test_where_nothing_waited_nothing_is_written_over_the_new_connection(fetching: Connection) -> None:
    written: list[bytes] = []
    fetching.client.become_direct(WEBSOCKET_FRAMES, websocket_text, written.append, "websocket")
    assert written == []


def test_what_waits_of_a_pair_that_was_left_is_forgotten(fetching: Connection) -> None:
    client = fetching.client
    client.interest = Interest(frozenset({"USD_JPY"}))
    kept = [price_event(2, "USD_JPY"), correlation_event(3, "EUR_USD", "USD_JPY"), ready_event(4)]
    client.keep([price_event(1), *kept, alert_event(5)])
    client.forget(frozenset({"EUR_USD"}))
    assert client.take() == framed(*kept)
    assert numbers(kept) == [2, 3, 4]


def test_forgetting_where_nothing_waits_is_nothing(direct: Connection) -> None:
    direct.client.forget(frozenset({"EUR_USD"}))
    assert not direct.client.has_waiting_events


# ------------------------------------------------------------------ drained


async def test_a_client_for_which_nothing_waits_is_drained(direct: Connection, fetching: Connection) -> None:
    await asyncio.wait_for(direct.client.drained(), 10)
    await asyncio.wait_for(fetching.client.drained(), 10)


async def test_a_fetching_client_is_drained_when_it_has_fetched(fetching: Connection) -> None:
    client = fetching.client
    client.keep([price_event(1)])
    waiting = [asyncio.create_task(client.drained()) for _ in range(2)]
    await wait_until(lambda: client._drained is not None, "somebody waits")
    assert not any(task.done() for task in waiting)
    first = client._drained
    client.take()
    client.keep([price_event(2)])  # more came before the waiting one looked
    await wait_until(lambda: client._drained not in (None, first), "they wait again")
    assert not any(task.done() for task in waiting)
    client.take()
    await asyncio.wait_for(asyncio.gather(*waiting), 10)


async def test_a_direct_client_is_drained_when_its_connection_has_room(direct: Connection) -> None:
    client = direct.client
    client.paused = True
    waiting = asyncio.create_task(client.drained())
    await wait_until(lambda: client._drained is not None, "somebody waits")
    client.notify_drained()  # nothing has changed
    await wait_until(lambda: client._drained is not None, "somebody waits again")
    assert not waiting.done()
    client.paused = False
    client.flush()
    client.notify_drained()
    await asyncio.wait_for(waiting, 10)


async def test_whoever_stops_waiting_does_not_wake_the_others(fetching: Connection) -> None:
    client = fetching.client
    client.keep([price_event(1)])
    impatient, patient = (asyncio.create_task(client.drained()) for _ in range(2))
    await wait_until(lambda: client._drained is not None, "somebody waits")
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert not patient.done()
    client.take()
    await asyncio.wait_for(patient, 10)


@pytest.mark.parametrize("direct", [True, False])
async def test_a_client_that_is_gone_is_waited_for_by_nobody(direct: bool) -> None:
    client = Connection(direct=direct).client
    client.paused = True
    client.keep([price_event(1)])
    waiting = asyncio.create_task(client.drained())
    await wait_until(lambda: client._drained is not None, "somebody waits")
    client.close()
    await asyncio.wait_for(waiting, 10)
    assert client.closed
    assert client.take() == []
    assert not client.has_waiting_events
