"""Where the parts meet: the FastAPI application over one hub."""

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount

from app.backoff import Backoff
from app.config import Settings
from app.errors import DatabaseUnavailable
from app.http import problems
from app.http.gateway import Gateway
from app.http.origins import Origins
from app.http.rate_limit import RateLimitMiddleware
from app.market.bars.candle import Granularity
from app.market.measures.volatility import BARS_PER_YEAR
from app.market.pair import TrackedPairs
from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import Statistics
from app.realtime.hub.subscription import Bounds
from app.realtime.log.cache import Cache
from app.realtime.log.log import EventLog, open_redis
from app.realtime.monitoring.board import Place
from app.realtime.monitoring.report import Reports
from app.realtime.monitoring.view import PriceView
from app.realtime.transports.limit import RequestLimit
from app.realtime.transports.sockets import SocketServer
from app.routers.alerts import alerts, price_levels
from app.routers.documentation import description, pages
from app.routers.history import best_pairs, candles, correlations, metrics, sessions
from app.routers.live import events, prices, stream
from app.routers.operation import admin, cache, health, info, jobs, prometheus
from app.schedule import DueTimes, schedule_of
from app.sources import SOURCES
from app.storage.alerts.alerts import Alerts
from app.storage.alerts.price_levels import PriceLevels
from app.storage.database.database import Database, open_database
from app.storage.job_runs import JobRuns
from app.storage.market.candles import Candles
from app.storage.market.correlations import Correlations
from app.storage.market.metrics import Metrics
from app.trading_days import keep_trading_days

_logger = logging.getLogger(__name__)

VERSION = "0.1.0"

_CATCH_UP_WITHIN = 30.0


class GatewayApp(FastAPI):
    """The application. Its hub runs from the start of its lifespan to the end."""

    hub: Hub | None = None

    def stop_streaming(self) -> None:
        """Let every streaming client finish; new ones are refused."""
        if self.hub is not None:
            self.hub.stop()


def create_app(
    settings: Settings,
    redis_url: str,
    statistics: Statistics | None = None,
    worker: str = "",
    place: Place | None = None,
) -> GatewayApp:
    """The gateway on a Redis and the database of the settings. Nothing is opened before its lifespan begins.

    Where several processes serve one port, ``worker`` is the number of this one, ``statistics`` its row in their table
    and ``place`` its place on their board.
    """
    origins = Origins(settings.cors_allowed_origins)
    app = GatewayApp(
        title="FX Gateway",
        version=VERSION,
        description="Foreign-exchange prices and alerts. The same events, under the same ids, come over Socket.IO, over "
        "Server-Sent Events (`/stream`) and over REST (`/api/v1/events`).",
        license_info={"name": "MIT", "identifier": "MIT"},
        lifespan=_lifespan(settings, redis_url, origins, statistics, worker, place),
        docs_url=None,
        redoc_url=None,
    )
    # The endpoint that is asked most, past the framework's own search for parameters, which would cost a third of the answer.
    # The same below, with the others, is what describes it.
    app.add_route("/api/v1/prices/all", prices.get_all_prices, methods=["GET"], include_in_schema=False)
    history = (candles, metrics, correlations, best_pairs, alerts, price_levels, jobs)
    # Whoever is asked most stands first: the framework looks at one after the other.
    for endpoints in (stream, prices, health, info, sessions, events, cache, prometheus, *history, admin):
        app.include_router(endpoints.router)
    app.include_router(pages.router(operator=bool(settings.admin_tokens)))
    problems.register(app)
    description.register(app)
    app.add_middleware(RateLimitMiddleware, requests=settings.rate_limit_requests, window=settings.rate_limit_window)
    app.add_middleware(
        CORSMiddleware,
        allow_origin_regex=origins.pattern,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
        expose_headers=[
            "Retry-After",
            "RateLimit",
            "RateLimit-Policy",
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
        ],
    )
    return app


def _lifespan(  # type: ignore[no-untyped-def]
    settings: Settings, redis_url: str, origins: Origins, statistics: Statistics | None, worker: str, place: Place | None
):
    @asynccontextmanager
    async def lifespan(app: GatewayApp) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            redis = await stack.enter_async_context(open_redis(redis_url))
            database = await stack.enter_async_context(open_database(settings.database_address))
            migrated = await stack.enter_async_context(_migrated(database))
            pairs = TrackedPairs(settings.tracked_pairs)
            log = EventLog(redis, settings.event_log_length)
            hub = Hub(
                log,
                pairs,
                max_clients=settings.websocket_max_clients,
                bounds=Bounds(
                    settings.send_buffer_bytes,
                    settings.alert_lane_events,
                    settings.lagging_timeout,
                    settings.alert_lane_bytes,
                ),
                heartbeat_interval=settings.heartbeat_interval,
                statistics=statistics,
            )
            reports = Reports(hub, place)
            price_view = PriceView(hub, settings.stale_after, SOURCES)
            redis_cache = Cache(redis, pairs)
            sockets = SocketServer(
                hub,
                price_view,
                redis_cache,
                allows_origin=origins.allows,
                new_limit=lambda: RequestLimit(settings.rate_limit_requests, settings.rate_limit_window, monotonic),
                ping_interval=settings.websocket_ping_interval,
                ping_timeout=settings.websocket_ping_timeout,
                worker=worker,
            )
            stack.push_async_callback(sockets.shutdown)
            app.hub = hub
            app.state.gateway = Gateway(
                hub=hub,
                reports=reports,
                prices=price_view,
                cache=redis_cache,
                publisher=log.publisher(),
                database_ping=lambda: _ping(database, migrated),
                migrated=migrated.is_set,
                candles=Candles(database, SOURCES),
                metrics=Metrics(database),
                correlations=Correlations(database),
                alerts=Alerts(database),
                price_levels=PriceLevels(database),
                job_runs=JobRuns(database),
                jobs_due=partial(_due, schedule_of(settings)),
                annualization=_bars_per_year(settings.annualization),
                sources=settings.source,
                known_sources=SOURCES,
                rate_limit_requests=settings.rate_limit_requests,
                rate_limit_window=settings.rate_limit_window,
                publish_tokens=tuple(token.get_secret_value().encode() for token in settings.publish_tokens),
                alert_tokens=tuple(token.get_secret_value().encode() for token in settings.alert_tokens),
                admin_tokens=tuple(token.get_secret_value().encode() for token in settings.admin_tokens),
            )
            # Before the endpoints, for whom the framework looks long; five thousand clients may come at once.
            app.router.routes.insert(0, Mount("/socket.io", sockets.asgi))
            await stack.enter_async_context(_running(hub))
            await stack.enter_async_context(_watched(reports.run(), "reports"))
            days = _keep_days(price_view, Candles(database, SOURCES), pairs, migrated)
            await stack.enter_async_context(_watched(days, "trading days"))
            yield

    return lifespan


def _bars_per_year(hours: float) -> Mapping[Granularity, float]:
    """The bars of each length in a year that has so many hours; what changes weeks and months is not the hours of trading."""
    scale = hours / BARS_PER_YEAR[Granularity.H1]
    calendar = (Granularity.W, Granularity.M)
    return {length: bars if length in calendar else bars * scale for length, bars in BARS_PER_YEAR.items()}


@asynccontextmanager
async def _migrated(database: Database) -> AsyncGenerator[asyncio.Event]:
    """Brings the tables up to date, at once or, where the database does not answer, as soon as it does; then the event is set.

    Raises ConfigurationError for a database that newer code has migrated. Where it turns out later, the process is told to stop.
    """
    done = asyncio.Event()
    if await _migrate(database):
        done.set()
        yield done
        return
    async with _watched(_keep_migrating(database, done), "migration", endless=False):
        yield done


async def _keep_migrating(database: Database, done: asyncio.Event) -> None:
    backoff = Backoff()
    while not done.is_set():
        await asyncio.sleep(backoff.pause_after(0))
        if await _migrate(database):
            done.set()


async def _migrate(database: Database) -> bool:
    """True where the tables are up to date now. Raises ConfigurationError."""
    try:
        await database.migrate()
    except DatabaseUnavailable as error:
        _logger.warning("not ready: %s", error)
        return False
    return True


async def _ping(database: Database, migrated: asyncio.Event) -> None:
    """Raises DatabaseUnavailable where the database cannot be used."""
    if not migrated.is_set():
        raise DatabaseUnavailable("Its tables are not up to date yet")
    await database.ping()


@asynccontextmanager
async def _running(hub: Hub) -> AsyncGenerator[None]:
    """The hub at work, entered once it has caught up with the log, or has tried for long."""
    async with _watched(hub.run(), "hub"):
        try:
            async with asyncio.timeout(_CATCH_UP_WITHIN):
                await hub.caught_up()
        except TimeoutError:
            _logger.warning("not ready: %s", hub.unready)
        yield


async def _keep_days(prices: PriceView, candles: Candles, pairs: TrackedPairs, migrated: asyncio.Event) -> None:
    """Keep the change of the day up to date from when the database has its tables, until cancelled."""
    await migrated.wait()
    await keep_trading_days(prices, candles, pairs)


def _due(schedule: Mapping[str, DueTimes], now: datetime) -> dict[str, datetime]:
    """When each job is due next after an aware time, by its name."""
    return {name: due.next(now) for name, due in schedule.items()}


@asynccontextmanager
async def _watched(work: Coroutine[Any, Any, None], name: str, *, endless: bool = True) -> AsyncGenerator[None]:
    """Some work beside the requests, cancelled on leaving.

    Where it fails, or comes to an end though it is ``endless``, the process is told to stop rather than serve without it.
    """

    def look(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (endless or task.exception() is not None):
            _logger.critical("the %s has failed", name, exc_info=task.exception())
            signal.raise_signal(signal.SIGTERM)

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(look)
    try:
        yield
    finally:
        task.remove_done_callback(look)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
