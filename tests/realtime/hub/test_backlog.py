import time

import orjson

from app.realtime.contract.answers import Conflated
from app.realtime.hub.backlog import Thinning
from app.realtime.hub.delivery import Direct
from app.realtime.hub.frames import EVENT_STREAM
from app.realtime.hub.subscription import Bounds, Interest, Subscription
from tests.building import cursor, price_event
from tests.realtime.listening import ListTransport

_PAIRS = ("EUR_USD", "GBP_USD")


def lagging() -> Subscription:
    """A direct client of two pairs that is paused behind event 0."""
    client = Subscription("a", "sse", EVENT_STREAM, Bounds(), Direct(ListTransport([])), cut=print, finish=lambda: None)
    client.follow(Interest(frozenset(_PAIRS)))
    client.pause(0.0, cursor(0))
    return client


def test_a_client_for_which_nothing_was_left_out_is_told_nothing() -> None:
    client = lagging()
    client.keep([price_event(1), price_event(2, "GBP_USD")], cursor(0))
    client.resume()
    assert client.thinning is None
    assert client.notice(_PAIRS, cursor(2), time.monotonic()) is None


def test_it_is_told_as_soon_as_nothing_waits_and_not_twice() -> None:
    client = lagging()
    client.keep([price_event(number) for number in (1, 2, 3)], cursor(0))
    now = time.monotonic()
    assert client.notice(_PAIRS, cursor(3), now) is None, "events wait"
    client.resume()
    body = client.notice(_PAIRS, cursor(3), now)
    assert body is not None
    notice = Conflated.model_validate_json(body)
    assert (notice.pairs, notice.count, notice.from_, notice.to) == (["EUR_USD"], 2, cursor(0), cursor(3))
    assert list(orjson.loads(body)) == ["pairs", "count", "from", "to", "timestamp"]
    assert client.notice(_PAIRS, cursor(4), now + 60) is None


def test_a_client_that_never_catches_up_is_told_every_ten_seconds_where_it_stands() -> None:
    client = lagging()
    told: list[Conflated] = []
    now, number = time.monotonic(), 0
    for step in range(200):
        for pair in _PAIRS:
            number += 1
            client.keep([price_event(number, pair)], cursor(number - 1))
        if step % 3 == 0:
            assert len(client.take(room=512, most=1)) == 1
        if (body := client.notice(_PAIRS, cursor(number), now + step / 4)) is not None:
            told.append(Conflated.model_validate_json(body))
    assert 3 <= len(told) <= 6
    assert all(notice.from_ < notice.to for notice in told)
    assert [notice.to for notice in told] == sorted({notice.to for notice in told})
    assert client.thinning is not None
    untold = client.thinning.count - sum(notice.count for notice in told)
    assert 0 < untold < client.thinning.count / 2


def test_a_client_that_catches_up_again_and_again_is_told_every_two_seconds() -> None:
    thinning, now = Thinning(), time.monotonic()
    times = []
    for step in range(100):
        thinning.add(1, ["EUR_USD"], cursor(step))
        if thinning.is_due(now + step / 10, cursor(step), behind=False):
            thinning.tell(_PAIRS, cursor(step), now + step / 10)
            times.append(step)
    assert times == [0, 20, 40, 60, 80]


def test_a_confirmation_says_what_is_new_since_the_last() -> None:
    thinning = Thinning()
    thinning.add(3, ["EUR_USD"], cursor(0))
    assert (thinning.confirm(), thinning.confirm()) == (3, 0)
    thinning.add(2, ["EUR_USD"], cursor(1))
    assert thinning.confirm() == 2
    assert thinning.summary.count == 5
    assert thinning.summary.since <= thinning.summary.last
