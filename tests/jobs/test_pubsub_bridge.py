import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from app.config import load_settings
from app.errors import LogUnavailable
from app.market.pair import DEFAULT_PAIRS, TrackedPairs
from app.realtime.contract.event import Event
from app.realtime.log.channels import open_channels
from app.realtime.log.log import EventLog, open_redis
from jobs.pubsub_bridge import TYPE_OF_CHANNEL, Bridge, run
from tests.building import ready_draft
from tests.private_valkey import PrivateValkey
from tests.project import PROJECT
from tests.waiting import wait_until

_PAIRS = TrackedPairs(DEFAULT_PAIRS)
_PRICE = b'{"instrument":"EUR_USD","price":{"bid":"1.0945","ask":"1.0947"},"source":"mine"}'
_READY = b'{"data_type":"prices","count":%d}'


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    async with open_redis(valkey_url) as redis:
        yield redis


@pytest.fixture
def log(redis: Redis) -> EventLog:
    return EventLog(redis)


@pytest.fixture
def bridge(log: EventLog) -> Bridge:
    return Bridge(log.publisher(), _PAIRS)


async def everything(log: EventLog) -> list[Event]:
    reader = log.reader()
    events: list[Event] = []
    while page := await reader.read():
        events += page
    return events


def body(event: Event) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads(event.bare)
    return read


async def hears(redis: Redis) -> bool:
    """True while the bridge hears all of its channels."""
    return all(count for _, count in await redis.pubsub_numsub(*TYPE_OF_CHANNEL))


@asynccontextmanager
async def at_work(url: str, **more: object) -> AsyncGenerator["asyncio.Task[None]"]:
    """A bridge of the settings, until leaving."""
    task = asyncio.create_task(run(load_settings(**more), url))
    try:
        yield task
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# --------------------------------------------------------------- what it carries


@pytest.mark.parametrize(
    ("channel", "message", "type", "pairs"),
    [
        ("price_updates", _PRICE, "price_update", ("EUR_USD",)),
        ("price_updates", b'{"instrument":"USD/JPY","bid":156.1,"ask":156.2}', "price_update", ("USD_JPY",)),
        (
            "volatility_alerts",
            b'{"instrument":"EUR_USD","volatility":0.0234,"threshold":0.02,"severity":"critical"}',
            "volatility_alert",
            ("EUR_USD",),
        ),
        (
            "correlation_alerts",
            b'{"pair1":"EUR_USD","pair2":"USD_JPY","correlation":-0.82,"threshold":0.7}',
            "correlation_alert",
            ("EUR_USD", "USD_JPY"),
        ),
        ("data_ready", b'{"data_type":"prices","count":20}', "data_ready", ()),
    ],
)
async def test_what_others_publish_becomes_an_event(
    bridge: Bridge, log: EventLog, channel: str, message: bytes, type: str, pairs: tuple[str, ...]
) -> None:
    await bridge.carry(channel, message)
    [event] = await everything(log)
    assert (event.type, event.pairs) == (type, pairs)
    assert "timestamp" in body(event)
    assert ("message" in body(event)) == (not event.is_price)
    assert bridge.carried == {channel: 1}
    assert bridge.refused.total() == 0


async def test_a_price_lies_under_its_key_as_well(bridge: Bridge, redis: Redis, log: EventLog) -> None:
    await bridge.carry("price_updates", _PRICE)
    [event] = await everything(log)
    assert await redis.get("price:EUR_USD") == event.payload
    assert body(event)["price"]["mid"] == "1.09460"
    assert body(event)["source"] == "mine"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"rubbish",
        b"\xff\xfe",
        b"{}",
        b"null",
        b"[1]",
        b'"text"',
        b'{"instrument":"EUR_USD"',
        b'{"instrument":"EUR_USD","bid":NaN,"ask":1}',
        b'{"instrument":"EUR_USD","bid":Infinity,"ask":1}',
        b'{"instrument":"EUR_USD","bid":1e999,"ask":1}',
        b'{"instrument":"EUR_USD","bid":1.2,"ask":1.1}',
        b'{"instrument":"XAU_USD","bid":1.1,"ask":1.2}',
        b'{"instrument":{"a":1},"bid":1.1,"ask":1.2}',
        b'{"instrument":"EUR_USD","bid":1,"ask":1,"time":"0001-01-01T00:00:00+23:00"}',
        b'{"instrument":"EUR_USD","bid":1,"ask":1,"source":"\xed\xa0\x80"}',
        b"[" * 60_000,
        b'{"instrument":"EUR_USD","bid":1,"ask":1,"more":"%s"}' % (b"x" * 65_536),
    ],
)
async def test_what_cannot_be_used_is_counted_and_stops_nothing(
    bridge: Bridge, log: EventLog, caplog: pytest.LogCaptureFixture, message: bytes
) -> None:
    await bridge.carry("price_updates", message)
    assert bridge.refused == {"price_updates": 1}
    assert bridge.carried.total() == 0
    [line] = [record.getMessage() for record in caplog.records if record.name == "jobs.pubsub_bridge"]
    assert line.startswith("a message on channel price_updates is invalid and skipped: ")
    assert len(line) < 300
    await bridge.carry("price_updates", _PRICE)
    assert len(await everything(log)) == 1


async def test_a_message_may_be_64_kib_long_and_no_longer(bridge: Bridge) -> None:
    empty = b'{"data_type":"prices","more":""}'
    for size in (65_536, 65_537):
        await bridge.carry("data_ready", empty.replace(b'""', b'"%s"' % (b"x" * (size - len(empty)))))
    assert (bridge.carried, bridge.refused) == ({"data_ready": 1}, {"data_ready": 1})


@given(st.lists(st.tuples(st.sampled_from(sorted(TYPE_OF_CHANNEL)), st.binary(max_size=60)), max_size=5))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_bytes_stop_the_bridge(valkey_url: str, messages: list[tuple[str, bytes]]) -> None:
    async with open_redis(valkey_url) as redis:
        bridge = Bridge(EventLog(redis).publisher(), _PAIRS)
        for channel, message in messages:
            await bridge.carry(channel, message)
    assert bridge.carried.total() + bridge.refused.total() == len(messages)


async def test_it_ends_where_the_log_cannot_be_written(valkey: PrivateValkey) -> None:
    async with open_redis(valkey.url) as redis, open_redis(valkey.url) as other:
        bridge = Bridge(EventLog(redis).publisher(), _PAIRS)
        async with open_channels(other, ["data_ready"]) as channels:
            running = asyncio.create_task(bridge.run(channels))
            await other.publish("data_ready", _READY % 1)
            await wait_until(lambda: bridge.carried.total() == 1, "the message is carried")
            valkey.kill()
            with pytest.raises(LogUnavailable):
                await running


# ---------------------------------------------------------------- as a process


async def test_it_carries_all_channels_in_order(valkey_url: str, redis: Redis, log: EventLog) -> None:
    async with at_work(valkey_url, tracked_pairs=("EUR_USD",)):
        await wait_until(lambda: hears(redis), "the bridge listens")
        for number in range(200):
            await redis.publish("data_ready", _READY % number)
        await redis.publish("price_updates", b'{"instrument":"USD_JPY","bid":156.1,"ask":156.2}')  # not tracked
        await redis.publish("price_updates", _PRICE)

        async def has_carried() -> bool:
            return (await log.sequence_of(await log.tail())) == 201

        await wait_until(has_carried, "everything is carried")
        events = await everything(log)
    assert [body(event)["count"] for event in events[:200]] == list(range(200))
    assert events[200].pairs == ("EUR_USD",)


async def test_it_keeps_as_many_events_as_the_settings_say(valkey_url: str, redis: Redis, log: EventLog) -> None:
    await log.publisher().publish([ready_draft()] * 1500)
    async with at_work(valkey_url, event_log_length=1000):
        await wait_until(lambda: hears(redis), "the bridge listens")
        await redis.publish("data_ready", _READY % 1)

        async def has_carried() -> bool:
            return await redis.get("fx:seq") == b"1501"

        await wait_until(has_carried, "the message is carried")
        assert 1000 <= await redis.xlen("fx:events") <= 1100


async def test_it_survives_that_valkey_is_killed(valkey: PrivateValkey, caplog: pytest.LogCaptureFixture) -> None:
    async with open_redis(valkey.url) as redis, at_work(valkey.url) as working:
        for number in range(1, 3):
            await wait_until(lambda: hears(redis), "the bridge listens")
            await redis.publish("data_ready", _READY % number)

            async def is_carried(number: int = number) -> bool:
                return await redis.get("fx:seq") == b"%d" % number

            await wait_until(is_carried, f"message {number} is carried")
            valkey.kill()
            await wait_until(lambda: caplog.text.count("the bridge waits: Redis does not answer") >= 1, "the bridge misses Redis")
            caplog.clear()
            valkey.start()
        assert not working.done()
        assert [body(event)["count"] for event in await everything(EventLog(redis))] == [1, 2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_program(valkey_url: str, redis: Redis, tmp_path: Path, number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "jobs.pubsub_bridge",
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "REDIS_URL": valkey_url},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await wait_until(lambda: hears(redis), "the bridge listens", timeout=30)
        await redis.publish("data_ready", b"rubbish")
        await redis.publish("data_ready", _READY % 1)

        async def is_carried() -> bool:
            return await redis.get("fx:seq") == b"1"

        await wait_until(is_carried, "the message is carried")
        process.send_signal(number)
        _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    assert b"a message on channel data_ready is invalid and skipped" in errors
    assert b"Traceback" not in errors
