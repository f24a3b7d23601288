"""The cache in Redis: the figures that jobs compute, under keys that operators look at, and the state of Redis itself.

Keys: ``metrics:EUR_USD`` holds a ``PairMetrics``, ``correlation:matrix`` a ``CorrelationMatrix`` and ``best_pairs`` a
``BestPairs``, all as JSON.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import TypeVar

from pydantic import ValidationError
from redis.asyncio import Redis

from app.errors import LogUnavailable
from app.market.pair import TrackedPairs
from app.quiet_log import by_client
from app.realtime.contract.fields import Message
from app.realtime.contract.figures import BestPairs, CorrelationMatrix, PairMetrics
from app.realtime.log.log import ask

_logger = logging.getLogger(__name__)

_M = TypeVar("_M", bound=Message)

Section = dict[str, str | int | bool]


METRICS_TTL = 3600
"""Lifetime of the measures in seconds, from one hourly job to the next."""

CORRELATION_TTL = 86_400
"""Lifetime of the correlations in seconds, from one daily job to the next."""

_GRACE = 600  # figures must not expire while the job that replaces them is running


class Cache:
    """The figures in Redis, and the state of Redis for ``cache/stats`` and ``server_stats``."""

    def __init__(self, redis: Redis, pairs: TrackedPairs) -> None:
        self._redis = redis
        self._pairs = pairs

    async def put_metrics(self, metrics: Mapping[str, PairMetrics]) -> None:
        """Store measures, by the names of their pairs. Raises LogUnavailable."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for pair, figures in metrics.items():
                pipeline.set(f"metrics:{pair}", figures.model_dump_json(), ex=METRICS_TTL + _GRACE)
            await ask(pipeline.execute())

    async def metrics(self, pairs: Sequence[str]) -> dict[str, PairMetrics]:
        """Return the measures of those of the pairs that have some. Raises LogUnavailable."""
        found = await ask(self._redis.mget([f"metrics:{pair}" for pair in pairs]))
        read = {pair: _read(PairMetrics, text) for pair, text in zip(pairs, found, strict=True)}
        return {pair: figures for pair, figures in read.items() if figures is not None}

    async def put_correlations(self, matrix: CorrelationMatrix, best: BestPairs) -> None:
        """Store a matrix and the ranking computed from it. Raises LogUnavailable."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set("correlation:matrix", matrix.model_dump_json(), ex=CORRELATION_TTL + _GRACE)
            pipeline.set("best_pairs", best.model_dump_json(), ex=CORRELATION_TTL + _GRACE)
            await ask(pipeline.execute())

    async def matrix(self) -> CorrelationMatrix | None:
        """Return the newest matrix, None if there is none. Raises LogUnavailable."""
        return _read(CorrelationMatrix, await ask(self._redis.get("correlation:matrix")))

    async def best_pairs(self) -> BestPairs | None:
        """Return the newest ranking, None if there is none. Raises LogUnavailable."""
        return _read(BestPairs, await ask(self._redis.get("best_pairs")))

    async def stats(self) -> dict[str, Section]:
        """Return the sections ``redis``, ``memory``, ``stats`` and ``keys``, the last three empty if Redis does not answer."""
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


def _read(model: type[_M], text: bytes | None) -> _M | None:
    """Parse the value of a key. Return None if it is missing, or was written by another version or another program."""
    if text is None:
        return None
    try:
        return model.model_validate_json(text)
    except ValidationError:
        _logger.warning("ignoring a key of the cache: not a valid %s", model.__name__, extra=by_client(None, model.__name__))
        return None
