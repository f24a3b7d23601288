"""``subscribe`` and ``unsubscribe``: what a client hears after them, and from where on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app.market.pair import DEFAULT_PAIRS
from app.realtime.contract.event import ORIGIN, Draft, cursor_order
from app.realtime.log.log import EventLog, Publisher, open_redis
from tests.gateways import RunningGateway, gateway
from tests.private_valkey import PrivateValkey
from tests.realtime.listening import alert, data_ready, tick
from tests.realtime.socket_clients import (
    POLLING,
    UPGRADE,
    WEBSOCKET,
    StockClient,
    event_of,
    raw_polling,
    raw_socket,
    stock_client,
)
from tests.realtime.watching import watched
from tests.waiting import wait_until

FUTURE = "9000000000000-0"


class On(NamedTuple):
    """A gateway, the log behind it and a stock client."""

    running: RunningGateway
    redis: Redis
    publisher: Publisher
    client: StockClient

    async def publish(self, *drafts: Draft) -> list[str]:
        """Publish, and return when the hub has handed the events out."""
        ids = await self.publisher.publish(drafts)
        await wait_until(lambda: cursor_order(self.running.hub.cursor) >= cursor_order(ids[-1]), "the hub has the events")
        return ids

    async def subscribe(self, pairs: object, **more: object) -> Any:
        """Subscribe, and give the confirmation."""
        return await self.client.ask("subscribe", "subscription_confirmed", {"pairs": pairs, **more})

    async def heard(self, id: str) -> list[str]:
        """What the client has heard, once it has heard the event with this id."""
        await wait_until(lambda: self.client.ids[-1:] == [id], f"the client has {id} after {self.client.received[-3:]}")
        return self.client.ids


@pytest_asyncio.fixture(params=[WEBSOCKET, POLLING, UPGRADE], ids=["websocket", "polling", "upgrade"])
async def on(request: pytest.FixtureRequest, valkey_url: str, tmp_path: Path) -> AsyncIterator[On]:
    """A gateway and a client that is connected by one of the transports."""
    async with (
        gateway(valkey_url, tmp_path) as running,
        open_redis(valkey_url) as redis,
        stock_client(running.url, request.param) as client,
    ):
        yield On(running, redis, EventLog(redis).publisher(), client)


async def test_every_accepted_spelling_is_answered_with_the_one_name(on: On) -> None:
    confirmed = await on.subscribe(["EUR/USD", "usd_jpy", "GBPUSD", "nzd/usd", "EUR_USD"])
    assert confirmed["pairs"] == ["EUR_USD", "GBP_USD", "USD_JPY", "NZD_USD"]
    assert confirmed["pair_count"] == 4


async def test_one_invalid_pair_and_nothing_changes(on: On) -> None:
    await on.subscribe(["EUR_USD"])
    for pairs in (["USD_JPY", "EUR"], ["USD_JPY", "EUR_EUR"], ["USD_JPY", "SEK_NOK"], ["USD_JPY", ""], ["USD_JPY", "EUR_USD "]):
        assert "Invalid instrument" in (await on.client.ask("subscribe", "subscription_error", {"pairs": pairs}))["error"]
        assert "Invalid instrument" in (await on.client.ask("unsubscribe", "unsubscription_error", {"pairs": pairs}))["error"]
    assert (await on.client.call("get_subscriptions"))["subscribed_pairs"] == ["EUR_USD"]


async def test_all_pairs_are_subscribed_to_with_a_star_or_by_their_names(on: On) -> None:
    confirmed = await on.subscribe("*")
    assert (confirmed["pairs"], confirmed["pair_count"]) == (list(DEFAULT_PAIRS), 20)
    assert confirmed["subscribed_to_all"] is True
    assert (await on.client.call("get_subscriptions"))["subscribed_to_all"] is True
    await on.client.call("unsubscribe", {"pairs": ["EUR_USD"]})
    assert (await on.client.call("get_subscriptions"))["subscribed_to_all"] is False
    assert (await on.subscribe(list(reversed(DEFAULT_PAIRS))))["subscribed_to_all"] is True


async def test_subscribing_adds_pairs_and_gives_the_snapshot_of_the_new_ones_alone(on: On) -> None:
    first, second = await on.publish(tick("EUR_USD"), tick("USD_JPY", "150"))
    assert (await on.subscribe(["EUR_USD"]))["pairs"] == ["EUR_USD"]
    assert await on.heard(first) == [first]
    assert (await on.subscribe(["USD_JPY", "EUR_USD"]))["pairs"] == ["EUR_USD", "USD_JPY"]
    assert await on.heard(second) == [first, second]
    await on.subscribe(["EUR_USD", "USD_JPY"])
    [third] = await on.publish(tick("EUR_USD"))
    assert await on.heard(third) == [first, second, third]
    assert len(on.client.bodies("price_update")) == 3


async def test_without_a_snapshot_only_what_happens_from_now_on_comes(on: On) -> None:
    await on.publish(tick("EUR_USD"))
    await on.subscribe(["EUR_USD"], snapshot=False)
    ids = await on.publish(tick("EUR_USD"), tick("EUR_USD"))
    assert await on.heard(ids[-1]) == ids
    assert len(on.client.bodies("price_update")) == 2


async def test_an_empty_list_is_a_subscription_to_news_for_everyone(on: On) -> None:
    assert (await on.subscribe([]))["pairs"] == []
    [_, id] = await on.publish(tick("EUR_USD"), data_ready())
    assert await on.heard(id) == [id]


async def test_after_leaving_a_pair_nothing_of_it_comes_and_coming_back_gives_a_snapshot(on: On) -> None:
    await on.subscribe(["EUR_USD", "USD_JPY"])
    left = await on.client.ask("unsubscribe", "unsubscription_confirmed", {"pairs": ["EUR_USD", "GBP_USD"]})
    assert (left["pairs"], left["message"]) == (["EUR_USD"], "Unsubscribed from 1 pairs")
    unheard, heard = await on.publish(tick("EUR_USD"), tick("USD_JPY", "150"))
    assert await on.heard(heard) == [heard]
    await on.subscribe(["EUR_USD"])
    await wait_until(lambda: len(on.client.bodies("price_update")) == 2, "the snapshot")
    assert on.client.bodies("price_update")[1]["instrument"] == "EUR_USD"
    assert on.client.ids == [heard], f"{unheard} is older than what the client has seen"


async def test_leaving_all_pairs_leaves_news_for_everyone(on: On) -> None:
    await on.subscribe("*")
    left = await on.client.ask("unsubscribe", "unsubscription_confirmed", {"pairs": "*"})
    assert (left["pairs"], left["message"]) == (list(DEFAULT_PAIRS), "Unsubscribed from 20 pairs")
    again = await on.client.ask("unsubscribe", "unsubscription_confirmed", {"pairs": "*"})
    assert (again["pairs"], again["message"]) == ([], "Unsubscribed from 0 pairs")
    [_, _, id] = await on.publish(tick("EUR_USD"), alert("EUR_USD"), data_ready())
    assert await on.heard(id) == [id]


async def test_a_client_resumes_from_any_id_with_all_that_it_missed_and_then_live(on: On) -> None:
    drafts = [(tick, alert)[n % 7 == 0](("EUR_USD", "USD_JPY")[n % 2]) for n in range(300)]
    ids = await on.publish(*drafts)
    mine = [id for n, id in enumerate(ids) if n % 2 == 0]
    confirmed = await on.subscribe(["EUR_USD"], since=mine[40])
    assert (confirmed["recovered"], confirmed["cursor"]) == (True, mine[40])
    live = await on.publish(tick("EUR_USD"), tick("USD_JPY"), tick("EUR_USD"))
    assert await on.heard(live[-1]) == [*mine[41:], live[0], live[2]]


async def test_a_cursor_has_the_names_that_it_has_on_streams(on: On) -> None:
    ids = await on.publish(*(tick("EUR_USD") for _ in range(4)))
    named = ({"last_event_id": ids[1]}, {"lastEventId": ids[1]}, {"since": ids[0], "lastEventId": ids[1], "last_event_id": ""})
    for names in named:
        confirmed = await on.subscribe(["EUR_USD"], **names)
        assert (confirmed["recovered"], confirmed["cursor"]) == (True, ids[1])
        await wait_until(lambda: len(on.client.bodies("price_update")) == 2, "what was missed")
        on.client.received.clear()
        await on.client.ask("unsubscribe", "unsubscription_confirmed", {"pairs": "*"})


@pytest.mark.parametrize("since", [FUTURE, "1-1"])
async def test_a_client_that_is_told_it_cannot_resume_gets_the_newest_prices_whatever_it_asked_for(on: On, since: str) -> None:
    ids = await on.publish(*(tick("EUR_USD", f"1.{n}") for n in range(1, 10)), tick("USD_JPY", "150"))
    confirmed = await on.subscribe("*", since=since, snapshot=False)
    assert (confirmed["recovered"], confirmed["cursor"]) == (False, ids[-1])
    assert await on.heard(ids[-1]) == ids[-2:]


async def test_a_second_snapshot_never_lets_the_ids_fall(on: On) -> None:
    ids = await on.publish(tick("EUR_USD"), tick("USD_JPY", "150"))
    await on.subscribe(["USD_JPY"])
    await on.subscribe(["EUR_USD"])
    await wait_until(lambda: len(on.client.bodies("price_update")) == 2, "both snapshots")
    assert on.client.ids == ids[1:]


async def test_a_cursor_that_was_trimmed_away_is_not_recovered(on: On, valkey_url: str, tmp_path: Path) -> None:
    ids = await on.publish(*(tick("EUR_USD") for _ in range(20)))
    await on.redis.xtrim("fx:events", maxlen=5, approximate=False)
    async with gateway(valkey_url, tmp_path) as later, stock_client(later.url) as client:
        for since, recovered in ((ids[-8], False), (ids[-4], True), (ORIGIN, False)):
            confirmed = await client.ask("subscribe", "subscription_confirmed", {"pairs": [], "since": since})
            assert confirmed["recovered"] is recovered, since


async def test_from_the_origin_a_client_gets_all_there_ever_was(on: On) -> None:
    ids = await on.publish(*(tick("EUR_USD") for _ in range(150)))
    assert (await on.subscribe(["EUR_USD"], since=ORIGIN))["recovered"] is True
    assert await on.heard(ids[-1]) == ids


async def test_max_hz_thins_prices_out_and_the_last_is_never_lost(on: On) -> None:
    await on.subscribe(["EUR_USD"], max_hz=5)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for n in range(1, 60):
        await on.publisher.publish([tick("EUR_USD", f"1.{n:02}")])
        await asyncio.sleep(0.01)
    [warned] = await on.publish(alert("EUR_USD"))
    await wait_until(lambda: on.client.bodies("price_update")[-1]["price"]["bid"] == "1.59000", "the last price")
    prices = on.client.bodies("price_update")
    assert 2 <= len(prices) <= 2 + 5 * (loop.time() - began)
    await wait_until(lambda: warned in on.client.ids, "the alert")


async def test_snapshot_and_live_prices_meet_without_a_gap_and_without_a_repeat(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_redis(valkey_url) as redis:
        publisher = EventLog(redis).publisher()
        ids = await publisher.publish([tick("EUR_USD")])

        async def publish() -> None:
            while not clients.done():
                ids.extend(await publisher.publish([tick("EUR_USD") for _ in range(len(ids) % 5 + 1)]))

        async def listen(number: int) -> list[str]:
            async with raw_socket(running.url, joined=True) as socket:
                await wait_until(lambda: len(ids) > 25 * number, "this client's moment has come")
                await socket.send('42["subscribe",{"pairs":["EUR_USD"]}]')
                assert event_of(await socket.read())[0] == "subscription_confirmed"
                return [event_of(await socket.read())[1]["id"] for _ in range(100)]

        clients = asyncio.gather(*map(listen, range(12)))
        await publish()
        places = set()
        for mine in await clients:
            places.add(place := ids.index(mine[0]))
            assert mine == ids[place : place + 100]
        assert len(places) > 6, "the clients came at different moments"


async def test_a_second_resume_has_to_wait_for_the_first(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_redis(valkey_url) as redis:
        ids = await EventLog(redis).publisher().publish([tick("EUR_USD") for _ in range(500)])
        await wait_until(lambda: running.hub.cursor == ids[-1], "the hub has the events")
        async with raw_polling(running.url, joined=True) as polling:
            resume = f'42["subscribe",{{"pairs":["EUR_USD"],"since":"{ids[0]}"}}]'
            await polling.send(resume)
            await polling.send('42["get_subscriptions"]', resume)
            events: list[tuple[str, Any]] = []
            while not events or events[-1][1].get("id") != ids[-1]:
                events += map(event_of, await polling.poll())
        assert [body["id"] for name, body in events if name == "price_update"] == ids[1:]
        answers = [(name, body.get("recovered"), body.get("error")) for name, body in events if name != "price_update"]
        assert answers == [
            ("subscription_confirmed", True, None),
            ("subscriptions_info", None, None),
            ("subscription_error", None, "A resume is still under way"),
        ]


async def test_of_two_resumes_at_once_one_is_told_to_wait(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, open_redis(valkey_url) as redis:
        ids = await EventLog(redis).publisher().publish([tick("EUR_USD") for _ in range(5000)])
        await wait_until(lambda: running.hub.cursor == ids[-1], "the hub has the events")
        async with raw_polling(running.url, joined=True) as polling:
            # So old that the ring does not hold it: both ask the log and wait for its answer.
            resumes = [f'42["subscribe",{{"pairs":["{pair}"],"since":"{ids[100]}"}}]' for pair in ("EUR_USD", "USD_JPY")]
            await asyncio.gather(*map(polling.send, resumes))
            answers = [event_of(packet)[0] for packet in await polling.poll() if "subscription" in packet]
        assert sorted(answers) == ["subscription_confirmed", "subscription_error"]


async def test_while_the_log_does_not_answer_nothing_is_recovered(valkey: PrivateValkey, tmp_path: Path) -> None:
    async with gateway(valkey.url, tmp_path) as running, stock_client(running.url) as client:
        async with open_redis(valkey.url) as redis:
            [id] = await EventLog(redis).publisher().publish([tick("EUR_USD")])
        await wait_until(lambda: running.hub.cursor == id, "the hub has the price")
        valkey.kill()
        confirmed = await client.ask("subscribe", "subscription_confirmed", {"pairs": ["EUR_USD"], "since": "1-1"})
        assert confirmed["recovered"] is False
        assert (await client.next("price_update"))["id"] == id
        assert (await client.call("get_server_stats"))["cache"]["redis"]["connected"] is False


async def test_who_leaves_while_the_log_is_asked_is_forgotten(
    valkey: PrivateValkey, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched(valkey.url, tmp_path, caplog) as on:
        async with raw_polling(on.url, joined=True) as polling:
            valkey.pause()
            asking = asyncio.create_task(polling.send('42["subscribe",{"pairs":["EUR_USD"],"since":"1-1"}]'))
            await wait_until(lambda: len(on.running.hub.log._redis.connection_pool._in_use_connections) > 1, "it is asked")
            await polling.send("1")
            await on.alone()
            valkey.resume()
            await asking
        await on.some_traffic()
