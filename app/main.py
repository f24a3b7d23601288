"""The application: where the parts of a gateway are opened and put together."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from importlib.metadata import version
from time import monotonic

from fastapi import FastAPI
from pydantic import SecretStr
from starlette.routing import Mount, Route, WebSocketRoute

from app.background import watched
from app.config import Settings
from app.http import problems
from app.http.edge.cors import CorsMiddleware
from app.http.edge.default_headers import DefaultHeadersMiddleware
from app.http.edge.head import HeadMiddleware
from app.http.edge.prefix import PrefixMiddleware, checked_prefix
from app.http.gateway import Gateway, Limits, Stores, Tokens
from app.http.origins import Origins
from app.http.rate_limit import RateLimitMiddleware
from app.market.bars.candle import Granularity
from app.market.measures.volatility import BARS_PER_YEAR
from app.market.pair import TrackedPairs
from app.migration import Migration
from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import Statistics
from app.realtime.hub.subscription import Bounds
from app.realtime.log.cache import Cache
from app.realtime.log.log import EventLog, open_redis
from app.realtime.monitoring.board import Place
from app.realtime.monitoring.report import Reports
from app.realtime.monitoring.view import PriceView
from app.realtime.transports.limit import RequestLimit
from app.realtime.transports.plain import PlainSockets
from app.realtime.transports.sockets import SocketServer
from app.routers import catalogue
from app.schedule import DueTimes, schedule_of
from app.sources import SOURCES
from app.storage.database.database import open_database
from app.storage.market.candles import Candles
from app.trading_days import keep_trading_days

_logger = logging.getLogger(__name__)

VERSION = version("fx-gateway")
"""The version of the package, which is that of every interface."""

_CATCH_UP_TIMEOUT = 30.0


class GatewayApp(FastAPI):
    """The application. Its hub runs from the start of its lifespan to the end."""

    hub: Hub | None = None

    def stop_streaming(self) -> None:
        """Let every streaming client finish and refuse new ones."""
        if self.hub is not None:
            self.hub.stop()


def create_app(
    settings: Settings,
    redis_url: str,
    statistics: Statistics | None = None,
    worker: str = "",
    place: Place | None = None,
) -> GatewayApp:
    """The gateway on this Redis and the database of the settings. Nothing is opened before its lifespan starts.

    If several processes serve one port, ``worker`` is the number of this one, ``statistics`` its row of their shared
    table and ``place`` its place on their shared board.
    """
    origins = Origins(settings.cors_allowed_origins)
    app = GatewayApp(
        title="FX Gateway",
        version=VERSION,
        description="Foreign-exchange prices and alerts. Socket.IO, Server-Sent Events (`/stream`), a plain websocket (`/ws`) "
        "and REST (`/api/v1/events`) carry the same events under the same ids.",
        license_info={"name": "MIT", "identifier": "MIT"},
        lifespan=partial(
            _lifespan,
            settings=settings,
            redis_url=redis_url,
            origins=origins,
            statistics=statistics,
            worker=worker,
            place=place,
        ),
        docs_url=None,
        redoc_url=None,
    )
    catalogue.include(app, operator=bool(settings.admin_tokens))
    problems.register(app)
    app.add_middleware(RateLimitMiddleware, requests=settings.rate_limit_requests, window=settings.rate_limit_window)
    app.add_middleware(CorsMiddleware, origins=origins, credentials=settings.cors_allow_credentials)
    app.add_middleware(PrefixMiddleware, root_path=checked_prefix(settings.root_path))
    # The last is the outermost.
    app.add_middleware(DefaultHeadersMiddleware)
    app.add_middleware(HeadMiddleware)
    return app


@asynccontextmanager
async def _lifespan(
    app: GatewayApp,
    *,
    settings: Settings,
    redis_url: str,
    origins: Origins,
    statistics: Statistics | None,
    worker: str,
    place: Place | None,
) -> AsyncGenerator[None]:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(open_redis(redis_url))
        database = await stack.enter_async_context(open_database(settings.database_address))
        migration = Migration(database)
        await stack.enter_async_context(migration.running())
        stores = Stores.of(database, SOURCES)

        pairs = TrackedPairs(settings.tracked_pairs)
        log = EventLog(redis, settings.event_log_length)
        hub = app.hub = Hub(
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
        prices = PriceView(hub, settings.stale_after, SOURCES)
        cache = Cache(redis, pairs)

        def new_limit() -> RequestLimit:
            return RequestLimit(settings.rate_limit_requests, settings.rate_limit_window, monotonic)

        sockets = SocketServer(
            hub,
            prices,
            cache,
            allows_origin=origins.allows,
            new_limit=new_limit,
            ping_interval=settings.websocket_ping_interval,
            ping_timeout=settings.websocket_ping_timeout,
            worker=worker,
        )
        stack.push_async_callback(sockets.shutdown)
        plain = PlainSockets(
            hub,
            prices,
            cache,
            allows_origin=origins.allows,
            new_limit=new_limit,
            ping_interval=settings.websocket_ping_interval,
        )
        stack.push_async_callback(plain.shutdown)
        # First, because routes are tried one after the other and thousands of clients may connect at once.
        app.router.routes[:0] = [
            Mount("/socket.io", sockets.asgi),
            Route("/socket.io", sockets.asgi),  # some clients leave the slash out, and not all follow a redirect
            WebSocketRoute("/socket.io", sockets.asgi),
        ]

        app.state.gateway = Gateway(
            hub=hub,
            sockets=plain,
            reports=reports,
            prices=prices,
            cache=cache,
            publisher=log.publisher(),
            stores=stores,
            ping_database=migration.ping,
            migrated=lambda: migration.done,
            jobs_due=partial(_due, schedule_of(settings)),
            annualization=_bars_per_year(settings.annualization),
            retention_days=settings.event_retention_days,
            sources=settings.source,
            known_sources=SOURCES,
            tokens=Tokens(
                publish=_encoded(settings.publish_tokens),
                alerts=_encoded(settings.alert_tokens),
                admin=_encoded(settings.admin_tokens),
            ),
            limits=Limits(requests=settings.rate_limit_requests, window=settings.rate_limit_window),
        )

        await stack.enter_async_context(watched(hub.run(), "hub"))
        await _catch_up(hub)
        await stack.enter_async_context(watched(reports.run(), "reports"))
        days = _keep_trading_days(prices, stores.candles, pairs, migration)
        await stack.enter_async_context(watched(days, "trading days"))
        yield


async def _catch_up(hub: Hub) -> None:
    """Return once the hub has caught up with the log. After the timeout the gateway serves, but is not ready."""
    try:
        async with asyncio.timeout(_CATCH_UP_TIMEOUT):
            await hub.caught_up()
    except TimeoutError:
        _logger.warning("not ready: %s", hub.unready)


async def _keep_trading_days(prices: PriceView, candles: Candles, pairs: TrackedPairs, migration: Migration) -> None:
    """Keep the day's change of every price up to date, from the end of the migration until cancelled."""
    await migration.wait()
    await keep_trading_days(prices, candles, pairs)


def _due(schedule: Mapping[str, DueTimes], now: datetime) -> dict[str, datetime]:
    """When each job is due next after an aware time, by its name."""
    return {name: due.next(now) for name, due in schedule.items()}


def _bars_per_year(hours: float) -> Mapping[Granularity, float]:
    """The number of bars in a year of so many trading hours, by their length. Weeks and months do not depend on the hours."""
    scale = hours / BARS_PER_YEAR[Granularity.H1]
    calendar = (Granularity.W, Granularity.M)
    return {length: bars if length in calendar else bars * scale for length, bars in BARS_PER_YEAR.items()}


def _encoded(tokens: tuple[SecretStr, ...]) -> tuple[bytes, ...]:
    return tuple(token.get_secret_value().encode() for token in tokens)
