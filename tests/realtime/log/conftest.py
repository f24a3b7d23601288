"""A log of its own for each test, and a client of the Valkey that holds it."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from app.realtime.log.log import EventLog, open_redis


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    async with open_redis(valkey_url) as redis:
        yield redis


@pytest.fixture
def log(redis: Redis) -> EventLog:
    return EventLog(redis)
