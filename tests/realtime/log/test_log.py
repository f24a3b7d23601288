import asyncio
import itertools
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from app.errors import ConfigurationError, LogUnavailable
from app.realtime.contract.event import ORIGIN, Draft, cursor_order
from app.realtime.log.log import EventLog, answers, ask, open_redis, shut_down
from tests.building import alert_draft, price_draft, ready_draft
from tests.private_valkey import PrivateValkey


def seconds(entry_id: str) -> float:
    return cursor_order(entry_id)[0] / 1000


# ----------------------------------------------------------------- publishing


async def test_an_entry_has_the_sequence_number_the_type_and_the_payload(redis: Redis, log: EventLog) -> None:
    drafts = [price_draft(), ready_draft()]
    ids = await log.publisher().publish(drafts)
    assert await redis.xrange("fx:events") == [
        (ids[0].encode(), {b"n": b"1", b"t": b"price_update", b"d": drafts[0].data}),
        (ids[1].encode(), {b"n": b"2", b"t": b"data_ready", b"d": drafts[1].data}),
    ]
    assert await redis.get("fx:seq") == b"2"


async def test_ids_rise_and_come_from_the_clock(redis: Redis, log: EventLog) -> None:
    now = (await redis.time())[0]
    publisher = log.publisher()
    ids = [id for _ in range(20) for id in await publisher.publish([ready_draft()] * 3)]
    assert [cursor_order(id) for id in ids] == sorted({cursor_order(id) for id in ids})
    assert all(now <= seconds(id) < now + 60 for id in ids)


async def test_nothing_to_publish_writes_nothing(redis: Redis, log: EventLog) -> None:
    assert await log.publisher().publish([]) == []
    assert await redis.dbsize() == 0


async def test_publishers_at_the_same_time_do_not_mix_their_batches(log: EventLog) -> None:
    async def publish(name: int) -> list[list[str]]:
        publisher = log.publisher()
        return [await publisher.publish([ready_draft(name * 1000 + batch)] * (1 + batch % 5)) for batch in range(20)]

    answered = await asyncio.gather(*(publish(name) for name in range(8)))
    events = await log.reader().read(10_000)
    assert [event.seq for event in events] == list(range(1, 8 * 60 + 1))
    place = {event.id: event.seq for event in events}
    for name, batches in enumerate(answered):
        for batch, ids in enumerate(batches):
            places = [place[id] for id in ids]
            assert places == list(range(places[0], places[0] + 1 + batch % 5))
            assert orjson.loads(events[places[0] - 1].bare)["count"] == name * 1000 + batch
        firsts = [place[ids[0]] for ids in batches]
        assert firsts == sorted(firsts)


async def test_one_publisher_asked_by_many_writes_their_batches_one_after_the_other(log: EventLog) -> None:
    publisher = log.publisher()
    answered = await asyncio.gather(*(publisher.publish([ready_draft(number)] * 2) for number in range(30)))
    events = await log.reader().read()
    assert [orjson.loads(event.bare)["count"] for event in events] == [n for n in range(30) for _ in range(2)]
    assert [event.id for event in events] == list(itertools.chain.from_iterable(answered))


async def test_the_same_batch_again_is_written_once_and_has_the_same_ids(redis: Redis, log: EventLog) -> None:
    drafts = [price_draft(), alert_draft(), ready_draft()]
    ids = await log.append("one", 1, drafts)
    assert await log.append("one", 1, drafts) == ids
    assert await redis.xlen("fx:events") == 3
    assert await redis.get("fx:seq") == b"3"


async def test_a_batch_that_comes_after_a_later_one_of_its_publisher_is_not_written_again(log: EventLog) -> None:
    await log.append("one", 9, [ready_draft(9)])
    await log.append("one", 10, [ready_draft(10)])
    assert await log.append("one", 9, [ready_draft(9)]) == []
    assert [orjson.loads(event.bare)["count"] for event in await log.reader().read()] == [9, 10]


async def test_the_next_batch_and_another_publisher_are_written(log: EventLog, redis: Redis) -> None:
    first = await log.append("one", 1, [ready_draft()])
    second = await log.append("one", 2, [ready_draft()])
    third = await log.append("another", 1, [ready_draft()])
    assert len({*first, *second, *third}) == 3
    assert await redis.xlen("fx:events") == 3


async def test_what_a_publisher_wrote_last_is_not_remembered_for_ever(redis: Redis, log: EventLog) -> None:
    await log.publisher().publish([ready_draft()])
    [key] = await redis.keys("fx:publisher:*")
    assert 3500 < await redis.ttl(key) <= 3600


async def test_the_newest_price_of_a_pair_lies_under_its_key_as_clients_see_it(redis: Redis) -> None:
    log = EventLog(redis, price_ttl=120)
    drafts = [price_draft("EUR_USD", "1.09"), alert_draft(), price_draft("USD_JPY", "156.1", "156.2")]
    ids = await log.publisher().publish([*drafts, price_draft("EUR_USD", "1.08")])
    events = await log.reader().read()
    assert await redis.get("price:EUR_USD") == events[3].payload
    assert await redis.get("price:USD_JPY") == events[2].payload
    assert orjson.loads(events[3].payload)["id"] == ids[3]
    assert sorted(await redis.keys("price:*")) == [b"price:EUR_USD", b"price:USD_JPY"]
    assert 110 < await redis.ttl("price:EUR_USD") <= 120


@given(st.lists(st.text(max_size=20).map(lambda text: Draft("news", orjson.dumps({"a": text}))), min_size=1, max_size=9))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_payload_comes_back_as_it_went_in(valkey_url: str, drafts: list[Draft]) -> None:
    async with open_redis(valkey_url) as redis:
        await redis.flushall()
        log = EventLog(redis)
        ids = await log.publisher().publish(drafts)
        events = await log.reader().read()
    assert [(event.id, event.type, event.bare) for event in events] == [
        (id, draft.type, draft.data) for id, draft in zip(ids, drafts, strict=True)
    ]


async def test_the_log_retains_about_the_configured_number_of_events(redis: Redis) -> None:
    log = EventLog(redis, retained=1000)
    publisher = log.publisher()
    for _ in range(10):
        await publisher.publish([ready_draft()] * 250)
    assert 1000 <= await redis.xlen("fx:events") <= 1000 + 100  # Redis trims whole nodes of a hundred
    oldest, *_ = await log.read(ORIGIN, 1)
    assert int(oldest[1][b"n"]) == 2500 - await redis.xlen("fx:events") + 1


# ------------------------------------------------------------------- questions


async def test_an_empty_log_ends_and_begins_at_the_origin(log: EventLog) -> None:
    assert await log.tail() == ORIGIN
    assert await log.starts_at_the_beginning()
    assert await log.sequence_of("1764000000000-0") is None
    assert await log.reader().read() == []


async def test_it_knows_its_newest_entry_and_the_number_of_each(log: EventLog) -> None:
    ids = await log.publisher().publish([ready_draft()] * 3)
    assert await log.tail() == ids[2]
    assert [await log.sequence_of(id) for id in ids] == [1, 2, 3]
    ms, number = cursor_order(ids[2])
    assert await log.sequence_of(f"{ms}-{number + 1}") is None
    assert await log.starts_at_the_beginning()


async def test_a_trimmed_log_does_not_start_at_the_beginning(redis: Redis, log: EventLog) -> None:
    ids = await log.publisher().publish([ready_draft()] * 3)
    await redis.xtrim("fx:events", maxlen=2, approximate=False)
    assert not await log.starts_at_the_beginning()
    assert await log.sequence_of(ids[0]) is None
    assert await log.sequence_of(ids[1]) == 2


async def test_a_log_of_which_nothing_is_left_does_not_start_at_the_beginning(redis: Redis, log: EventLog) -> None:
    await log.publisher().publish([ready_draft()] * 3)
    await redis.xtrim("fx:events", maxlen=0, approximate=False)
    assert not await log.starts_at_the_beginning()
    await redis.delete("fx:events")
    assert not await log.starts_at_the_beginning()


@pytest.mark.parametrize("fields", [{"a": "b"}, {"n": "many"}, {"n": ""}, {"n": "-1"}])
async def test_an_entry_of_another_program_has_no_number(redis: Redis, log: EventLog, fields: dict[Any, Any]) -> None:
    await redis.xadd("fx:events", fields, id="5-1")
    assert await log.sequence_of("5-1") is None
    assert not await log.starts_at_the_beginning()
    assert await log.tail() == "5-1"


# ------------------------------------------------------------------ connection


async def test_a_server_that_runs_answers_and_one_that_does_not_is_unavailable(valkey: PrivateValkey) -> None:
    assert await answers(valkey.url)
    await shut_down(valkey.url)
    assert not await answers(valkey.url)
    with pytest.raises(LogUnavailable, match=r"^Redis does not answer: ConnectionError$"):
        await shut_down(valkey.url)
    valkey.stop()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "redis://:secret@localhost:port/0",
        "redis://:secret@localhost:65536/0",
        "redis://user:se/cret@localhost:6379/0",
        "redis://:secret@[::1/0",
        "redis://:secret@localhost/0?socket_timeout=long",
        "redis://:secret@localhost/0?no_such_option=1",
        "rediss://:secret@localhost/0?ssl_cert_reqs=secret",
    ],
)
async def test_what_is_no_redis_url_is_a_configuration_error_without_its_secret(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        async with open_redis(url):
            raise AssertionError("this is no Redis")
    assert str(caught.value).startswith("REDIS_URL: not a URL of Redis")
    assert not any(word in str(caught.value) for word in ("secret", "cret", "port/", "65536"))
    assert caught.value.__suppress_context__


async def test_after_reconnecting_the_connections_are_others(redis: Redis, log: EventLog) -> None:
    before = await redis.client_id()
    assert await redis.client_id() == before
    await log.reconnect()
    assert await redis.client_id() != before


# ---------------------------------------------------------------- cancellation


async def test_a_cancellation_that_the_client_swallowed_still_cancels() -> None:
    asked = asyncio.Event()

    async def forgetful() -> str:
        asked.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "answer"

    asking = asyncio.create_task(ask(forgetful()))
    await asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_cancellation_that_comes_as_the_answer_does_still_cancels() -> None:
    async def late() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "answer"

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(ask(late()))


async def test_redis_can_be_asked_while_a_cancelled_task_cleans_up() -> None:
    cancelled = asyncio.Event()

    async def late() -> str:
        return "answer"

    async def cleaning_up() -> object:
        with suppress(asyncio.CancelledError):
            cancelled.set()
            await asyncio.Event().wait()
        return await ask(late())

    task = asyncio.create_task(cleaning_up())
    await cancelled.wait()
    task.cancel()
    assert await task == "answer"
