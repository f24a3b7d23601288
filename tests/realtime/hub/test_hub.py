"""The hub: what each client gets, in which order, and the hub's own state."""

import asyncio

import pytest

from app.errors import InvalidCursor, NotReady, TooManyClients
from app.realtime.contract.event import ORIGIN, cursor_order
from app.realtime.hub.frames import EVENT_STREAM
from app.realtime.hub.subscription import Bounds
from app.realtime.log.log import EventLog, open_redis
from tests.private_valkey import PrivateValkey
from tests.realtime.listening import Listener, ListTransport, Stage, alert, data_ready, interest, lose_the_log, stage, tick
from tests.waiting import wait_until


async def test_a_client_gets_the_events_of_its_pairs_and_what_concerns_everyone(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        listener = on.listen("EUR_USD")
        ids = await on.publish(tick("EUR_USD"), tick("USD_JPY", "150"), data_ready(), alert("EUR_USD"), alert("USD_JPY"))
        assert listener.ids == [ids[0], ids[2], ids[3]]
        assert [body["id"] for _, _, body in listener.events] == listener.ids


async def test_events_of_pairs_that_are_not_tracked_are_not_sent(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        listener = on.listen("EUR_USD")
        ids = await on.publish(tick("SEK_NOK"), tick("EUR_USD"))
        assert listener.ids == ids[1:]
        assert on.hub.book.newest("SEK_NOK") is None


async def test_clients_with_the_same_interest_share_one_write_a_batch(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        listeners = [on.listen("EUR_USD", "USD_JPY") for _ in range(3)]
        await on.publish(*(tick("EUR_USD") for _ in range(5)))
        first = listeners[0].received
        assert all(one is other for listener in listeners for one, other in zip(first, listener.received, strict=True))
        assert len(first) < 5


async def test_a_snapshot_is_followed_exactly_by_the_next_event(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        old = await on.publish(tick("USD_JPY", "150"), tick("EUR_USD", "1.1"), tick("EUR_USD", "1.2"))
        listener = on.listen("EUR_USD", "USD_JPY", snapshot=True)
        assert listener.ids == [old[0], old[2]]
        new = await on.publish(tick("EUR_USD", "1.3"))
        assert listener.ids == [old[0], old[2], *new]


async def test_prices_of_pairs_added_later_carry_no_id_where_newer_events_were_seen(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        await on.publish(tick("USD_JPY", "150"))
        listener = on.listen("EUR_USD")
        seen = await on.publish(tick("EUR_USD"))
        on.hub.follow(listener.client, interest("EUR_USD", "USD_JPY"))
        assert listener.ids == seen
        assert listener.events[-1][2]["instrument"] == "USD_JPY"
        assert "id" not in listener.events[-1][2]


async def test_a_client_that_never_subscribed_gets_news_for_everyone_without_an_id(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        listener = Listener(on.hub)
        on.hub.connect(listener.client)
        await on.publish(tick(), data_ready())
        assert [(type, id) for type, id, _ in listener.events] == [("data_ready", None)]


async def test_after_leaving_a_pair_nothing_of_it_comes_any_more(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        listener = on.listen("EUR_USD", "USD_JPY")
        on.hub.follow(listener.client, interest("USD_JPY"), snapshot=False)
        ids = await on.publish(tick("EUR_USD"), tick("USD_JPY", "150"))
        assert listener.ids == ids[1:]


async def test_the_limit_of_clients_is_kept_and_a_place_is_free_again_when_one_leaves(valkey_url: str) -> None:
    async with stage(valkey_url, max_clients=2) as on:
        first = on.listen("EUR_USD")
        on.listen("EUR_USD")
        with pytest.raises(TooManyClients, match="2 at once"):
            on.listen("EUR_USD")
        on.hub.disconnect(first.client)
        on.hub.disconnect(first.client)
        on.listen("EUR_USD")
        assert len(on.hub.clients) == 2


async def test_a_stopping_hub_lets_its_clients_finish_and_takes_no_more(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        listener = on.listen("EUR_USD")
        on.hub.stop()
        assert listener.finished
        assert on.hub.unready == "the gateway is stopping"
        with pytest.raises(NotReady):
            on.listen("EUR_USD")


async def test_a_lagging_client_gets_the_newest_price_of_each_pair_and_every_alert(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        slow, quick = on.listen("EUR_USD", "USD_JPY"), on.listen("EUR_USD", "USD_JPY")
        slow.room = 0
        first = await on.publish(tick())
        assert slow.client.paused
        ids = await on.publish(tick("EUR_USD"), alert(), tick("USD_JPY", "150"), tick("EUR_USD"), alert(), tick("EUR_USD"))
        assert slow.ids == first
        assert on.hub.position_of(slow.client) == first[0]
        slow.read()
        assert slow.ids == [*first, ids[1], ids[2], ids[4], ids[5]]
        assert on.hub.statistics.conflated.value == 2
        assert on.hub.position_of(slow.client) == on.hub.cursor
        live = await on.publish(tick())
        assert slow.ids[-1:] == quick.ids[-1:] == live
        assert quick.ids == [*first, *ids, *live]


async def test_a_client_that_is_full_again_while_it_drains_goes_on_lagging(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        slow = on.listen("EUR_USD")
        slow.room = 0
        first = await on.publish(tick())
        second = await on.publish(tick(), tick())
        slow.read(room=1)
        assert slow.client.paused
        third = await on.publish(tick(), tick())
        slow.read()
        assert slow.ids == [*first, second[1], third[1]]


async def test_a_client_that_becomes_direct_over_a_full_connection_lags_until_there_is_room(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        client = on.listen("EUR_USD", direct=False).client
        written: list[bytes] = []
        transport = ListTransport(written)
        transport.unsent = transport.get_write_buffer_limits()[1] + 1
        on.hub.become_direct(client, EVENT_STREAM, lambda frame: frame, transport, "websocket")
        await on.publish(tick(bid="1.1"))
        await on.publish(tick(bid="1.2"))
        assert (client.paused, client.is_lagging, written) == (True, True, [])
        transport.unsent = 0
        on.hub.resume(client)
        [newest] = written
        assert b'"bid":"1.20000"' in newest
        await on.publish(tick(bid="1.3"))
        assert len(written) == 2


async def test_a_client_that_lags_too_long_is_cut_off_with_the_reason(valkey_url: str) -> None:
    async with stage(valkey_url, bounds=Bounds(lagging_timeout=0.01)) as on:
        slow, quick = on.listen("EUR_USD"), on.listen("EUR_USD")
        slow.room = 0
        await on.publish(tick())
        await wait_until(lambda: slow.cut is not None, "the slow client is cut off")
        assert slow.cut == "lagging for too long"
        assert on.hub.statistics.cut_off["lagging for too long"].value == 1
        assert list(on.hub.clients) == [quick.client]


async def test_a_client_that_fetches_too_slowly_is_cut_off_as_well(valkey_url: str) -> None:
    async with stage(valkey_url, bounds=Bounds(send_buffer_bytes=1000, lagging_timeout=2, fetch_within=0.5)) as on:
        recovering, slow = on.listen("EUR_USD", direct=False), on.listen("EUR_USD", direct=False)
        await on.publish(tick())
        await wait_until(lambda: recovering.client.is_lagging, "the housekeeping sees both lag")
        recovering.fetch()
        await wait_until(lambda: slow.cut is not None, "the slow client is cut off")
        assert recovering.cut is None


async def test_alerts_that_do_not_fit_into_the_lane_come_once_the_client_reads(valkey_url: str) -> None:
    async with stage(valkey_url, bounds=Bounds(alert_lane_events=3)) as on:
        slow, quick = on.listen("EUR_USD"), on.listen("EUR_USD")
        slow.room = 0
        first = await on.publish(tick())
        ids = await on.publish(alert(), tick(), alert())
        more = await on.publish(*(alert() for _ in range(5)))
        assert slow.client.replaying
        slow.read()
        await wait_until(lambda: not slow.client.replaying, "the replay ends")
        assert slow.ids == [*first, *ids, *more]
        last = await on.publish(tick())
        assert slow.ids == quick.ids == [*first, *ids, *more, *last]


async def test_event_streams_hear_a_heartbeat_with_the_cursor_unless_they_lag(valkey_url: str) -> None:
    async with stage(valkey_url, heartbeat_interval=0.05) as on:
        quick, slow, fetching = on.listen("EUR_USD"), on.listen("EUR_USD"), on.listen("EUR_USD", direct=False)
        slow.room = 0
        [id] = await on.publish(tick())
        await wait_until(lambda: _last_heartbeat(quick) >= cursor_order(id), "a heartbeat that knows of the price")
        beats = [(sse_id, body["cursor"]) for type, sse_id, body in quick.events if type == "heartbeat"]
        assert all(sse_id == cursor for sse_id, cursor in beats)
        assert len(slow.received) == 1
        fetching.fetch()
        assert "price_update" in [type for type, _, _ in fetching.events]


async def test_heartbeats_go_through_the_log_and_prove_that_it_is_read(valkey_url: str) -> None:
    async with stage(valkey_url, heartbeat_interval=0.05) as on:
        await wait_until(lambda: on.hub.cursor != ORIGIN, "a heartbeat came back through the log")
        assert on.hub.log_fault is None


async def test_a_log_that_lost_its_events_is_a_gap_that_every_client_hears_of(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        listener = on.listen("EUR_USD")
        [before] = await on.publish(tick())
        await lose_the_log(on.log._redis, before)
        [after] = await on.publish(tick())
        assert [type for type, _, _ in listener.events] == ["price_update", "gap", "price_update"]
        gap = listener.events[1]
        assert (gap[1], gap[2]["after"], gap[2]["before"], gap[2]["missed"]) == (None, before, after, None)
        assert on.hub.statistics.gaps.value == 1


async def test_ids_rise_even_where_the_log_is_lost_and_its_clock_set_back(valkey_url: str) -> None:
    async with stage(valkey_url, heartbeat_interval=0.05) as on:
        listener = on.listen("EUR_USD")
        await on.log._redis.xadd("fx:events", {"n": 1, "t": "data_ready", "d": b'{"data_type":"prices"}'}, id="9000000000000-0")
        await on.passed("9000000000000-0")
        await on.log._redis.flushall()

        async def is_lifted() -> bool:
            return cursor_order(await on.log.tail()) > (9000000000000, 0)

        await wait_until(is_lifted, "the probe has lifted the log")
        [id] = await on.publish(tick())
        assert cursor_order(id) > (9000000000000, 0)
        assert listener.ids[-1] == id
        assert [cursor_order(id) for id in listener.ids] == sorted(cursor_order(id) for id in listener.ids)


async def test_loss_of_redis_leaves_clients_connected_and_the_hub_goes_on_where_it_was(valkey: PrivateValkey) -> None:
    async with stage(valkey.url) as on:
        listener = on.listen("EUR_USD")
        first = await on.publish(tick())
        valkey.kill()
        await wait_until(lambda: on.hub.log_fault is not None, "the hub sees that Redis is gone")
        assert on.hub.unready is not None
        assert on.hub.book.newest("EUR_USD") is not None
        valkey.start()
        ids = await on.publish(tick(), tick())
        assert listener.ids == [*first, *ids]
        await wait_until(lambda: on.hub.unready is None, "the hub is ready again")
        assert len(on.hub.clients) == 1


async def test_a_page_of_entries_that_are_no_events_does_not_pass_for_the_end_of_the_log(valkey_url: str) -> None:
    async with open_redis(valkey_url) as redis:
        for _ in range(600):
            await redis.xadd("fx:events", {"n": "none", "t": "note", "d": "{}"})
        await EventLog(redis).publisher().publish([tick("EUR_USD", "1.3")])
    async with stage(valkey_url) as on:
        assert on.hub.unready is None
        assert on.hub.book.newest("EUR_USD") is not None


async def test_a_redis_that_hangs_is_a_fault_until_it_answers_again(valkey: PrivateValkey) -> None:
    async with stage(valkey.url, heartbeat_interval=0.1) as on:
        valkey.pause()
        await wait_until(lambda: on.hub.log_fault is not None, "the hub sees that Redis hangs", 20)
        valkey.resume()
        await wait_until(lambda: on.hub.log_fault is None, "the hub goes on", 20)


async def test_retained_events_are_read_before_the_hub_is_ready(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        ids = await on.publish(*(tick(bid=f"1.{n}") for n in range(1, 2000)))
    async with stage(valkey_url) as later:
        assert later.hub.cursor == ids[-1]
        listener = later.listen("EUR_USD", snapshot=True)
        assert listener.ids == ids[-1:]


async def test_max_hz_thins_prices_and_never_loses_the_last(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        listener = Listener(on.hub)
        on.hub.connect(listener.client)
        on.hub.follow(listener.client, interest("EUR_USD", max_hz=20), snapshot=False)
        for n in range(1, 38):
            await on.publish(tick(bid=f"1.{n:02}"))
        # Of two that come together the second has to wait, so that the alert overtakes it.
        *_, after = await on.publish(tick(bid="1.38"), tick(bid="1.39"), alert())
        await wait_until(lambda: listener.events[-1][2].get("price", {}).get("bid") == "1.39000", "the last price")  # type: ignore[attr-defined]
        assert len(listener.events) < 30
        assert "id" not in listener.events[-1][2]
        assert [id for type, id, _ in listener.events if type == "volatility_alert"] == [after]


async def test_a_price_held_back_is_not_lost_when_the_client_changes_what_it_wants(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        listener = Listener(on.hub)
        on.hub.connect(listener.client)
        on.hub.follow(listener.client, interest("EUR_USD", "USD_JPY", max_hz=0.01), snapshot=False)
        await on.publish(tick(bid="1.1"), tick("USD_JPY", bid="150"), tick(bid="1.2"), tick("USD_JPY", bid="151"))
        assert len(listener.events) == 2
        on.hub.follow(listener.client, interest("EUR_USD", "GBP_USD", max_hz=0.02), snapshot=False)
        assert [body["price"]["bid"] for _, _, body in listener.events[2:]] == ["1.20000"]  # type: ignore[index]
        on.hub.follow(listener.client, interest("EUR_USD", "GBP_USD", max_hz=0.03), snapshot=False)
        assert len(listener.events) == 3


async def test_a_snapshot_for_a_paced_audience_gives_no_id_twice(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        first, second = Listener(on.hub), Listener(on.hub)
        on.hub.connect(first.client)
        on.hub.follow(first.client, interest("EUR_USD", max_hz=4), snapshot=False)
        ids = await on.publish(tick(bid="1.1"), tick(bid="1.2"))
        on.hub.connect(second.client)
        on.hub.follow(second.client, interest("EUR_USD", max_hz=4))
        await wait_until(lambda: first.ids == ids, "the held price is released")
        assert second.ids == ids[1:]
        assert [body.get("id") for _, _, body in second.events] == [None, ids[1]]


@pytest.mark.parametrize("cursor", ["", "x", "1", "1-", "-1", "1-1-1", "18446744073709551616-0", 5, None])
async def test_a_malformed_cursor_is_refused(valkey_url: str, cursor: object) -> None:
    async with stage(valkey_url) as on:
        with pytest.raises(InvalidCursor):
            await on.hub.holds(cursor)


async def test_a_cursor_from_the_future_or_never_issued_is_not_held(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        [id] = await on.publish(tick())
        assert await on.hub.holds("9000000000000-0") is None
        assert await on.hub.holds("1-1") is None
        held = await on.hub.holds(id)
        assert held is not None
        assert held.cursor == id
        origin = await on.hub.holds(ORIGIN)
        assert origin is not None
        assert origin.seq == 0


async def test_concurrent_clients_of_a_moving_stream_miss_nothing_and_see_nothing_twice(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        publishing = asyncio.create_task(_publish_for_a_while(on))
        listeners = []
        while not publishing.done():
            listeners.append(on.listen("EUR_USD", snapshot=True))
            await asyncio.sleep(0.001)
        ids = await publishing
        await on.passed(ids[-1])
        for listener in listeners:
            got = listener.ids
            assert got == ids[len(ids) - len(got) :]
        assert len({len(listener.ids) for listener in listeners}) > 3


def _last_heartbeat(listener: Listener) -> tuple[int, int]:
    """The order of the newest heartbeat's cursor."""
    return max((cursor_order(body["cursor"]) for type, _, body in listener.events if type == "heartbeat"), default=(0, 0))


async def _publish_for_a_while(on: Stage) -> list[str]:
    ids: list[str] = []
    for n in range(1, 60):
        ids += await on.publisher.publish([tick(bid=f"1.{n:02}")] * (n % 7 + 1))
    return ids
