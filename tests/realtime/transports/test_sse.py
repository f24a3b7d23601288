"""Event streams: what they look like, what they carry, and how they are resumed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app.market.pair import DEFAULT_PAIRS
from app.realtime.contract.answers import StreamHeartbeat, StreamOpened
from app.realtime.contract.event import ORIGIN, Draft, cursor_order
from app.realtime.log.log import EventLog, Publisher, open_redis
from tests.gateways import RunningGateway, gateway
from tests.private_valkey import PrivateValkey
from tests.realtime.listening import alert, data_ready, tick
from tests.realtime.stream_clients import RawStream, open_stream, raw_stream
from tests.waiting import wait_until

FUTURE = "9000000000000-0"


class On(NamedTuple):
    """A gateway and the log behind it."""

    running: RunningGateway
    redis: Redis
    publisher: Publisher

    @property
    def url(self) -> str:
        """Where it serves."""
        return self.running.url

    async def publish(self, *drafts: Draft) -> list[str]:
        """Publish, and return when the hub has handed the events out."""
        ids = await self.publisher.publish(drafts)
        await wait_until(lambda: cursor_order(self.running.hub.cursor) >= cursor_order(ids[-1]), "the hub has the events")
        return ids


@pytest_asyncio.fixture
async def on(valkey_url: str, tmp_path: Path) -> AsyncIterator[On]:
    """A gateway without heartbeats, unless a test waits for them."""
    async with gateway(valkey_url, tmp_path, heartbeat_interval=60) as running, open_redis(valkey_url) as redis:
        yield On(running, redis, EventLog(redis).publisher())


def prices(stream: RawStream) -> list[str]:
    """The bids that came, in order."""
    return [event.body["price"]["bid"] for event in stream.parser.events if event.type == "price_update"]


# ---------------------------------------------------------------- what it looks like


async def test_a_stream_is_what_an_eventsource_expects_byte_by_byte(on: On) -> None:
    [id] = await on.publish(tick("EUR_USD"))
    payload = on.running.hub.book.newest("EUR_USD")
    assert payload is not None
    async with raw_stream(on.url, "/stream/EUR_USD") as stream:
        assert stream.status == 200
        assert stream.header("content-type") == "text/event-stream; charset=utf-8"
        await stream.read_events(2)
        first, second, end = stream.body.decode().split("\n\n")
        assert first.startswith('retry: 2000\nevent: stream_opened\ndata: {"recovered":null,"pairs":["EUR_USD"],"cursor":')
        assert second == f"event: price_update\nid: {id}\ndata: {payload.payload.decode()}"
        assert end == ""


async def test_headers_keep_proxies_and_browsers_from_holding_events_back(on: On) -> None:
    async with raw_stream(on.url, "/stream/EUR_USD", Accept_Encoding="br", Origin="http://localhost:3000") as stream:
        assert stream.header("cache-control") == "no-store, no-transform"
        assert stream.header("x-accel-buffering") == "no"
        assert stream.header("content-encoding") is None
        assert stream.header("content-length") is None
        assert stream.header("transfer-encoding") == "chunked"
        assert stream.header("access-control-allow-origin") == "http://localhost:3000"
        assert stream.header("vary") == "Accept-Encoding, Origin"


async def test_a_stream_opens_with_its_pairs_and_its_place(on: On) -> None:
    [id] = await on.publish(tick("EUR_USD"))
    async with open_stream(on.url, "/stream?pairs=USD_JPY,eur/usd,GBPUSD&snapshot=false") as stream:
        opened = StreamOpened.model_validate(stream.opened)
        assert opened.pairs == ["EUR_USD", "GBP_USD", "USD_JPY"]
        assert (opened.recovered, opened.cursor) == (None, id)
        assert stream.parser.retries == [2000]


async def test_every_pair_is_streamed_for_a_star(on: On) -> None:
    for pairs in ("*", "%2A"):
        async with open_stream(on.url, f"/stream?pairs={pairs}") as stream:
            assert stream.opened["pairs"] == list(DEFAULT_PAIRS)


async def test_prices_alerts_and_news_come_with_their_ids_and_nothing_of_other_pairs(on: On) -> None:
    async with open_stream(on.url, "/stream/EURUSD") as stream:
        drafts = [tick("EUR_USD"), alert("EUR_USD"), tick("USD_JPY", "150"), alert("USD_JPY"), data_ready(), tick("EUR_USD")]
        ids = await on.publish(*drafts)
        _, *events = await stream.read_until(ids[-1])
        assert [event.type for event in events] == ["price_update", "volatility_alert", "data_ready", "price_update"]
        assert [event.last_id for event in events] == [ids[0], ids[1], ids[4], ids[5]]
        assert [event.body["id"] for event in events] == [ids[0], ids[1], ids[4], ids[5]]


async def test_several_pairs_come_in_the_one_order_of_the_log(on: On) -> None:
    async with open_stream(on.url, "/stream?pairs=EUR_USD,USD_JPY") as stream:
        ids: list[str] = []
        for n in range(50):
            ids += await on.publisher.publish(
                [tick(("EUR_USD", "USD_JPY", "GBP_USD")[k % 3], f"1.{n + 1}") for k in range(n % 4)]
            )
        [last] = await on.publish(data_ready())
        await stream.read_until(last)
        got = [event.last_id for event in stream.parser.events[1:]]
        assert got == sorted(got, key=cursor_order)
        assert len(got) == len(set(got)) > 50


async def test_heartbeats_are_events_with_the_cursor(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path, heartbeat_interval=0.1) as running:
        async with open_stream(running.url, "/stream/EUR_USD") as stream:
            events = (await stream.read_events(4))[1:]
        assert {event.type for event in events} == {"heartbeat"}
        for event in events:
            assert StreamHeartbeat.model_validate(event.body).cursor == event.last_id
        cursors = [cursor_order(event.last_id) for event in events]
        assert cursors == sorted(cursors)
        assert cursors[0] < cursors[-1], "a quiet stream does not age out of the log"
        async with open_stream(running.url, f"/stream/EUR_USD?last_event_id={events[-1].last_id}") as resumed:
            assert resumed.opened["recovered"] is True


# ---------------------------------------------------------------- where it begins


async def test_the_snapshot_is_followed_by_what_happens_next(on: On) -> None:
    ids = await on.publish(tick("USD_JPY", "150"), tick("EUR_USD", "1.1"), tick("EUR_USD", "1.2"), alert("EUR_USD"))
    async with open_stream(on.url, "/stream?pairs=EUR_USD,USD_JPY,GBP_USD") as stream:
        live = await on.publish(tick("EUR_USD", "1.3"))
        await stream.read_until(live[0])
        assert [event.last_id for event in stream.parser.events[1:]] == [ids[0], ids[2], *live]


async def test_without_a_snapshot_a_stream_begins_with_what_happens_next(on: On) -> None:
    await on.publish(tick("EUR_USD", "1.1"))
    async with open_stream(on.url, "/stream/EUR_USD?snapshot=false") as stream:
        live = await on.publish(tick("EUR_USD", "1.2"))
        await stream.read_until(live[0])
        assert prices(stream) == ["1.20000"]


@pytest.mark.parametrize("way", ["header", "since", "last_event_id", "lastEventId", "both"])
async def test_a_stream_resumes_after_the_last_event_id(way: str, on: On) -> None:
    ids = await on.publish(*((tick, alert)[n % 5 == 0](("EUR_USD", "USD_JPY")[n % 2]) for n in range(400)))
    mine = ids[::2]
    since = mine[30]
    headers = {"Last_Event_ID": since} if way in ("header", "both") else {}
    query = {"header": "", "both": f"?since={ids[-1]}"}.get(way, f"?{way}={since}")
    async with open_stream(on.url, f"/stream/EUR_USD{query}", **headers) as stream:
        assert (stream.opened["recovered"], stream.opened["cursor"]) == (True, since)
        [live] = await on.publish(tick("EUR_USD"))
        await stream.read_until(live)
        assert [event.last_id for event in stream.parser.events[1:]] == [*mine[31:], live]


async def test_of_several_cursors_in_the_address_the_newest_counts(on: On) -> None:
    ids = await on.publish(*(tick("EUR_USD") for _ in range(4)))
    for query in (f"since={ids[0]}&lastEventId={ids[2]}", f"since={ids[2]}&last_event_id={ids[1]}&lastEventId={ids[0]}"):
        async with open_stream(on.url, f"/stream/EUR_USD?{query}") as stream:
            assert stream.opened["cursor"] == ids[2]


async def test_an_empty_last_event_id_is_none(on: On) -> None:
    await on.publish(tick("EUR_USD"))
    async with open_stream(on.url, "/stream/EUR_USD?last_event_id=&lastEventId=", Last_Event_ID="") as stream:
        assert stream.opened["recovered"] is None


async def test_an_alert_before_the_first_heartbeat_is_not_lost_on_a_stream_without_a_snapshot(on: On) -> None:
    [before] = await on.publish(tick("EUR_USD"))
    async with open_stream(on.url, "/stream/EUR_USD?snapshot=false") as stream:
        assert (stream.opened["cursor"], stream.parser.own_ids) == (before, [before])
    missed = await on.publish(alert("EUR_USD"))
    async with open_stream(on.url, "/stream/EUR_USD?snapshot=false", Last_Event_ID=before) as stream:
        await stream.read_until(missed[0])
        assert stream.parser.own_ids == missed
        assert [event.type for event in stream.parser.events] == ["stream_opened", "volatility_alert"]


async def test_the_first_event_has_an_id_unless_older_events_are_still_to_come(on: On) -> None:
    async with open_stream(on.url, "/stream/EUR_USD") as stream:  # of no price
        assert stream.parser.own_ids == [stream.opened["cursor"]]
    ids = await on.publish(tick("EUR_USD"), tick("GBP_USD"), alert("EUR_USD"))
    for headers in ({}, {"Last_Event_ID": FUTURE}):
        async with open_stream(on.url, "/stream?pairs=EUR_USD,GBP_USD", **headers) as stream:
            await stream.read_events(3)
            assert stream.opened["cursor"] == ids[2]
            assert stream.parser.own_ids == ids[:2]
    async with open_stream(on.url, "/stream/EUR_USD", Last_Event_ID=ids[2]) as stream:  # nothing was missed
        assert stream.parser.own_ids == ids[2:]


@pytest.mark.parametrize("since", [FUTURE, "1-1"])
async def test_where_it_cannot_resume_a_stream_says_so_and_gives_the_newest_prices(since: str, on: On) -> None:
    ids = await on.publish(tick("EUR_USD", "1.1"), tick("EUR_USD", "1.2"), alert("EUR_USD"))
    async with open_stream(on.url, "/stream/EUR_USD?snapshot=false", Last_Event_ID=since) as stream:
        assert (stream.opened["recovered"], stream.opened["cursor"]) == (False, ids[-1])
        live = await on.publish(tick("EUR_USD", "1.3"))
        await stream.read_until(live[0])
        assert prices(stream) == ["1.20000", "1.30000"]


async def test_a_cursor_that_was_trimmed_away_is_not_recovered(on: On, valkey_url: str, tmp_path: Path) -> None:
    ids = await on.publish(*(tick("EUR_USD", f"1.{n}") for n in range(10, 30)))
    await on.redis.xtrim("fx:events", maxlen=5, approximate=False)
    async with gateway(valkey_url, tmp_path) as later:
        for since, recovered, bids in ((ids[3], False, 1), (ids[-4], True, 3), (ORIGIN, False, 1)):
            async with open_stream(later.url, "/stream/EUR_USD", Last_Event_ID=since) as stream:
                assert stream.opened["recovered"] is recovered, since
                await stream.read_events(bids + 1)
                assert prices(stream)[-1] == "1.29000"
                assert len(prices(stream)) == bids


async def test_while_the_log_does_not_answer_nothing_is_recovered(valkey: PrivateValkey, tmp_path: Path) -> None:
    async with gateway(valkey.url, tmp_path) as running, open_redis(valkey.url) as redis:
        [id] = await EventLog(redis).publisher().publish([tick("EUR_USD")])
        await wait_until(lambda: running.hub.cursor == id, "the hub has the price")
        valkey.kill()
        async with open_stream(running.url, "/stream/EUR_USD?last_event_id=1-1") as stream:
            assert stream.opened["recovered"] is False
            assert (await stream.read_events(2))[1].last_id == id


async def test_max_hz_thins_prices_out_and_the_last_one_comes_without_passing_for_a_place(on: On) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with open_stream(on.url, "/stream/EUR_USD?max_hz=4") as stream:
        for n in range(10, 58):
            await on.publisher.publish([tick("EUR_USD", f"1.{n}")])
            await asyncio.sleep(0.01)
        # Of two that come together the second has to wait, so that the alert overtakes it.
        *_, warned = await on.publish(tick("EUR_USD", "1.58"), tick("EUR_USD", "1.59"), alert("EUR_USD"))
        while prices(stream)[-1:] != ["1.59000"]:
            await stream.read_some()
        assert 2 <= len(prices(stream)) <= 2 + 4 * (loop.time() - began)
        last = stream.parser.events[-1]
        assert (last.last_id, "id" in last.body) == (warned, False)


async def test_a_thinned_stream_resumes_with_its_alerts_and_a_snapshot(on: On) -> None:
    ids = await on.publish(tick("EUR_USD", "1.1"), tick("EUR_USD", "1.2"), alert("EUR_USD"), tick("EUR_USD", "1.3"))
    async with open_stream(on.url, "/stream/EUR_USD?max_hz=100", Last_Event_ID=ids[0]) as stream:
        assert stream.opened["recovered"] is True
        events = (await stream.read_events(3))[1:]
        assert [event.type for event in events] == ["volatility_alert", "price_update"]
        assert prices(stream) == ["1.30000"]


async def test_streams_opened_while_prices_pour_in_miss_nothing_and_repeat_nothing(on: On) -> None:
    ids = await on.publish(tick("EUR_USD"))

    async def listen(number: int) -> list[str]:
        await wait_until(lambda: len(ids) > 25 * number, "this stream's moment has come")
        async with open_stream(on.url, "/stream/EUR_USD") as stream:
            await stream.read_events(101)
            return [event.last_id for event in stream.parser.events[1:101]]

    streams = asyncio.gather(*map(listen, range(12)))
    while not streams.done():
        ids.extend(await on.publisher.publish([tick("EUR_USD") for _ in range(len(ids) % 5 + 1)]))
    places = set()
    for mine in await streams:
        places.add(place := ids.index(mine[0]))
        assert mine == ids[place : place + 100]
    assert len(places) > 6, "the streams were opened at different moments"
