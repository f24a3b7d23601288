"""The state of Redis over REST."""

from app.routers.operation.cache import CacheStats
from tests.private_valkey import PrivateValkey
from tests.realtime.listening import tick
from tests.routers.running import Rest, assert_problem, rest


async def test_the_state_of_redis(api: Rest) -> None:
    await api.on.publish(tick("EUR_USD"), tick("USD_JPY", "150"))
    response = await api.get("/api/v1/cache/stats")
    assert response.status_code == 200
    cache = CacheStats.model_validate(response.json()).cache
    assert cache.redis.connected is True
    assert cache.redis.host.endswith("valkey.sock")
    assert cache.keys.price_keys == 2
    assert cache.keys.total_keys > 2
    assert cache.stats.total_commands_processed > 0


async def test_without_redis(valkey: PrivateValkey) -> None:
    async with rest(valkey.url) as api:
        valkey.kill()
        assert_problem(await api.get("/api/v1/cache/stats"), 503, "Log unavailable")
