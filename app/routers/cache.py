"""``/api/v1/cache``: the state of Redis."""

from fastapi import APIRouter
from pydantic import Field

from app.errors import LogUnavailable
from app.market.clock import rfc3339, utc_now
from app.realtime.messages import Message, TimeText
from app.routers.gateway import CurrentGateway
from app.routers.problems import responses

router = APIRouter(prefix="/api/v1/cache", tags=["cache"])


class RedisAddress(Message):
    """Where Redis is."""

    host: str = Field(description="A host name, or the path of a unix socket", examples=["localhost"])
    port: int = Field(description="0 for a unix socket", examples=[6379])
    db: int
    connected: bool


class RedisMemory(Message):
    """The memory of Redis."""

    used_memory: str = Field(examples=["2.5MB"])
    maxmemory: str = Field(description="In bytes; 0 sets no bound", examples=["0"])


class RedisWork(Message):
    """The work of Redis."""

    total_commands_processed: int
    instantaneous_ops_per_sec: int


class RedisKeys(Message):
    """How many keys of each kind there are."""

    price_keys: int
    metric_keys: int
    correlation_keys: int
    best_pairs_keys: int
    total_keys: int


class CacheSections(Message):
    """Redis, section by section."""

    redis: RedisAddress
    memory: RedisMemory
    stats: RedisWork
    keys: RedisKeys


class CacheStats(Message):
    """The state of Redis."""

    timestamp: TimeText
    cache: CacheSections


@router.get("/stats", operation_id="get_cache_stats", summary="State of Redis", responses=responses(429, 503))
async def get_cache_stats(gateway: CurrentGateway) -> CacheStats:
    """Its address, memory, work, and the keys that people look at."""
    sections = await gateway.from_redis(gateway.cache.stats())
    if not sections["redis"]["connected"]:
        raise LogUnavailable("Redis does not answer")
    return CacheStats(timestamp=rfc3339(utc_now()), cache=CacheSections.model_validate(sections))
