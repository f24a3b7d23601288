"""A gateway with data behind every endpoint: prices, history, figures, alerts, levels and job runs."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from app.config import Settings
from app.market.clock import rfc3339, utc_now
from app.market.pair import TrackedPairs
from app.market.quote import Quote
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import Draft, draft, feed_status, price_update, source_changed
from app.realtime.contract.heartbeat import FeedHeartbeat, heartbeat
from app.realtime.contract.publication import publication
from app.storage.alerts.alerts import Alerts
from jobs.daily_correlation_job import run_daily_correlation
from jobs.history.demonstration import fill
from jobs.hourly_job import run_hourly
from jobs.recorder import Recorder
from jobs.running.context import JobContext, open_context
from tests.databases import on_postgres, postgres_of
from tests.gateways import QUIET, RunningGateway, gateway
from tests.waiting import wait_until

TOKEN = "a token with the right to publish and to look on"
PAIRS = ("EUR_USD", "GBP_USD", "USD_JPY", "EUR_JPY")
LEVEL = {"instrument": "EUR_USD", "direction": "above", "level": "1.50000", "severity": "warning"}


@asynccontextmanager
async def furnished(redis_url: str, folder: Path, **changed: Any) -> AsyncGenerator[RunningGateway]:
    """A gateway of four pairs, with a month of bars, the figures of both jobs, an alert of each type and a price level."""
    if on_postgres():
        changed.setdefault("database_url", await postgres_of(folder))
    settings = Settings(
        **{**QUIET, "data_dir": folder, "tracked_pairs": PAIRS, "publish_tokens": (TOKEN,), "admin_tokens": (TOKEN,), **changed}
    )
    async with open_context(settings, redis_url) as context:
        await fill(settings, context.database)
        await run_hourly(context, utc_now(), 0)
        await run_daily_correlation(context, utc_now())
        async with (
            gateway(redis_url, folder, **settings.model_dump(exclude_unset=True)) as running,
            httpx.AsyncClient(base_url=running.url) as client,
        ):
            level = (await client.post("/api/v1/alerts/levels", json=LEVEL)).raise_for_status().json()
            ids = await context.publisher.publish(_events(context.pairs, level["id"]))
            await _record(context)
            await wait_until(lambda: running.hub.cursor == ids[-1], "the gateway has read the log")
            yield running


def _events(pairs: TrackedPairs, level: str) -> list[Draft]:
    """One event at least of every type that the log holds."""
    now, told = utc_now(), {"severity": "warning", "message": "café", "timestamp": rfc3339(utc_now())}
    reached = {"level_id": level, "level": "1.50000", "direction": "above", "price": "1.50010"}
    return [
        heartbeat(FeedHeartbeat(node="n1", source="simulated", simulated=True)),
        source_changed("simulated", None, True, "the first source", now),
        feed_status("simulated", False, now),
        publication("volatility_alert", {"instrument": "EUR_USD", "volatility": 0.12, "threshold": 0.1}, pairs),
        publication("correlation_alert", {"pair1": "EUR_USD", "pair2": "GBP_USD", "correlation": -1, "threshold": 0.8}, pairs),
        draft(EventType.PRICE_ALERT, {"instrument": "EUR_USD", **reached, **told}),
        publication("data_ready", {"data_type": "candles", "count": 4}, pairs),
        *(price_update(Quote(pair, Decimal("1.1"), Decimal("1.2"), now, "simulated"), now) for pair in pairs),
    ]


async def _record(context: JobContext) -> None:
    """Have the log recorded up to its last alert."""
    recording = asyncio.create_task(Recorder(context.log, context.database, context.pairs).run())
    alerts = Alerts(context.database)

    async def recorded() -> bool:
        assert not recording.done(), recording
        return any(alert.type == EventType.PRICE_ALERT for alert in await alerts.page(limit=100))

    try:
        await wait_until(recorded, "the alerts are recorded", 30)
    finally:
        recording.cancel()
        with suppress(asyncio.CancelledError):
            await recording
