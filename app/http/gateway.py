"""The parts of the gateway that endpoints use, built once at start-up."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Self, TypeVar, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from app.errors import DatabaseUnavailable, LogUnavailable, TooManyRequests
from app.http.deadline import within
from app.market.bars.candle import Granularity
from app.market.source import Sources
from app.realtime.hub.hub import Hub
from app.realtime.log.cache import Cache
from app.realtime.log.log import Publisher
from app.realtime.monitoring.report import Reports
from app.realtime.monitoring.view import PriceView
from app.realtime.transports.plain import PlainSockets
from app.storage.alerts.alerts import Alerts
from app.storage.alerts.price_levels import PriceLevels
from app.storage.database.database import Database
from app.storage.job_runs import JobRuns
from app.storage.market.bar_texts import BarReader
from app.storage.market.candles import Candles
from app.storage.market.correlations import Correlations
from app.storage.market.metrics import Metrics
from app.storage.market.ticks import Ticks

T = TypeVar("T")

_CONCURRENT_COMPUTATIONS = 1


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of the database, one for each kind of query. Call them through ``Gateway.from_database``."""

    candles: Candles
    metrics: Metrics
    correlations: Correlations
    alerts: Alerts
    price_levels: PriceLevels
    job_runs: JobRuns
    bar_texts: BarReader
    ticks: Ticks

    @classmethod
    def of(cls, database: Database, sources: Sources) -> Self:
        """Every store on this database. ``sources`` are the traits of every source by name."""
        return cls(
            Candles(database, sources),
            Metrics(database),
            Correlations(database),
            Alerts(database),
            PriceLevels(database),
            JobRuns(database),
            BarReader(database),
            Ticks(database),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The bearer tokens of the settings, by the right that they give."""

    publish: tuple[bytes, ...] = field(default=(), repr=False)
    alerts: tuple[bytes, ...] = field(default=(), repr=False)
    admin: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits on requests. Times are in seconds.

    A client may make ``requests`` requests in a ``window``; 0 sets no limit. ``body`` bounds the reading of a body,
    ``redis`` a query of Redis, and ``computing`` the wait for a place in ``Gateway.computing``.
    """

    requests: int = 100
    window: float = 60
    body: float = 10
    redis: float = 5
    computing: float = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The parts of a running gateway: ``app.state.gateway`` while the application is up.

    ``ping_database`` raises DatabaseUnavailable if the database cannot be used, and ``migrated`` is true once its tables are
    up to date. ``sources`` are the configured sources, the most preferred first; ``current_source`` says which one the feed uses.
    ``known_sources`` are the traits of every source by name.
    ``jobs_due`` takes an aware time and returns when each job is due next, by its name. ``annualization`` is the number of
    bars in a year, by their length. ``retention_days`` is how long history is kept.
    """

    hub: Hub
    sockets: PlainSockets
    reports: Reports
    prices: PriceView
    cache: Cache
    publisher: Publisher
    stores: Stores
    ping_database: Callable[[], Coroutine[Any, Any, None]]
    migrated: Callable[[], bool]
    jobs_due: Callable[[datetime], Mapping[str, datetime]]
    annualization: Mapping[Granularity, float]
    retention_days: int
    sources: tuple[str, ...]
    known_sources: Sources
    tokens: Tokens
    limits: Limits
    level_lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)
    """Held while price levels are counted and one is added, so that two requests do not both take the last place."""
    _computing: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(_CONCURRENT_COMPUTATIONS), init=False, repr=False
    )

    @property
    def current_source(self) -> tuple[str, bool | None]:
        """The source of prices and whether it is simulated: as the feed last reported or, before that, as configured.

        Whether a configured source is simulated is not known until the feed reports: None.
        """
        feed = self.hub.signs.feed
        return (self.sources[0], None) if feed is None else (feed.source, feed.simulated)

    @property
    def real_only(self) -> bool:
        """True if figures are computed of real bars only: with prices from a market, simulated bars are left out."""
        return not self.known_sources.is_invented(self.current_source[0])

    async def from_redis(self, work: Coroutine[Any, Any, T]) -> T:
        """Await a query of Redis. Raises LogUnavailable if it takes longer than ``limits.redis``."""
        try:
            return await within(self.limits.redis, work)
        except TimeoutError:
            raise LogUnavailable(f"Redis does not answer within {self.limits.redis:g} s") from None

    async def from_database(self, work: Coroutine[Any, Any, T]) -> T:
        """Await a query of the database, which bounds its own time.

        Raises DatabaseUnavailable, also as long as the tables are not up to date.
        """
        if not self.migrated():
            work.close()
            raise DatabaseUnavailable("The database has not answered yet")
        return await work

    @asynccontextmanager
    async def computing(self) -> AsyncGenerator[None]:
        """Hold a place for a computation that keeps a processor busy.

        There are few places, so that computations do not slow down the streams. Raises TooManyRequests if none is free
        within ``limits.computing``.
        """
        try:
            async with asyncio.timeout(self.limits.computing):
                await self._computing.acquire()
        except TimeoutError:
            raise TooManyRequests("Too many computations in progress", self.limits.computing) from None
        try:
            yield
        finally:
            self._computing.release()


async def current_gateway(request: HTTPConnection) -> Gateway:
    """The gateway of the application that answers this request."""
    return cast(Gateway, request.app.state.gateway)


CurrentGateway = Annotated[Gateway, Depends(current_gateway)]
