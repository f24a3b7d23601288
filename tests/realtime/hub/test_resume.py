"""Resuming: everything missed, once, in order, then live; or the truth about why not."""

import asyncio
import random

import pytest

from app.realtime.contract.event import cursor_order
from app.realtime.log.log import EventLog
from tests.private_valkey import PrivateValkey
from tests.realtime.listening import Listener, alert, data_ready, interest, stage, tick
from tests.waiting import wait_until


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("ring_size", [4096, 16])
async def test_a_client_that_resumes_gets_what_it_missed_and_is_live(valkey_url: str, ring_size: int, direct: bool) -> None:
    async with stage(valkey_url, ring_size=ring_size) as on:
        ids = await on.publish(*(tick(bid=f"1.{n}") for n in range(1, 400)), data_ready(), tick("USD_JPY", "150"))
        listener = await on.resume(ids[99], "EUR_USD", direct=direct)
        await wait_until(lambda: _fetched(listener) == ids[100:-1], "what was missed")
        live = await on.publish(tick())
        assert _fetched(listener) == ids[100:-1] + live
        assert not listener.client.replaying


async def test_resuming_from_the_newest_event_brings_nothing_old(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        ids = await on.publish(tick(), tick())
        listener = await on.resume(ids[-1], "EUR_USD")
        live = await on.publish(tick())
        assert listener.ids == live


async def test_resuming_from_the_origin_brings_everything(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        listener = await on.resume("0-0", "EUR_USD")
        ids = await on.publish(tick(), tick())
        assert listener.ids == ids
        again = await on.resume("0-0", "EUR_USD")
        await wait_until(lambda: again.ids == ids, "everything")


async def test_the_origin_is_not_held_once_something_was_trimmed(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        await on.publish(tick(), tick(), tick())
        await on.log._redis.xtrim("fx:events", maxlen=1, approximate=False)
    async with stage(valkey_url) as on:
        assert await on.hub.holds("0-0") is None


async def test_a_full_client_is_replayed_to_only_as_fast_as_it_reads(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        ids = await on.publish(*(tick(bid=f"1.{n}") for n in range(1, 1000)))
        listener = await on.resume(ids[0], "EUR_USD", room=1000)
        await wait_until(lambda: listener.client.paused, "the connection is full")
        sent = len(listener.ids)
        assert sent < 200
        late = await on.publish(tick())
        assert len(listener.ids) == sent
        assert on.hub.position_of(listener.client) in ids
        while not listener.ids or listener.ids[-1] != late[-1]:
            listener.read(room=10_000)
            await asyncio.sleep(0)
        assert listener.ids == ids[1:] + late


async def test_a_client_may_leave_a_pair_while_it_is_replayed_to(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        ids = await on.publish(*(tick("EUR_USD" if n % 2 else "USD_JPY", f"1.{n}") for n in range(1, 600)))
        listener = await on.resume(ids[0], "EUR_USD", "USD_JPY", room=1000)
        await wait_until(lambda: listener.client.paused, "the connection is full")
        had = len(listener.events)
        on.hub.follow(listener.client, interest("USD_JPY"), snapshot=False)
        listener.read()
        await wait_until(lambda: not listener.client.replaying, "the replay ends")
        assert {body["instrument"] for _, _, body in listener.events[had:]} == {"USD_JPY"}
        await on.publish(tick("EUR_USD"))
        assert listener.events[-1][2]["instrument"] == "USD_JPY"


async def test_pairs_added_while_a_client_is_replayed_to_begin_with_their_price(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        await on.publish(tick("GBP_USD", "1.3"))
        ids = await on.publish(*(tick(bid=f"1.{n}") for n in range(1, 600)))
        listener = await on.resume(ids[0], "EUR_USD", room=1000)
        await wait_until(lambda: listener.client.paused, "the connection is full")
        listener.read()
        on.hub.follow(listener.client, interest("EUR_USD", "GBP_USD"))
        await wait_until(lambda: not listener.client.replaying, "the replay ends")
        pounds = [(id, body["price"]) for _, id, body in listener.events if body["instrument"] == "GBP_USD"]
        assert len(pounds) == 1
        assert pounds[0][0] is None
        live = await on.publish(tick("GBP_USD", "1.4"))
        assert listener.ids == ids[1:] + live


async def test_history_asked_for_beside_a_live_subscription_carries_no_ids(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        ids = await on.publish(tick(), tick("USD_JPY", "150"), alert("USD_JPY"), tick(), data_ready())
        listener = on.listen("EUR_USD")
        held = await on.hub.holds(ids[0])
        on.hub.follow(listener.client, interest("EUR_USD", "USD_JPY"), held=held)
        await wait_until(lambda: not listener.client.replaying, "the replay ends")
        assert [(type, id) for type, id, _ in listener.events] == [("price_update", None), ("volatility_alert", None)]
        live = await on.publish(tick("USD_JPY", "151"), tick())
        assert listener.ids == live


async def test_leaving_a_live_pair_while_history_of_another_comes(valkey_url: str) -> None:
    async with stage(valkey_url, ring_size=16) as on:
        ids = await on.publish(*(tick("USD_JPY", f"150.{n:03}") for n in range(1, 300)))
        listener = on.listen("EUR_USD")
        listener.room = 1000
        held = await on.hub.holds(ids[0])
        on.hub.follow(listener.client, interest("EUR_USD", "USD_JPY"), held=held)
        on.hub.follow(listener.client, interest("USD_JPY"), snapshot=False)
        await on.publish(tick("EUR_USD"))
        listener.read()
        await wait_until(lambda: not listener.client.replaying, "the replay ends")
        assert {body["instrument"] for _, _, body in listener.events} == {"USD_JPY"}


async def test_a_paced_client_resumes_with_its_alerts_and_a_snapshot(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        ids = await on.publish(tick(), tick(bid="1.2"), alert(), tick(bid="1.3"), alert(), tick(bid="1.4"))
        listener = Listener(on.hub)
        on.hub.connect(listener.client)
        on.hub.follow(listener.client, interest("EUR_USD", max_hz=1), held=await on.hub.holds(ids[0]))
        await wait_until(lambda: not listener.client.replaying, "the replay ends")
        assert [id for type, id, _ in listener.events if type == "volatility_alert"] == [ids[2], ids[4]]
        prices = [body["price"] for type, _, body in listener.events if type == "price_update"]
        assert [price["bid"] for price in prices] == ["1.40000"]  # type: ignore[index]


async def test_a_client_ahead_of_this_process_waits_for_it_and_gets_nothing_twice(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        await on.publish(tick())
        listener = Listener(on.hub)
        on.hub.connect(listener.client)
        ahead = await on.publisher.publish([tick(), tick()])
        held = await on.hub.holds(ahead[-1])
        on.hub.follow(listener.client, interest("EUR_USD"), held=held)
        live = await on.publish(tick())
        await wait_until(lambda: listener.ids == live, "only what is new")


async def test_what_was_trimmed_away_during_a_replay_is_a_gap_and_then_a_snapshot(valkey_url: str) -> None:
    async with stage(valkey_url, ring_size=16) as on:
        ids = await on.publish(*(tick(bid=f"1.{n}") for n in range(1, 500)), *(tick("USD_JPY", "150") for _ in range(100)))
        listener = await on.resume(ids[0], "EUR_USD", room=1000)
        await wait_until(lambda: listener.client.paused, "the connection is full")
        await on.log._redis.xtrim("fx:events", maxlen=50, approximate=False)
        listener.read()
        await wait_until(lambda: not listener.client.replaying, "the replay ends")
        types = [type for type, _, _ in listener.events]
        assert types.count("gap") == 1
        newest = listener.events[-1][2]
        assert newest["price"]["bid"] == "1.49900"  # type: ignore[index]
        assert "id" not in newest
        live = await on.publish(tick())
        assert listener.ids[-1:] == live


async def test_a_replay_survives_the_loss_of_redis(valkey: PrivateValkey) -> None:
    async with stage(valkey.url, ring_size=16) as on:
        ids = await on.publish(*(tick(bid=f"1.{n}") for n in range(1, 600)))
        listener = await on.resume(ids[0], "EUR_USD", room=1000)
        await wait_until(lambda: listener.client.paused, "the connection is full")
        valkey.kill()
        listener.read()
        await wait_until(lambda: on.hub.log_fault is not None, "the hub sees that Redis is gone")
        valkey.start()
        await wait_until(lambda: listener.ids == ids[1:], "everything that was missed")


async def test_a_client_that_goes_away_ends_its_replay(valkey_url: str) -> None:
    async with stage(valkey_url, ring_size=16) as on:
        ids = await on.publish(*(tick(bid=f"1.{n}") for n in range(1, 600)))
        listener = await on.resume(ids[0], "EUR_USD", room=1000)
        await wait_until(lambda: listener.client.paused, "the connection is full")
        on.hub.disconnect(listener.client)
        await wait_until(
            lambda: not any(task.get_name().startswith("replay") for task in asyncio.all_tasks()), "no replay is left"
        )


async def test_a_replay_that_fails_cuts_off_its_client_only(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(valkey_url, ring_size=16) as on:
        ids = await on.publish(*(tick(bid=f"1.{n}") for n in range(1, 100)))
        quick = on.listen("EUR_USD")

        def break_down(self: EventLog, cursor: str, seq: int) -> None:
            raise RuntimeError("no reader today")

        with monkeypatch.context() as patch:
            patch.setattr(EventLog, "reader", break_down)
            listener = await on.resume(ids[0], "EUR_USD")
            await wait_until(lambda: listener.cut is not None, "the client is cut off")
        assert listener.cut == "replay failed"
        assert "no reader today" in caplog.text
        live = await on.publish(tick())
        assert quick.ids == live


@pytest.mark.parametrize("seed", range(3))
async def test_clients_killed_at_random_and_resumed_have_every_event_exactly_once(valkey_url: str, seed: int) -> None:
    chance = random.Random(seed)
    async with stage(valkey_url, ring_size=64) as on:
        [first] = await on.publish(tick())
        expected: list[str] = []
        got: dict[int, list[str]] = {n: [] for n in range(6)}

        async def live_and_die(n: int) -> None:
            pairs = ("EUR_USD", "USD_JPY")
            while expected[-1:] != ["the end"]:
                cursor = got[n][-1] if got[n] else first
                listener = await on.resume(cursor, *pairs, direct=n % 2 == 0, room=chance.randrange(2000, 20_000))
                for _ in range(chance.randrange(1, 12)):
                    await asyncio.sleep(chance.random() * 0.01)
                    _fetched(listener)
                    if chance.random() < 0.7:
                        listener.read(room=chance.randrange(2000, 20_000))
                on.hub.disconnect(listener.client)
                got[n] += listener.ids

        async def publish() -> None:
            for n in range(150):
                drafts = [tick(chance.choice(("EUR_USD", "USD_JPY")), f"1.{n:03}") for _ in range(chance.randrange(1, 9))]
                drafts += [alert()] * (chance.random() < 0.2) + [data_ready()] * (chance.random() < 0.1)
                expected.extend(await on.publisher.publish(drafts))
                await asyncio.sleep(chance.random() * 0.01)
            expected.append("the end")

        await asyncio.gather(publish(), *(live_and_die(n) for n in got))
        expected.pop()
        await on.passed(expected[-1])
        for n, ids in got.items():
            last = await on.resume(ids[-1] if ids else first, "EUR_USD", "USD_JPY")
            await wait_until(lambda last=last: not last.client.replaying, "the rest")  # type: ignore[misc]
            _assert_once(ids + last.ids, expected, lossless=n % 2 == 1)


def _assert_once(ids: list[str], expected: list[str], *, lossless: bool) -> None:
    """Ids rise and none is invented; a client that never lagged has them all."""
    orders = [cursor_order(id) for id in ids]
    assert orders == sorted(set(orders))
    assert set(ids) <= set(expected)
    if lossless:
        assert ids == expected


def _fetched(listener: Listener) -> list[str]:
    if not listener.client.is_direct:
        listener.fetch()
    return listener.ids
