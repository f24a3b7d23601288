"""The statistics: exact numbers of a running hub, and of several processes in one table."""

import logging
import multiprocessing
import time
from array import array
from datetime import timedelta
from decimal import Decimal

import pytest

from app.errors import InvalidCursor, TooManyClients
from app.market.clock import rfc3339, utc_now
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import draft, price_update
from app.realtime.contract.heartbeat import FeedHeartbeat, heartbeat
from app.realtime.hub.delivery import Fetching
from app.realtime.hub.frames import ENGINE_PACKETS, WEBSOCKET_FRAMES
from app.realtime.hub.statistics import CutReason, Histogram, Statistics, StatisticsTable, Transport
from app.realtime.hub.subscription import Bounds, Subscription
from tests.building import price_event
from tests.realtime.listening import Listener, ListTransport, alert, interest, stage, tick
from tests.waiting import wait_until


def counts(histogram: Histogram) -> dict[float, float]:
    """The buckets that are not empty, by their upper bound."""
    bounds = [*histogram.bounds, float("inf")]
    return {bound: count for bound, count in zip(bounds, histogram.counts, strict=True) if count}


def observed(histogram: Histogram) -> float:
    """How many observations there were."""
    return sum(histogram.counts)


def row() -> Statistics:
    return StatisticsTable.alone().row()


# ------------------------------------------------------------------ the table


def test_a_row_is_written_by_one_and_read_by_all() -> None:
    numbers = array("d", bytes(8 * StatisticsTable.size(3)))
    ones, others = StatisticsTable(numbers, 3), StatisticsTable(numbers, 3)
    ones.row(0).enter(Transport.SSE)
    others.row(2).enter(Transport.POLLING)
    others.rows[2].enter(Transport.POLLING)
    assert (ones.total_clients, others.total_clients, len(ones.rows)) == (3, 3, 3)
    assert [row.client_count for row in ones.rows] == [1, 0, 2]


def test_the_next_process_of_a_row_continues_counters_and_resets_gauges() -> None:
    table = StatisticsTable.alone()
    before = table.row()
    before.enter(Transport.SSE)
    before.subscriptions.add(7)
    before.memory.set(5e6)
    before.conflated.add(5)
    before.connections[Transport.SSE].add()
    before.price_age.observe(2)
    after = table.row()
    assert (table.total_clients, after.subscriptions.value, after.memory.value) == (0, 0, 0)
    assert (after.conflated.value, after.connections[Transport.SSE].value, after.price_age.sum) == (5, 1, 2)


def test_no_two_numbers_have_the_same_place() -> None:
    table = StatisticsTable(array("d", bytes(8 * StatisticsTable.size(2))), 2)
    statistics = table.rows[0]
    for members in vars(statistics).values():
        for number in members.values() if isinstance(members, dict) else [members]:
            if isinstance(number, Histogram):
                for bound in (*number.bounds, number.bounds[-1] + 1):
                    number.observe(bound)
                assert number.counts == [1.0] * (len(number.bounds) + 1)
            elif hasattr(number, "add"):
                assert number.value == 0
                number.add()
                assert number.value == 1
    assert table.rows[1].client_count == observed(table.rows[1].price_age) == 0


def test_a_table_needs_room_for_every_row() -> None:
    with pytest.raises(ValueError, match="numbers are needed"):
        StatisticsTable(array("d", [0.0]), 1)


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = row().batches
    for value in (1, 2, 3, 5, 6, 1000):
        histogram.observe(value, 2)
    assert counts(histogram) == {1: 2, 2: 2, 5: 4, 10: 2, float("inf"): 2}
    assert (histogram.sum, observed(histogram)) == (2 * 1017, 12)


def test_reasons_are_a_closed_set() -> None:
    assert CutReason.of("flooding") is CutReason.FLOODING
    assert CutReason.of("any other text") is CutReason.OTHER


def _connect(numbers: object, worker: int, limit: int, wanted: int, begin: object, served: object) -> None:
    """A process that takes clients in as the hub does, until the table is full."""
    statistics = StatisticsTable(numbers, 2).row(worker)  # type: ignore[arg-type]
    begin.wait()  # type: ignore[attr-defined]
    taken = 0
    for _ in range(wanted):
        statistics.enter(Transport.SSE)
        if statistics.table.total_clients > limit:
            statistics.leave(Transport.SSE)
        else:
            taken += 1
    served.put(taken)  # type: ignore[attr-defined]


def test_two_processes_together_stay_within_the_limit() -> None:
    context = multiprocessing.get_context("spawn")
    numbers = context.RawArray("d", StatisticsTable.size(2))
    begin, served = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_connect, args=(numbers, number, 500, 400, begin, served)) for number in range(2)]
    for process in processes:
        process.start()
    begin.wait(60)
    taken = [served.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert sum(taken) == StatisticsTable(numbers, 2).total_clients <= 500
    assert sum(taken) >= 400


def test_what_a_process_uses_is_taken_in() -> None:
    statistics = row()
    statistics.take_process()
    first = statistics.cpu.value
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    statistics.take_process()
    assert statistics.cpu.value >= first + 0.02
    assert statistics.cpu.value <= time.process_time()
    assert statistics.memory.value > 1_000_000


# ------------------------------------------------------------------ a hub at work


async def test_clients_and_their_pairs_are_counted_as_they_come_change_and_go(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        statistics = on.hub.statistics
        first, second = on.listen("EUR_USD", "USD_JPY"), on.listen("EUR_USD")
        assert (statistics.client_count, statistics.subscriptions.value) == (2, 3)
        on.hub.follow(first.client, interest("USD_JPY", "GBP_USD", "EUR_USD"), snapshot=False)
        on.hub.follow(second.client, interest(), snapshot=False)
        assert statistics.subscriptions.value == 3
        first.client.change_transport("websocket")
        clients = {name: number.value for name, number in statistics.clients.items()}
        assert clients == {"websocket": 1, "polling": 0, "sse": 1, "plain": 0}
        for client in (first.client, second.client, second.client):
            on.hub.disconnect(client)
        assert (statistics.client_count, statistics.subscriptions.value) == (0, 0)
        assert sum(number.value for number in statistics.clients.values()) == 0
        assert statistics.connections["sse"].value == 2


async def test_the_limit_is_that_of_all_processes_together(valkey_url: str) -> None:
    table = StatisticsTable(array("d", bytes(8 * StatisticsTable.size(2))), 2)
    async with stage(valkey_url, max_clients=2) as on:
        on.hub.statistics = table.row(0)
        table.row(1).enter(Transport.WEBSOCKET)
        on.listen("EUR_USD")
        with pytest.raises(TooManyClients):
            on.listen("EUR_USD")
        assert table.total_clients == 2
        assert table.rows[0].refused["full"].value == 1
        table.row(1)
        on.listen("EUR_USD")
        assert (table.total_clients, len(on.hub.clients)) == (2, 2)


async def test_a_client_that_comes_while_the_hub_stops_is_counted_as_refused(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        on.hub.stop()
        with pytest.raises(Exception, match="stopping"):
            on.listen("EUR_USD")
        assert on.hub.statistics.refused["not ready"].value == 1
        assert on.hub.statistics.client_count == 0


async def test_what_is_read_and_delivered_is_counted_for_each_client(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        statistics = on.hub.statistics
        for _ in range(3):
            on.listen("EUR_USD")
        fetching = on.listen("EUR_USD", direct=False)
        began = time.time()
        await on.publish(*(tick("EUR_USD") for _ in range(4)), tick("USD_JPY", "150"))
        assert (statistics.read.value, statistics.batches.sum) == (5, 5)
        assert statistics.deliveries["sse"].value == 12
        assert observed(statistics.latency["sse"]) == 12
        assert 0 <= statistics.latency["sse"].sum <= 12 * (time.time() - began + 0.002)
        assert observed(statistics.price_age) == observed(statistics.batches) == 1
        fetching.fetch()
        fetching.fetch()
        assert statistics.deliveries["sse"].value == observed(statistics.latency["sse"]) == 16


async def test_every_byte_that_goes_to_a_client_is_counted(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        await on.publish(tick("EUR_USD"))
        clients = [on.listen("EUR_USD", snapshot=True) for _ in range(2)]
        clients += [on.listen("EUR_USD", direct=False), slow := on.listen("EUR_USD")]
        slow.room = 0
        await on.publish(*(tick("EUR_USD") for _ in range(4)))
        await on.publish(*(tick("EUR_USD") for _ in range(4)))
        slow.read()
        clients[0].client.send_message("pong", b"{}")
        clients[2].fetch()
        assert all(client.received for client in clients)
        assert on.hub.statistics.sent.value == sum(len(piece) for client in clients for piece in client.received)


async def test_a_loop_that_is_held_up_is_seen_to_be_late(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        lag = on.hub.statistics.loop_lag

        def held_up() -> bool:
            time.sleep(0.2)  # blocks the loop, and so the housekeeping
            return lag.value > 0.05

        await wait_until(held_up, "the housekeeping was late")
        await wait_until(lambda: lag.value < 0.05, "the housekeeping is on time again")


async def test_a_late_event_is_a_long_latency_of_each_of_its_deliveries(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        on.listen("EUR_USD")
        on.listen("EUR_USD")
        on.hub.dispatch([price_event(1), price_event(2)])  # written long ago
        assert counts(on.hub.statistics.latency["sse"]) == {float("inf"): 4}
        assert counts(on.hub.statistics.price_age) == {float("inf"): 1}
        assert on.hub.statistics.log_lag.value > 86_400


async def test_the_age_of_a_price_is_that_of_its_market_time(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        on.listen("EUR_USD")
        old = utc_now() - timedelta(days=400)
        one = Decimal("1.1")
        await on.publish(price_update(Quote(CurrencyPair.parse("EUR_USD"), one, one, old, "replay"), utc_now()), alert())
        assert counts(on.hub.statistics.price_age) == {float("inf"): 1}
        assert counts(on.hub.statistics.latency["sse"]).keys().isdisjoint({float("inf")})


async def test_snapshots_and_replays_are_delivered_and_not_timed(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        ids = await on.publish(*(tick("EUR_USD") for _ in range(3)))
        on.listen("EUR_USD", snapshot=True)
        resumed = await on.resume(ids[0], "EUR_USD")
        fetching = await on.resume(ids[0], "EUR_USD", direct=False)
        await wait_until(lambda: len(resumed.ids) == 2 and fetching.client.has_waiting_events, "both have been replayed to")
        fetching.fetch()
        assert on.hub.statistics.deliveries["sse"].value == 1 + 2 + 2
        assert observed(on.hub.statistics.latency["sse"]) == 0
        assert on.hub.statistics.resumes["ring"].value == 2


async def test_prices_held_back_at_a_clients_wish_are_delivered_and_not_timed(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        listener = Listener(on.hub)
        on.hub.connect(listener.client)
        on.hub.follow(listener.client, interest("EUR_USD", max_hz=20), snapshot=False)
        await on.publish(tick(), tick())
        await wait_until(lambda: on.hub.statistics.deliveries["sse"].value == 2, "the price held back is sent")
        assert observed(on.hub.statistics.latency["sse"]) == 1


async def test_lagging_clients_are_seen_with_what_waits_for_them(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        statistics = on.hub.statistics
        slow = on.listen("EUR_USD")
        on.listen("EUR_USD")
        slow.room = 0
        await on.publish(tick())
        await on.publish(*(tick() for _ in range(4)))
        assert statistics.conflated.value == 3
        await wait_until(lambda: statistics.lagging.value == 1, "the housekeeping has seen the slow client")
        assert statistics.buffered.value == slow.client.waiting_bytes > 100
        slow.read()
        await wait_until(lambda: statistics.lagging.value == 0, "the housekeeping has seen that it no longer lags")
        assert statistics.buffered.value == 0
        assert statistics.deliveries["sse"].value == 5 + 1 + 1


async def test_a_client_that_is_cut_off_is_counted_once_by_the_reason(valkey_url: str) -> None:
    async with stage(valkey_url, bounds=Bounds(alert_lane_bytes=1024)) as on:
        slow, flooding, silent = on.listen("EUR_USD"), on.listen("EUR_USD"), on.listen("EUR_USD")
        slow.room = 0
        await on.publish(tick())
        for _ in range(20):
            slow.client.send_message("pong", b"x" * 100)
        assert slow.cut == CutReason.LANE_FULL
        on.hub.cut(flooding.client, "flooding")
        silent.client.cut("ping timeout")
        silent.client.cut("ping timeout")
        counted = {reason: number.value for reason, number in on.hub.statistics.cut_off.items() if number.value}
        assert counted == {"alert lane overflowed": 1, "flooding": 1, "ping timeout": 1}
        assert on.hub.statistics.client_count == 0


async def test_what_became_of_cursors_is_counted(valkey_url: str) -> None:
    async with stage(valkey_url, ring_size=2) as on:
        ids = await on.publish(*(tick() for _ in range(5)))
        for cursor in (ids[-1], ids[0], "1-1"):
            await on.hub.holds(cursor)
        with pytest.raises(InvalidCursor):
            await on.hub.holds("nonsense")
        await on.hub.find(ids[0])
        assert {name: number.value for name, number in on.hub.statistics.resumes.items()} == dict.fromkeys(
            ("ring", "log", "lost", "refused"), 1
        )


async def test_the_probe_measures_how_far_behind_the_log_the_hub_is(valkey_url: str) -> None:
    async with stage(valkey_url, heartbeat_interval=0.05) as on:
        on.hub.statistics.log_behind.set(7)
        await wait_until(lambda: on.hub.statistics.log_behind.value == 0, "a heartbeat came back")


async def test_the_feed_says_what_it_drops(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        await on.publish(heartbeat(FeedHeartbeat(node="a", source="kraken", simulated=False, sources={}, dropped={"crossed": 3})))
        assert on.hub.signs.feed is not None
        assert on.hub.signs.feed.dropped == {"crossed": 3}
        await on.publish(heartbeat(FeedHeartbeat(node="a", source="kraken", simulated=False)))
        assert on.hub.signs.feed.dropped == {}
        malformed = {"node": "a", "role": "feed", "source": "ecb", "simulated": False, "dropped": [1]}
        await on.publish(draft(EventType.HEARTBEAT, {**malformed, "timestamp": rfc3339(utc_now())}))
        assert on.hub.signs.feed.source == "kraken", "a malformed heartbeat changes nothing"
        assert on.hub.signs.malformed == 1


async def test_the_end_of_a_hub_is_one_line_of_what_it_did(valkey_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "app.realtime.hub.hub")
    async with stage(valkey_url) as on:
        flooding = on.listen("EUR_USD")
        await on.publish(tick())
        on.hub.cut(flooding.client, "flooding")
    [line] = [record.getMessage() for record in caplog.records if "stopped" in record.getMessage()]
    assert line == "the hub has stopped: 1 clients, 1 events delivered, 0 prices conflated, 0 gaps, 1 cut off (flooding)"


async def test_a_polling_client_that_changes_over_is_counted_where_it_is(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        written: list[bytes] = []
        way = Fetching(lambda: None)
        client = Subscription("a", "polling", ENGINE_PACKETS, on.hub.bounds, way, cut=print, finish=lambda: None)
        on.hub.connect(client)
        on.hub.follow(client, interest("EUR_USD"), snapshot=False)
        await on.publish(tick())
        on.hub.become_direct(client, WEBSOCKET_FRAMES, lambda frame: frame, ListTransport(written), "websocket")
        await on.publish(tick())
        deliveries = {name: number.value for name, number in on.hub.statistics.deliveries.items()}
        assert deliveries == {"websocket": 2, "polling": 0, "sse": 0, "plain": 0}
        assert {name: number.value for name, number in on.hub.statistics.clients.items()} == {
            "websocket": 1, "polling": 0, "sse": 0, "plain": 0,
        }  # fmt: skip
        assert len(written) == 2
