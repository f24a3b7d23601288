"""Where the parts meet: the FastAPI application over one hub."""

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from app.config import Settings
from app.errors import DatabaseUnavailable
from app.market.pair import TrackedPairs
from app.realtime.cache import Cache
from app.realtime.hub import Hub
from app.realtime.limit import RequestLimit
from app.realtime.log import EventLog, open_redis
from app.realtime.sockets import SocketServer
from app.realtime.subscription import Bounds
from app.realtime.view import PriceView
from app.routers import cache, events, health, info, prices, problems, sessions, stream
from app.routers.gateway import Gateway
from app.routers.origins import Origins
from app.routers.rate_limit import RateLimitMiddleware
from app.storage.database import open_database

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


def create_app(settings: Settings, redis_url: str) -> GatewayApp:
    """The gateway on a Redis and the database of the settings. Nothing is opened before its lifespan begins."""
    origins = Origins(settings.cors_allowed_origins)
    app = GatewayApp(
        title="FX Gateway",
        version=VERSION,
        description="Foreign-exchange prices and alerts. The same events, under the same ids, come over Socket.IO, over "
        "Server-Sent Events (`/stream`) and over REST (`/api/v1/events`).",
        license_info={"name": "MIT", "identifier": "MIT"},
        lifespan=_lifespan(settings, redis_url, origins),
        docs_url=None,
        redoc_url=None,
    )
    for endpoints in (prices, health, info, sessions, events, cache, stream):  # the most frequent first
        app.include_router(endpoints.router)
    problems.register(app)
    app.add_middleware(RateLimitMiddleware, requests=settings.rate_limit_requests, window=settings.rate_limit_window)
    app.add_middleware(
        CORSMiddleware,
        allow_origin_regex=origins.pattern,
        allow_methods=["GET", "POST"],
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


def _lifespan(settings: Settings, redis_url: str, origins: Origins):  # type: ignore[no-untyped-def]
    @asynccontextmanager
    async def lifespan(app: GatewayApp) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            redis = await stack.enter_async_context(open_redis(redis_url))
            database = await stack.enter_async_context(open_database(settings.database_address))
            try:
                await database.ping()
            except DatabaseUnavailable as error:
                _logger.warning("not ready: %s", error)
            pairs = TrackedPairs(settings.tracked_pairs)
            log = EventLog(redis, settings.event_log_length)
            hub = Hub(
                log,
                pairs,
                max_clients=settings.websocket_max_clients,
                bounds=Bounds(settings.send_buffer_bytes, settings.alert_lane_events, settings.lagging_timeout),
                heartbeat_interval=settings.heartbeat_interval,
            )
            price_view = PriceView(hub, settings.stale_after)
            redis_cache = Cache(redis, pairs)
            sockets = SocketServer(
                hub,
                price_view,
                redis_cache,
                allows_origin=origins.allows,
                new_limit=lambda: RequestLimit(settings.rate_limit_requests, settings.rate_limit_window, monotonic),
                ping_interval=settings.websocket_ping_interval,
                ping_timeout=settings.websocket_ping_timeout,
            )
            stack.push_async_callback(sockets.shutdown)
            app.hub = hub
            app.state.gateway = Gateway(
                hub=hub,
                prices=price_view,
                cache=redis_cache,
                publisher=log.publisher(),
                database_ping=database.ping,
                source=settings.source,
                rate_limit_requests=settings.rate_limit_requests,
                rate_limit_window=settings.rate_limit_window,
                publish_tokens=tuple(token.get_secret_value().encode() for token in settings.publish_tokens),
            )
            app.mount("/socket.io", sockets.asgi)
            await stack.enter_async_context(_running(hub))
            yield

    return lifespan


@asynccontextmanager
async def _running(hub: Hub) -> AsyncGenerator[None]:
    """The hub at work. It should never end by itself; where it does, the process is told to stop rather than serve nothing."""
    task = asyncio.create_task(hub.run(), name="hub")
    task.add_done_callback(_stop_process)
    try:
        async with asyncio.timeout(_CATCH_UP_WITHIN):
            await hub.caught_up()
    except TimeoutError:
        _logger.warning("not ready: %s", hub.unready)
    try:
        yield
    finally:
        task.remove_done_callback(_stop_process)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _stop_process(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        _logger.critical("the hub has failed", exc_info=task.exception())
        signal.raise_signal(signal.SIGTERM)
