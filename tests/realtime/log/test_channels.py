import asyncio

import pytest
from redis.asyncio import Redis

from app.errors import LogUnavailable
from app.realtime.log.channels import Channels, open_channels
from app.realtime.log.log import open_redis
from tests.private_valkey import PrivateValkey
from tests.waiting import wait_until


async def heard(redis: Redis, channel: str) -> int:
    [(_, count)] = await redis.pubsub_numsub(channel)
    return int(count)


async def next_message(channels: Channels) -> tuple[str, bytes]:
    """The next message, however often none came for a second."""
    while (message := await channels.receive()) is None:
        pass
    return message


async def test_messages_of_all_channels_come_in_order(redis: Redis) -> None:
    async with open_channels(redis, ["prices", "alerts"]) as channels:
        for number in range(20):
            await redis.publish(("prices", "alerts", "others")[number % 3], str(number))
        received = [await next_message(channels) for _ in range(14)]
    assert received == [(("prices", "alerts")[n % 3], str(n).encode()) for n in range(20) if n % 3 < 2]


async def test_bodies_are_bytes_of_any_kind(redis: Redis) -> None:
    async with open_channels(redis, ["prices"]) as channels:
        for body in (b"", b"\xff\0\r\n", b"x" * 1_000_000):
            await redis.publish("prices", body)
            assert await next_message(channels) == ("prices", body)


async def test_where_no_message_comes_for_a_second_there_is_none(redis: Redis) -> None:
    async with open_channels(redis, ["prices"]) as channels:
        while await heard(redis, "prices") == 0:
            await channels.receive()
        assert await channels.receive() is None
        assert await channels.receive() is None


async def test_after_leaving_there_is_no_subscription(redis: Redis) -> None:
    async with open_channels(redis, ["prices"]):
        assert await heard(redis, "prices") == 1
    await wait_until(lambda: is_silent(redis), "the subscription has ended")


async def test_a_fault_inside_ends_the_subscription_and_stays_what_it_was(redis: Redis) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_channels(redis, ["prices"]):
            raise ZeroDivisionError
    await wait_until(lambda: is_silent(redis), "the subscription has ended")


async def is_silent(redis: Redis) -> bool:
    return await heard(redis, "prices") == 0


async def test_while_valkey_is_stopped_nothing_can_be_subscribed_to(valkey: PrivateValkey) -> None:
    valkey.stop()
    async with open_redis(valkey.url) as redis:
        with pytest.raises(LogUnavailable, match="Redis does not answer: ConnectionError"):
            async with open_channels(redis, ["prices"]):
                raise AssertionError("there is no server to subscribe at")


@pytest.mark.parametrize("way", [PrivateValkey.stop, PrivateValkey.kill])
async def test_waiting_for_a_message_fails_when_valkey_goes_away(valkey: PrivateValkey, way: object) -> None:
    assert callable(way)
    async with open_redis(valkey.url) as redis, open_channels(redis, ["prices"]) as channels:
        await redis.publish("prices", "1")
        assert await next_message(channels) == ("prices", b"1")
        waiting = asyncio.create_task(next_message(channels))
        way(valkey)
        with pytest.raises(LogUnavailable, match="Redis does not answer: ConnectionError"):
            await waiting


async def test_after_a_restart_channels_are_heard_again(valkey: PrivateValkey) -> None:
    async with open_redis(valkey.url) as redis:
        async with open_channels(redis, ["prices"]):
            pass
        valkey.kill()
        valkey.start()
        async with open_channels(redis, ["prices"]) as channels:
            await redis.publish("prices", "2")
            assert await next_message(channels) == ("prices", b"2")
