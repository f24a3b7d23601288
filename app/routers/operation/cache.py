"""``/api/v1/cache``: the state of Redis."""

from fastapi import APIRouter
from pydantic import Field

from app.errors import LogUnavailable
from app.http.gateway import CurrentGateway
from app.http.refusals import NO_REDIS, RATE_LIMITED, refusals
from app.market.clock import rfc3339, utc_now
from app.realtime.contract.fields import Message, TimeText

router = APIRouter(prefix="/api/v1/cache", tags=["cache"])


class RedisAddress(Message):
    """The address of Redis."""

    host: str = Field(description="A host name, or the path of a Unix socket", examples=["localhost"])
    port: int = Field(description="The port; 0 for a Unix socket", examples=[6379])
    db: int = Field(description="The number of the database", examples=[0])
    connected: bool = Field(description="True if Redis answers")


class RedisMemory(Message):
    """Memory of Redis."""

    used_memory: str = Field(description="Memory in use, with its unit", examples=["2.50MB"])
    maxmemory: str = Field(description="Limit in bytes; 0 is no limit", examples=["0"])


class RedisWork(Message):
    """Commands of Redis."""

    total_commands_processed: int = Field(description="Commands processed since Redis started", examples=[1230])
    instantaneous_ops_per_sec: int = Field(description="Commands per second now", examples=[5])


class RedisKeys(Message):
    """Number of keys of each kind."""

    price_keys: int = Field(description="Newest prices, one per pair", examples=[20])
    metric_keys: int = Field(description="Measures, one per pair", examples=[20])
    correlation_keys: int = Field(description="Correlation matrices", examples=[1])
    best_pairs_keys: int = Field(description="Lists of pairs by use", examples=[1])
    total_keys: int = Field(description="All keys of the database", examples=[44])


class CacheSections(Message):
    """Redis by section."""

    redis: RedisAddress = Field(description="Address")
    memory: RedisMemory = Field(description="Memory")
    stats: RedisWork = Field(description="Commands")
    keys: RedisKeys = Field(description="Keys")


class CacheStats(Message):
    """The state of Redis."""

    timestamp: TimeText
    cache: CacheSections = Field(description="Redis by section")


@router.get("/stats", operation_id="get_cache_stats", summary="State of Redis", responses=refusals(RATE_LIMITED, NO_REDIS))
async def get_cache_stats(gateway: CurrentGateway) -> CacheStats:
    """Return the address of Redis, its memory and commands, and the number of keys of the gateway."""
    sections = await gateway.from_redis(gateway.cache.stats())
    if not sections["redis"]["connected"]:
        raise LogUnavailable("Redis does not answer")
    return CacheStats(timestamp=rfc3339(utc_now()), cache=CacheSections.model_validate(sections))
