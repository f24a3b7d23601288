"""``/metrics`` as a scraper sees it."""

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from app.realtime.contract.heartbeat import FeedHeartbeat, RecorderHeartbeat, heartbeat
from app.realtime.log.log import EventLog, open_redis
from tests.gateways import RunningGateway, gateway
from tests.realtime.listening import tick
from tests.realtime.stream_clients import open_stream
from tests.waiting import wait_until


@pytest_asyncio.fixture
async def running(valkey_url: str, tmp_path: Path) -> AsyncGenerator[RunningGateway]:
    async with gateway(valkey_url, tmp_path, rate_limit_requests=1) as running:
        yield running


async def samples(url: str) -> Mapping[str, float]:
    """Every sample by its name and labels."""
    async with httpx.AsyncClient(base_url=url) as http:
        response = await http.get("/metrics")
    response.raise_for_status()
    found = {}
    for family in parse_text(response.text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_what_clients_get_shows_in_the_figures(running: RunningGateway, valkey_url: str) -> None:
    async with open_redis(valkey_url) as redis, open_stream(running.url, "/stream?pairs=EUR_USD,USD_JPY") as stream:
        await EventLog(redis).publisher().publish([tick("EUR_USD"), tick("EUR_USD"), tick("USD_JPY", "150")])
        await stream.read_events(4)
        found = await samples(running.url)
    assert found["fx_clients{transport=sse,worker=1}"] == 1
    assert found["fx_clients{transport=websocket,worker=1}"] == 0
    assert found["fx_subscriptions"] == 2
    assert found["fx_connections_total{transport=sse}"] == 1
    assert found["fx_deliveries_total{transport=sse}"] == 3
    assert found["fx_delivery_latency_seconds_bucket{le=+Inf,transport=sse}"] == 3
    assert found["fx_delivery_latency_seconds_count{transport=sse}"] == 3
    assert found["fx_log_events_read_total{worker=1}"] == found["fx_log_batch_events_sum"] >= 3
    assert found["fx_price_age_seconds_count"] == 1
    assert found["fx_clients_limit"] == 1000
    await wait_until(lambda: len(running.hub.clients) == 0, "the stream is gone")
    assert (await samples(running.url))["fx_clients{transport=sse,worker=1}"] == 0


async def test_the_feed_and_the_recorder_are_told_of_once_they_were_heard(running: RunningGateway, valkey_url: str) -> None:
    before = await samples(running.url)
    assert not any(name.startswith(("fx_feed", "fx_recorder")) for name in before)
    async with open_redis(valkey_url) as redis:
        publisher = EventLog(redis).publisher()
        sources = {"oanda": "silent", "kraken": "active"}
        sign = heartbeat(FeedHeartbeat(node="a", source="kraken", simulated=False, sources=sources, dropped={"crossed": 3}))
        await publisher.publish([sign])
        recorder = RecorderHeartbeat(node="b", cursor="1-0", lost=2, losses_of_unknown_size=1, late=3, refused=3)
        await publisher.publish([heartbeat(recorder)])
    await wait_until(lambda: running.hub.signs.recorder is not None, "both have been heard")
    after = await samples(running.url)
    assert (after["fx_feed_source_active{source=kraken}"], after["fx_feed_source_active{source=oanda}"]) == (1, 0)
    assert after["fx_feed_dropped_quotes_total{reason=crossed}"] == 3
    assert after["fx_recorder_lost_events_total"] == 2
    assert after["fx_recorder_refused_events"] == 3
    assert after["fx_recorder_losses_of_unknown_size_total"] == 1
    assert after["fx_recorder_late_quotes_total"] == 3
    assert after["fx_recorder_behind_events"] == running.hub.seq
    assert after["fx_recorder_behind_seconds"] > 0


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text; version=1.0.0"),
    ],
)
async def test_the_scraper_chooses_the_format(running: RunningGateway, accept: str, content_type: str) -> None:
    async with httpx.AsyncClient(base_url=running.url) as http:
        response = await http.get("/metrics", headers={"Accept": accept})
        head = await http.head("/metrics")
    assert response.headers["content-type"].startswith(content_type)
    assert response.headers["cache-control"] == "no-store"
    parse = parse_openmetrics if "openmetrics" in content_type else parse_text
    families = {family.name: family for family in parse(response.text)}
    assert all(family.documentation.endswith(".") and name.startswith("fx_") for name, family in families.items())
    assert families["fx_delivery_latency_seconds"].type == "histogram"
    assert (head.status_code, head.content) == (200, b"")


async def test_no_limit_of_requests_counts_a_scraper(running: RunningGateway) -> None:
    for _ in range(5):
        await samples(running.url)
