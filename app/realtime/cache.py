"""The state of Redis beside the log: its memory, its work, and the keys that people look at."""

from redis.asyncio import Redis

from app.errors import LogUnavailable
from app.market.pair import TrackedPairs
from app.realtime.log import ask

Section = dict[str, str | int | bool]


class Cache:
    """What ``cache/stats`` and ``server_stats`` tell about Redis."""

    def __init__(self, redis: Redis, pairs: TrackedPairs) -> None:
        self._redis = redis
        self._pairs = pairs

    async def stats(self) -> dict[str, Section]:
        """Sections ``redis``, ``memory``, ``stats`` and ``keys``; the last three are empty while Redis does not answer."""
        try:
            info = await ask(self._redis.info())
            keys = await self._keys()
        except LogUnavailable:
            return {"redis": {**self._address(), "connected": False}, "memory": {}, "stats": {}, "keys": {}}
        return {
            "redis": {**self._address(), "connected": True},
            "memory": {
                "used_memory": str(info["used_memory_human"]) + "B",
                "maxmemory": str(info["maxmemory"]),
            },
            "stats": {
                "total_commands_processed": int(info["total_commands_processed"]),
                "instantaneous_ops_per_sec": int(info["instantaneous_ops_per_sec"]),
            },
            "keys": keys,
        }

    async def _keys(self) -> Section:
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.exists(*(f"price:{pair}" for pair in self._pairs.names))
            pipeline.exists(*(f"metrics:{pair}" for pair in self._pairs.names))
            pipeline.exists("correlation:matrix")
            pipeline.exists("best_pairs")
            pipeline.dbsize()
            counts = await ask(pipeline.execute())
        names = ("price_keys", "metric_keys", "correlation_keys", "best_pairs_keys", "total_keys")
        return dict(zip(names, map(int, counts), strict=True))

    def _address(self) -> Section:
        options = self._redis.connection_pool.connection_kwargs
        return {
            "host": str(options.get("host") or options.get("path") or "localhost"),
            "port": int(options.get("port") or (0 if options.get("path") else 6379)),
            "db": int(options.get("db") or 0),
        }
