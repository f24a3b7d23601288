"""``/api/v1/cache``: the state of Redis."""

from fastapi import APIRouter
from pydantic import Field

from app.errors import LogUnavailable
from app.http.gateway import CurrentGateway
from app.http.problems import responses
from app.market.clock import rfc3339, utc_now
from app.realtime.contract.messages import Message, TimeText

router = APIRouter(prefix="/api/v1/cache", tags=["cache"])


class RedisAddress(Message):
    """Where Redis is."""

    host: str = Field(description="A host name, or the path of a unix socket", examples=["localhost"])
    port: int = Field(description="0 for a unix socket", examples=[6379])
    db: int = Field(description="The number of the database", examples=[0])
    connected: bool = Field(description="True where Redis answers")


class RedisMemory(Message):
    """The memory of Redis."""

    used_memory: str = Field(description="What Redis holds, in words", examples=["2.50MB"])
    maxmemory: str = Field(description="In bytes; 0 sets no bound", examples=["0"])


class RedisWork(Message):
    """The work of Redis."""

    total_commands_processed: int = Field(description="Commands since Redis was started", examples=[1230])
    instantaneous_ops_per_sec: int = Field(description="Commands a second, just now", examples=[5])


class RedisKeys(Message):
    """How many keys of each kind there are."""

    price_keys: int = Field(description="Newest prices, one of each pair", examples=[20])
    metric_keys: int = Field(description="Measures, one of each pair", examples=[20])
    correlation_keys: int = Field(description="Correlation matrices", examples=[1])
    best_pairs_keys: int = Field(description="Lists of pairs for a purpose", examples=[1])
    total_keys: int = Field(description="All keys of the database, also others", examples=[44])


class CacheSections(Message):
    """Redis, section by section."""

    redis: RedisAddress = Field(description="Where it is")
    memory: RedisMemory = Field(description="How much it holds")
    stats: RedisWork = Field(description="What it does")
    keys: RedisKeys = Field(description="What it holds")


class CacheStats(Message):
    """The state of Redis."""

    timestamp: TimeText
    cache: CacheSections = Field(description="Redis, section by section")


@router.get("/stats", operation_id="get_cache_stats", summary="State of Redis", responses=responses(429, 503))
async def get_cache_stats(gateway: CurrentGateway) -> CacheStats:
    """Its address, memory, work, and the keys that people look at."""
    sections = await gateway.from_redis(gateway.cache.stats())
    if not sections["redis"]["connected"]:
        raise LogUnavailable("Redis does not answer")
    return CacheStats(timestamp=rfc3339(utc_now()), cache=CacheSections.model_validate(sections))
