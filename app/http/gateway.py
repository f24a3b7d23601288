"""What every endpoint works with, built once where the application is put together."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, Request

from app.errors import DatabaseUnavailable, LogUnavailable, TooManyRequests
from app.http.deadline import within
from app.market.bars.candle import Granularity
from app.market.source import Sources
from app.realtime.hub.hub import Hub
from app.realtime.log.cache import Cache
from app.realtime.log.log import Publisher
from app.realtime.monitoring.report import Reports
from app.realtime.monitoring.view import PriceView
from app.storage.alerts.alerts import Alerts
from app.storage.alerts.price_levels import PriceLevels
from app.storage.job_runs import JobRuns
from app.storage.market.candles import Candles
from app.storage.market.correlations import Correlations
from app.storage.market.metrics import Metrics

T = TypeVar("T")

_COMPUTED_AT_ONCE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The parts of a running gateway. It is ``app.state.gateway`` while the application is up.

    ``database_ping`` raises where the database does not answer, and ``migrated`` says whether its tables are up to date yet.
    ``sources``, the most preferred first, and ``simulated`` are what is configured; a feed in another process may say
    otherwise, see ``shown_source``. ``known_sources`` are the traits of sources by name.
    ``jobs_due`` gives for an aware time when each job is due next, by its name.
    ``annualization`` is how many bars of a length a year has. Times are in seconds.
    """

    hub: Hub
    reports: Reports
    prices: PriceView
    cache: Cache
    publisher: Publisher
    database_ping: Callable[[], Coroutine[Any, Any, None]]
    migrated: Callable[[], bool]
    candles: Candles
    metrics: Metrics
    correlations: Correlations
    alerts: Alerts
    price_levels: PriceLevels
    job_runs: JobRuns
    jobs_due: Callable[[datetime], Mapping[str, datetime]] = lambda now: {}
    annualization: Mapping[Granularity, float]
    sources: tuple[str, ...]
    known_sources: Sources
    simulated: bool | None = None
    publish_tokens: tuple[bytes, ...] = field(repr=False)
    alert_tokens: tuple[bytes, ...] = field(default=(), repr=False)
    admin_tokens: tuple[bytes, ...] = field(default=(), repr=False)
    rate_limit_requests: int
    rate_limit_window: float
    metrics_ttl: int = 3600
    correlation_ttl: int = 86_400
    retention_days: int = 365
    body_timeout: float = 10
    redis_timeout: float = 5
    computing_timeout: float = 10
    _computing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_COMPUTED_AT_ONCE), init=False, repr=False)
    setting_levels: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)

    @property
    def shown_source(self) -> tuple[str, bool | None]:
        """Where prices come from and whether they are invented: as the feed last said, else as configured."""
        feed = self.hub.signs.feed
        return (self.sources[0], self.simulated) if feed is None else (feed.source, feed.simulated)

    @property
    def real_only(self) -> bool:
        """True where figures are to be computed of real bars alone: prices come from a market, so invented ones are left over."""
        return not self.known_sources.is_invented(self.shown_source[0])

    async def from_redis(self, work: Coroutine[Any, Any, T]) -> T:
        """What work on Redis gives. Raises LogUnavailable where it takes too long for somebody who waits."""
        try:
            return await within(self.redis_timeout, work)
        except TimeoutError:
            raise LogUnavailable(f"Redis does not answer within {self.redis_timeout:g} s") from None

    async def from_database(self, work: Coroutine[Any, Any, T]) -> T:
        """What work on the database gives, which bounds its own time. Raises DatabaseUnavailable, also before it has tables."""
        if not self.migrated():
            work.close()
            raise DatabaseUnavailable("The database has not answered yet")
        return await work

    @asynccontextmanager
    async def computing(self) -> AsyncGenerator[None]:
        """A place for work that takes a processor for a while: few are given at once, so that the streams keep theirs.

        Raises TooManyRequests where none becomes free in time.
        """
        try:
            async with asyncio.timeout(self.computing_timeout):
                await self._computing.acquire()
        except TimeoutError:
            raise TooManyRequests("Others have figures computed just now", self.computing_timeout) from None
        try:
            yield
        finally:
            self._computing.release()


async def current_gateway(request: Request) -> Gateway:
    """The gateway that answers this request."""
    return cast(Gateway, request.app.state.gateway)


CurrentGateway = Annotated[Gateway, Depends(current_gateway)]
