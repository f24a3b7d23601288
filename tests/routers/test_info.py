"""What the gateway says it serves."""

from app.market.pair import DEFAULT_PAIRS
from app.realtime.event import heartbeat
from app.routers.info import Info
from tests.routers.running import Rest


async def test_info_tells_pairs_lifetimes_and_limits(api: Rest) -> None:
    response = await api.get("/api/v1/info")
    assert response.status_code == 200
    info = Info.model_validate(response.json())
    assert (info.api_version, info.service) == ("1.0.0", "FX Gateway")
    assert (info.tracked_pairs, info.pair_count) == (list(DEFAULT_PAIRS), 20)
    assert info.cache_ttls.model_dump() == {"prices": "300s", "metrics": "3600s", "correlation": "86400s"}
    assert info.data_retention == "365d"
    assert info.rate_limit.model_dump() == {"requests": 100, "window_seconds": 60}
    assert (info.source, info.simulated) == ("replay", None)


async def test_the_source_is_the_one_the_feed_names(api: Rest) -> None:
    await api.on.publish(heartbeat("n1", "feed", source="simulated", simulated=True))
    info = Info.model_validate((await api.get("/api/v1/info")).json())
    assert (info.source, info.simulated) == ("simulated", True)


async def test_every_endpoint_is_listed_and_answers(api: Rest) -> None:
    endpoints = (await api.get("/api/v1/info")).json()["endpoints"]
    assert endpoints["get_health"] == "/health"
    assert endpoints["get_events"] == endpoints["publish_events"] == "/api/v1/events"
    for path in endpoints.values():
        assert (await api.get(path, instrument="EUR_USD")).status_code in (200, 404), path
