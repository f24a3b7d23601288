import pytest

from app.market.pair import TrackedPairs
from app.realtime.log.cache import Cache
from app.realtime.log.log import EventLog, open_redis
from tests.building import price_draft
from tests.private_valkey import PrivateValkey

_PAIRS = TrackedPairs(["EUR_USD", "USD_JPY"])


async def test_it_tells_where_redis_is_what_it_does_and_what_it_holds(valkey_url: str) -> None:
    async with open_redis(valkey_url) as redis:
        stats = await Cache(redis, _PAIRS).stats()
    assert stats["redis"] == {"host": valkey_url.removeprefix("unix://"), "port": 0, "db": 0, "connected": True}
    assert set(stats) == {"redis", "memory", "stats", "keys"}
    memory, work = stats["memory"], stats["stats"]
    assert str(memory["used_memory"]).endswith(("KB", "MB"))
    assert memory["maxmemory"] == "0"
    assert set(work) == {"total_commands_processed", "instantaneous_ops_per_sec"}
    assert int(work["total_commands_processed"]) > 0
    assert stats["keys"] == dict.fromkeys(["price_keys", "metric_keys", "correlation_keys", "best_pairs_keys", "total_keys"], 0)


async def test_it_counts_the_keys_of_tracked_pairs(valkey_url: str) -> None:
    async with open_redis(valkey_url) as redis:
        await EventLog(redis).publisher().publish([price_draft("EUR_USD"), price_draft("USD_JPY"), price_draft("GBP_USD")])
        for key in ("metrics:EUR_USD", "metrics:GBP_USD", "correlation:matrix", "best_pairs", "another:programs"):
            await redis.set(key, "{}")
        keys = (await Cache(redis, _PAIRS).stats())["keys"]
        total = await redis.dbsize()
    assert keys == {
        "price_keys": 2, "metric_keys": 1, "correlation_keys": 1, "best_pairs_keys": 1, "total_keys": total,
    }  # fmt: skip
    assert total == 11  # with a third price, the stream, its number and what the publisher wrote last


async def test_while_redis_does_not_answer_only_its_address_is_known(valkey: PrivateValkey) -> None:
    async with open_redis(valkey.url) as redis:
        cache = Cache(redis, _PAIRS)
        assert (await cache.stats())["redis"]["connected"] is True
        valkey.stop()
        address = {"host": valkey.url.removeprefix("unix://"), "port": 0, "db": 0, "connected": False}
        assert await cache.stats() == {"redis": address, "memory": {}, "stats": {}, "keys": {}}
        valkey.start()
        assert (await cache.stats())["redis"]["connected"] is True


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://user:s3cret@127.0.0.1:1/3", {"host": "127.0.0.1", "port": 1, "db": 3}),
        ("redis://:s3cret@no-such-host.invalid", {"host": "no-such-host.invalid", "port": 6379, "db": 0}),
    ],
)
async def test_an_address_has_no_password(url: str, address: dict[str, object]) -> None:
    async with open_redis(url) as redis:
        stats = await Cache(redis, _PAIRS).stats()
    assert stats["redis"] == {**address, "connected": False}
    assert "s3cret" not in str(stats)
