"""What the gateway says it serves."""

from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import httpx

from app.config import Settings
from app.main import create_app
from app.market.clock import rfc3339
from app.market.pair import DEFAULT_PAIRS
from app.realtime.contract.heartbeat import FeedHeartbeat, heartbeat
from app.routers.operation.info import Info
from app.specs.openapi import openapi_document
from tests.gateways import gateway
from tests.realtime.listening import tick
from tests.routers.running import FIRST, VERSION, Query, Rest, assert_problem, bars, rest


async def test_info_tells_pairs_lifetimes_and_limits(api: Rest) -> None:
    response = await api.get("/api/v1/info")
    assert response.status_code == 200
    info = Info.model_validate(response.json())
    assert (info.api_version, info.service) == (VERSION, "FX Gateway")
    assert (info.tracked_pairs, info.pair_count) == (list(DEFAULT_PAIRS), 20)
    assert info.cache_ttls.model_dump() == {"prices": "300s", "metrics": "3600s", "correlation": "86400s"}
    assert info.data_retention == "365d"
    assert info.rate_limit.model_dump() == {"requests": 100, "window_seconds": 60}
    assert (info.source, info.sources, info.simulated) == ("replay", ["replay"], None)


async def test_the_retention_is_that_of_the_settings(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path, event_retention_days=30) as running, httpx.AsyncClient(base_url=running.url) as http:
        info = Info.model_validate((await http.get("/api/v1/info")).json())
    assert info.data_retention == "30d"
    assert info.api_version == running.app.version == version("fx-gateway")


async def test_the_source_is_the_one_the_feed_names(api: Rest) -> None:
    await api.on.publish(heartbeat(FeedHeartbeat(node="n1", source="simulated", simulated=True)))
    info = Info.model_validate((await api.get("/api/v1/info")).json())
    assert (info.source, info.simulated) == ("simulated", True)


async def test_every_configured_source_is_told_whatever_the_feed_names(valkey_url: str) -> None:
    async with rest(valkey_url, sources=("oanda", "kraken", "simulated")) as api:
        for source, simulated in (("oanda", None), ("kraken", False)):
            info = Info.model_validate((await api.get("/api/v1/info")).json())
            assert (info.source, info.simulated) == (source, simulated)
            assert info.sources == ["oanda", "kraken", "simulated"]
            await api.on.publish(heartbeat(FeedHeartbeat(node="n1", source="kraken", simulated=False)))


async def test_every_endpoint_is_listed_and_answers(api: Rest) -> None:
    endpoints = (await api.get("/api/v1/info")).json()["endpoints"]
    assert endpoints["get_health"] == "/health"
    assert endpoints["get_events"] == endpoints["publish_events"] == "/api/v1/events"
    await api.on.publish(tick("EUR_USD"))
    await api.gateway.stores.candles.write([bar for pair in ("EUR_USD", "GBP_USD") for bar in bars(pair, 100)])
    set_level = {"instrument": "EUR_USD", "direction": "above", "level": "1.2"}
    level = (await api.client.post(endpoints["set_price_level"], json=set_level)).json()
    # With an end the figures are computed at once.
    query: dict[str, Query] = {"instrument": "EUR_USD", "pair1": "EUR_USD", "pair2": "GBP_USD", "pairs": "EUR_USD,GBP_USD"}
    query["end_time"] = rfc3339(FIRST + timedelta(hours=100))
    described = openapi_document(create_app(Settings.model_construct(), "redis://localhost"))["paths"]
    unanswered = set()
    # Streams do not end, and the operator page is closed without a token.
    assert {"stream_pair", "stream_pairs", "get_admin_state"} <= endpoints.keys()
    for name, path in endpoints.items():
        if name.startswith("stream_") or name == "get_admin_state":
            continue
        parameters = described[path].get("get", {}).get("parameters", [])
        known = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
        of_endpoint = {name: value for name, value in query.items() if name in known}
        answer = await api.get(path.format(instrument="EUR_USD", id=level["id"]), **of_endpoint)
        assert answer.status_code in (200, 404), (path, answer.text)
        if answer.status_code == 404:
            assert_problem(answer, 404, "No data")
            unanswered.add(name)
    # Those give what a job has left, and here no job has run.
    assert unanswered == {"get_all_volatility", "get_best_pairs"}
