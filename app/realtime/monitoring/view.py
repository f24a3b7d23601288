"""Views of the hub's prices and state, for Socket.IO and REST alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from app.errors import NoPrice
from app.market.bars.trading_day import UNKNOWN, DayFigures, TradingDay
from app.market.clock import parse_time, rfc3339, utc_now
from app.market.hours.calendar import is_quoting, stale_from
from app.market.pair import CurrencyPair
from app.market.quote import QuoteKind
from app.market.source import Sources
from app.realtime.contract.answers import RecorderLag, ServerStats
from app.realtime.contract.event import Event, cursor_order
from app.realtime.contract.payloads import Price
from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import Number
from app.realtime.log.cache import Cache

_DAILY_STALE_AFTER = 26 * 3600.0
"""Seconds of open market after which a daily rate is stale: a day, and some time for the next one to be published."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """A price as it is shown, except for its age and staleness, with the event and the trading day that it was made from.

    ``listed`` is its member of ``AllPricesResponse.prices`` as JSON, without the end that those two go into.
    """

    event: Event
    day: TradingDay | None
    source: str
    time_ms: float
    stale_from_ms: float
    facts: Mapping[str, Any]
    listed: bytes


class PriceView:
    """The prices of the book with their age, their change in the trading day, and whether they are stale.

    ``days`` maps the names of pairs to their trading days, as far as those are known. Replace the mapping to update it.
    """

    def __init__(self, hub: Hub, stale_after: float, sources: Sources) -> None:
        """``stale_after`` is in seconds of open market; ``sources`` says when a source is open."""
        self._hub = hub
        self._stale_after = stale_after
        self._sources = sources
        self._shown: dict[str, _Shown] = {}
        self._all_at: tuple[str, int] | None = None
        self._all: list[_Shown] = []
        self._listed_at: tuple[int, str, str | None] | None = None
        self._listed_from: Sequence[_Shown] = ()
        self._listed = b""
        self.days: Mapping[str, TradingDay] = {}

    def current(self, pair: CurrencyPair) -> bytes:
        """Return the newest price of one pair: a ``PriceResponse`` as JSON. Raises NoPrice."""
        shown = self._show(pair)
        if shown is None:
            raise NoPrice(f"No cached price for {pair.name}")
        now = utc_now()
        age, stale = self._freshness(shown, now)
        facts = dict(shown.facts)
        price = {name: facts.pop(name) for name in Price.model_fields}
        body = {"instrument": pair.name, "price": price, **facts, "age_ms": age, "stale": stale}
        return orjson.dumps({**body, "id": shown.event.id, "timestamp": rfc3339(now)})

    def all(self) -> bytes:
        """Return the newest price of every pair that has one: an ``AllPricesResponse`` as JSON.

        Requests for this are far more frequent than prices. So everything except the ages is encoded once for each price,
        and requests in the same millisecond, in which no age changes, get the same answer.
        """
        now = utc_now()
        moment, shown = (int(now.timestamp() * 1000), self._hub.cursor, self._hub.log_fault), self._show_all()
        if moment != self._listed_at or shown is not self._listed_from:
            self._listed_at, self._listed_from = moment, shown
            self._listed = self._list(shown, now)
        return self._listed

    def _list(self, shown: Sequence[_Shown], now: datetime) -> bytes:
        ms, silent = now.timestamp() * 1000, self._silent(now)
        prices = [
            b'%s,"age_ms":%d,"stale":%s}'
            % (
                price.listed,
                max(0, ms - price.time_ms),
                b"true" if ms > price.stale_from_ms or price.source in silent else b"false",
            )
            for price in shown
        ]
        return b'{"prices":{%s},"pair_count":%d,"cursor":"%s","timestamp":"%s"}' % (
            b",".join(prices),
            len(prices),
            self._hub.cursor.encode(),
            rfc3339(now).encode(),
        )

    @property
    def newest_time(self) -> datetime | None:
        """The time of the newest price of any pair; None before the first."""
        newest = max((shown.time_ms for shown in self._show_all()), default=None)
        return None if newest is None else datetime.fromtimestamp(newest / 1000, UTC)

    def feed_state(self) -> str:
        """Return ``live`` while any price is fresh, ``stale`` if none is, ``none`` if there has been no price."""
        now = utc_now()
        stale = [self._freshness(shown, now)[1] for shown in self._show_all()]
        if not stale:
            return "none"
        return "stale" if all(stale) else "live"

    def silent_pairs(self) -> list[str]:
        """Return the pairs whose newest price is stale: those that have stopped while their market is open."""
        now = utc_now()
        return [shown.event.pairs[0] for shown in self._show_all() if self._freshness(shown, now)[1]]

    def _freshness(self, shown: _Shown, now: datetime) -> tuple[int, bool]:
        """Return the age of a price in milliseconds, and whether it is stale."""
        ms = now.timestamp() * 1000
        return max(0, int(ms - shown.time_ms)), ms > shown.stale_from_ms or shown.source in self._silent(now)

    def _silent(self, now: datetime) -> set[str]:
        """Return the sources that are silent although their market is open; all of them while the log cannot be followed."""
        if self._hub.log_fault is not None:
            return {shown.source for shown in self._show_all()}
        return {source for source in self._hub.signs.silent if is_quoting(self._sources.of(source), now)}

    def _show_all(self) -> list[_Shown]:
        moment = (self._hub.cursor, id(self.days))
        if moment != self._all_at:
            self._all_at = moment
            self._all = [shown for pair in self._hub.pairs if (shown := self._show(pair)) is not None]
        return self._all

    def _show(self, pair: CurrencyPair) -> _Shown | None:
        event, day = self._hub.book.newest(pair.name), self.days.get(pair.name)
        if event is None:
            return None
        shown = self._shown.get(pair.name)
        if shown is None or shown.event is not event or shown.day is not day:
            shown = self._shown[pair.name] = self._shown_anew(pair, event, day)
        return shown

    def _shown_anew(self, pair: CurrencyPair, event: Event, day: TradingDay | None) -> _Shown:
        payload = event.body
        price, source = payload["price"], payload["source"]
        time = parse_time(price["time"])
        stale_after = _DAILY_STALE_AFTER if payload.get("kind") == QuoteKind.DAILY else self._stale_after
        figures = UNKNOWN if day is None else day.figures(Decimal(price["mid"]), time)
        kind = {"kind": payload["kind"]} if "kind" in payload else {}
        facts = {**price, "source": source, **kind, **_change(pair, figures)}
        return _Shown(
            event,
            day,
            source,
            time.timestamp() * 1000,
            stale_from(time, self._sources.of(source), stale_after).timestamp() * 1000,
            facts,
            b'"%s":%s' % (pair.name.encode(), orjson.dumps(facts)[:-1]),
        )


def _change(pair: CurrencyPair, figures: DayFigures) -> dict[str, str | float | None]:
    """Return the figures of a trading day as they are sent."""

    def text(price: Decimal | None) -> str | None:
        return None if price is None else str(pair.round_mid(price))

    return {
        "prev_close": text(figures.prev_close),
        "prev_close_day": None if figures.prev_close_day is None else figures.prev_close_day.isoformat(),
        "change": text(figures.change),
        "change_pct": figures.change_pct,
        "change_pips": figures.change_pips,
        "day_open": text(figures.day_open),
        "day_high": text(figures.day_high),
        "day_low": text(figures.day_low),
    }


async def server_stats(hub: Hub, cache: Cache) -> ServerStats:
    """Return the totals over all gateway processes that share a port, and the state of Redis."""
    redis, rows = await cache.stats(), hub.statistics.table.rows
    clients = sum(row.client_count for row in rows)
    subscriptions = int(sum(row.subscriptions.value for row in rows))
    return ServerStats(
        timestamp=rfc3339(utc_now()),
        active_clients=clients,
        max_clients=hub.max_clients,
        total_subscriptions=subscriptions,
        average_subs_per_client=round(subscriptions / clients, 2) if clients else 0.0,
        tracked_pairs=len(hub.pairs),
        cache=redis,
        recorder=recorder_lag(hub),
        workers=len(rows),
        clients_by_transport=_totals([row.clients for row in rows]),
        lagging_clients=int(sum(row.lagging.value for row in rows)),
        events_delivered=int(sum(number.value for row in rows for number in row.deliveries.values())),
        prices_conflated=int(sum(row.conflated.value for row in rows)),
        clients_cut_off=_totals([row.cut_off for row in rows]),
        gaps=int(hub.statistics.gaps.value),
    )


def _totals(numbers: Sequence[Mapping[str, Number]]) -> dict[str, int]:
    return {label: int(sum(row[label].value for row in numbers)) for label in numbers[0]}


def recorder_lag(hub: Hub) -> RecorderLag | None:
    """Return how far the recorder was behind at its last heartbeat, None if it has sent none."""
    sign = hub.signs.recorder
    if sign is None:
        return None
    # The heartbeat is an event of the log itself, after those whose recording it reports.
    behind_ms = cursor_order(hub.cursor)[0] - sign.order[0]
    return RecorderLag(
        behind_events=max(0, hub.seq - sign.seq),
        behind_ms=max(0, behind_ms),
        lost_events=sign.lost,
        refused_events=sign.refused,
        losses_of_unknown_size=sign.losses_of_unknown_size,
        late_quotes=sign.late,
    )
