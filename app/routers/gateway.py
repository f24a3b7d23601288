"""What every endpoint works with, built once where the application is put together."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, Request

from app.errors import LogUnavailable
from app.realtime.cache import Cache
from app.realtime.hub import Hub
from app.realtime.log import Publisher
from app.realtime.view import PriceView
from app.routers.deadline import within

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The parts of a running gateway. It is ``app.state.gateway`` while the application is up.

    ``database_ping`` raises where the database does not answer. ``source`` and ``simulated`` are what is configured; a
    feed in another process may say otherwise, see ``shown_source``. Times are in seconds.
    """

    hub: Hub
    prices: PriceView
    cache: Cache
    publisher: Publisher
    database_ping: Callable[[], Coroutine[Any, Any, None]]
    source: str
    simulated: bool | None = None
    publish_tokens: tuple[bytes, ...] = field(repr=False)
    rate_limit_requests: int
    rate_limit_window: float
    metrics_ttl: int = 3600
    correlation_ttl: int = 86_400
    retention_days: int = 365
    body_timeout: float = 10
    redis_timeout: float = 5

    @property
    def shown_source(self) -> tuple[str, bool | None]:
        """Where prices come from and whether they are invented: as the feed last said, else as configured."""
        feed = self.hub.feed
        return (self.source, self.simulated) if feed is None else (feed.source, feed.simulated)

    async def from_redis(self, work: Coroutine[Any, Any, T]) -> T:
        """What work on Redis gives. Raises LogUnavailable where it takes too long for somebody who waits."""
        try:
            return await within(self.redis_timeout, work)
        except TimeoutError:
            raise LogUnavailable(f"Redis does not answer within {self.redis_timeout:g} s") from None


async def current_gateway(request: Request) -> Gateway:
    """The gateway that answers this request."""
    return cast(Gateway, request.app.state.gateway)


CurrentGateway = Annotated[Gateway, Depends(current_gateway)]
