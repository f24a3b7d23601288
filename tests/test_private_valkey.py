import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.private_valkey import PrivateValkey


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Redis]:
    redis = Redis.from_url(url, socket_timeout=5)
    try:
        yield redis
    finally:
        await redis.aclose()


async def test_it_is_empty_and_answers(valkey_url: str) -> None:
    async with client(valkey_url) as redis:
        assert await redis.dbsize() == 0
        assert (await redis.info("server"))["valkey_version"].startswith("9.")


@pytest.mark.parametrize("way", [PrivateValkey.kill, PrivateValkey.stop])
async def test_what_was_acknowledged_outlives_it(valkey: PrivateValkey, way: Callable[[PrivateValkey], None]) -> None:
    async with client(valkey.url) as redis:
        for number in range(100):
            await redis.xadd("stream", {"n": number})
        way(valkey)
        with pytest.raises(RedisConnectionError):
            await redis.ping()
        valkey.start()
        assert await redis.xlen("stream") == 100


async def test_a_paused_one_keeps_its_connections_and_answers_later(valkey: PrivateValkey) -> None:
    async with client(valkey.url) as redis:
        await redis.set("key", "value")
        valkey.pause()
        answer = asyncio.ensure_future(redis.get("key"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(answer), 0.1)
        valkey.resume()
        assert await answer == b"value"


def test_one_that_cannot_start_says_why(valkey: PrivateValkey) -> None:
    valkey.stop()
    (valkey._data / "appendonlydir" / "appendonly.aof.manifest").write_text("not a manifest")
    with pytest.raises(AssertionError, match=r"Valkey does not start:\n(.|\n)*manifest"):
        valkey.start()
