"""How prices and the state of the gateway are shown to whoever asks, over Socket.IO and REST alike."""

from datetime import datetime
from typing import Any

from app.errors import NoPrice
from app.market.calendar import is_stale
from app.market.clock import parse_time, rfc3339, utc_now
from app.market.pair import CurrencyPair
from app.realtime.cache import Cache
from app.realtime.hub import Hub
from app.realtime.messages import AllPricesResponse, ListedPrice, Price, PriceResponse, ServerStats


class PriceView:
    """The book's prices with their age, and whether they are stale."""

    def __init__(self, hub: Hub, stale_after: float) -> None:
        """``stale_after`` is in seconds of open market."""
        self._hub = hub
        self._stale_after = stale_after

    def current(self, pair: CurrencyPair) -> PriceResponse:
        """The newest price of one pair. Raises NoPrice."""
        payload = self._hub.book.payload(pair.name)
        if payload is None:
            raise NoPrice(f"No cached price for {pair.name}")
        now = utc_now()
        return PriceResponse(
            instrument=pair.name,
            price=Price(**payload["price"]),
            id=payload["id"],
            timestamp=rfc3339(now),
            **self._freshness(payload, now),
        )

    def all(self) -> AllPricesResponse:
        """The newest price of every pair that has one."""
        now = utc_now()
        prices = {}
        for name in self._hub.pairs.names:
            payload = self._hub.book.payload(name)
            if payload is not None:
                prices[name] = ListedPrice(**payload["price"], **self._freshness(payload, now))
        return AllPricesResponse(prices=prices, pair_count=len(prices), cursor=self._hub.cursor, timestamp=rfc3339(now))

    def feed_state(self) -> str:
        """``live`` while any price is fresh, ``stale`` where none is, ``none`` where there never was one."""
        events = self._hub.book.snapshot(self._hub.pairs.names)
        if not events:
            return "none"
        now = utc_now()
        payloads = (self._hub.book.payload(event.pairs[0]) for event in events)
        return "live" if any(payload and not self._freshness(payload, now)["stale"] for payload in payloads) else "stale"

    def _freshness(self, payload: dict[str, Any], now: datetime) -> dict[str, Any]:
        time, source = parse_time(payload["price"]["time"]), payload["source"]
        age_ms = max(0, int((now - time).total_seconds() * 1000))
        unreachable = self._hub.log_fault is not None
        return {
            "source": source,
            "age_ms": age_ms,
            "stale": unreachable or is_stale(time, source, now, self._stale_after),
        }


async def server_stats(hub: Hub, cache: Cache) -> ServerStats:
    """The clients of this process and the state of Redis."""
    subscriptions = sum(len(client.interest.pairs) for client in hub.clients)
    return ServerStats(
        timestamp=rfc3339(utc_now()),
        active_clients=hub.client_count,
        max_clients=hub.max_clients,
        total_subscriptions=subscriptions,
        average_subs_per_client=round(subscriptions / hub.client_count, 2) if hub.client_count else 0.0,
        tracked_pairs=len(hub.pairs),
        cache=await cache.stats(),
    )
