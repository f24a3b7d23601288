"""What the gateway answers on Socket.IO, on event streams and, with the same bodies, over REST."""

from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field

from app.market.quote import QuoteKind
from app.realtime.contract.fields import (
    Cursor,
    Examples,
    FormatName,
    Kind,
    Message,
    MidText,
    PairName,
    SourceName,
    Sources,
    TimeText,
)
from app.realtime.contract.payloads import Price
from app.realtime.contract.samples import EUR_USD, GBP_USD, ID, LATER, LATER_ID, PAIRS, TIME


class ConnectionEstablished(Message):
    """Sent when a client has connected."""

    message: str = Field(description="A greeting", examples=["Connected to FX Data Pipeline WebSocket Server"])
    timestamp: TimeText
    client_id: str = Field(description="The gateway's name for this connection", examples=["Zt4kXh0aQ2b7AAAB"])
    tracked_pairs: list[PairName] = Field(description="Every pair that this gateway has prices of")
    pair_count: int = Field(description="The number of these pairs", examples=[2])
    max_clients: int = Field(description="The number of streaming clients this process accepts", examples=[1000])
    active_clients: int = Field(description="The number of streaming clients now, including this one", examples=[5])

    examples: ClassVar[Examples] = {
        "two_pairs_tracked": {
            "message": "Connected to FX Data Pipeline WebSocket Server",
            "timestamp": TIME,
            "client_id": "Zt4kXh0aQ2b7AAAB",
            "tracked_pairs": PAIRS,
            "pair_count": 2,
            "max_clients": 1000,
            "active_clients": 5,
        }
    }


class Conflated(Message):
    """Prices that were left out for this client: newer ones of the same pairs took their places, as its line was too slow.

    It is no event of the log and has no id. All that the client follows up to `to` has been sent to it or is counted here.
    """

    pairs: list[PairName] = Field(description="The pairs that prices were left out of")
    count: int = Field(ge=1, description="The number of prices left out", examples=[42])
    from_: Cursor = Field(alias="from", description="A cursor before all of them")
    to: Cursor = Field(description="The cursor that the client stands at now")
    timestamp: TimeText

    examples: ClassVar[Examples] = {
        "slow_line": {"pairs": PAIRS, "count": 42, "from": ID, "to": LATER_ID, "timestamp": LATER},
    }


class Conflation(Message):
    """How many prices were left out for a client on this connection, because newer ones took their places."""

    count: int = Field(ge=0, description="The number of prices left out", examples=[42])
    since: TimeText = Field(description="When the first was")
    last: TimeText = Field(description="When the last was")


LeftOut = Annotated[
    int, Field(ge=0, description="Prices left out for this client since its last confirmation, as `conflated` says", examples=[0])
]


class SubscriptionConfirmed(Message):
    """Answers `subscribe`. `pairs` are those the client follows after it."""

    pairs: list[PairName] = Field(description="All pairs the client follows from now on")
    pair_count: int = Field(description="The number of these pairs", examples=[2])
    subscribed_to_all: bool = Field(description="True where these are all tracked pairs")
    recovered: bool | None = Field(description="Whether everything after `since` follows; null without `since`")
    conflated: LeftOut = 0
    cursor: Cursor
    format: FormatName
    sources: Sources
    timestamp: TimeText

    examples: ClassVar[Examples] = {
        "first": {
            "pairs": PAIRS,
            "pair_count": 2,
            "subscribed_to_all": False,
            "recovered": None,
            "conflated": 0,
            "cursor": ID,
            "format": "full",
            "sources": ["simulated"],
            "timestamp": TIME,
        },
        "resumed": {
            "pairs": PAIRS,
            "pair_count": 2,
            "subscribed_to_all": False,
            "recovered": True,
            "conflated": 0,
            "cursor": ID,
            "format": "compact",
            "sources": ["simulated"],
            "timestamp": LATER,
        },
    }


class UnsubscriptionConfirmed(Message):
    """Answers `unsubscribe`. `pairs` are those the client has left."""

    pairs: list[PairName] = Field(description="The pairs the client has left")
    message: str = Field(description="The same in words", examples=["Unsubscribed from 1 pairs"])
    conflated: LeftOut = 0
    timestamp: TimeText

    examples: ClassVar[Examples] = {
        "one_left": {"pairs": ["EUR_USD"], "message": "Unsubscribed from 1 pairs", "conflated": 0, "timestamp": TIME}
    }


class SubscriptionsInfo(Message):
    """Answers `get_subscriptions`."""

    subscribed_pairs: list[PairName] = Field(description="The pairs the client follows")
    pair_count: int = Field(description="The number of these pairs", examples=[2])
    subscribed_to_all: bool = Field(description="True where these are all tracked pairs")
    timestamp: TimeText

    examples: ClassVar[Examples] = {
        "two_pairs": {"subscribed_pairs": PAIRS, "pair_count": 2, "subscribed_to_all": False, "timestamp": TIME}
    }


class Change(Message):
    """The change of a price within its trading day, which begins at 17:00 in New York. Null without history of the day before."""

    prev_close: MidText | None = Field(None, description="The mid at the close of the trading day before, 17:00 in New York")
    prev_close_day: date | None = Field(None, description="The date of that close; null without it", examples=["2026-01-30"])
    change: str | None = Field(None, description="The mid less `prev_close`", examples=["-0.00123"])
    change_pct: float | None = Field(None, description="The change in percent of `prev_close`", examples=[-0.1122])
    change_pips: float | None = Field(None, description="The change in pips", examples=[-12.3])
    day_open: MidText | None = Field(None, description="The first mid of the trading day")
    day_high: MidText | None = Field(None, description="The highest mid of the trading day")
    day_low: MidText | None = Field(None, description="The lowest mid of the trading day")


class PriceResponse(Change):
    """Answers `request_price`."""

    instrument: PairName
    price: Price = Field(description="The newest price")
    source: SourceName
    kind: Kind = QuoteKind.QUOTED
    age_ms: int = Field(ge=0, description="Milliseconds since the price's own time", examples=[4087])
    stale: bool = Field(description="True where the market is open and no price has arrived for too long")
    id: Cursor
    timestamp: TimeText

    examples: ClassVar[Examples] = {
        "fresh": {
            "instrument": "EUR_USD",
            "price": EUR_USD,
            "source": "simulated",
            "age_ms": 4087,
            "stale": False,
            "id": ID,
            "timestamp": LATER,
        }
    }


class ListedPrice(Change, Price):
    """A price in a list of all."""

    source: SourceName
    kind: Kind = QuoteKind.QUOTED
    age_ms: int = Field(ge=0, description="Milliseconds since the price's own time", examples=[4087])
    stale: bool = Field(description="True where the market is open and no price has arrived for too long")


class AllPricesResponse(Message):
    """Answers `request_all_prices`."""

    prices: dict[PairName, ListedPrice] = Field(
        description="The newest price of every pair that has one, by the name of the pair"
    )
    pair_count: int = Field(description="The number of these pairs", examples=[20])
    cursor: Cursor
    timestamp: TimeText

    examples: ClassVar[Examples] = {
        "two_pairs": {
            "prices": {
                "EUR_USD": {**EUR_USD, "source": "simulated", "age_ms": 4087, "stale": False},
                "GBP_USD": {**GBP_USD, "source": "simulated", "age_ms": 4087, "stale": False},
            },
            "pair_count": 2,
            "cursor": LATER_ID,
            "timestamp": LATER,
        }
    }


class RecorderLag(Message):
    """How far the recorder lags behind the log: these events are in no history yet."""

    behind_events: int = Field(ge=0, description="Events of the log that are not in the database yet", examples=[12])
    behind_ms: int = Field(ge=0, description="Milliseconds of the log that are not in the database yet", examples=[240])
    lost_events: int = Field(ge=0, description="Events that were trimmed from the log before they were recorded", examples=[0])
    refused_events: int = Field(
        ge=0, description="Events kept aside because they cannot be read or the database does not take them", examples=[0]
    )
    losses_of_unknown_size: int = Field(
        default=0, ge=0, description="Losses whose events could not be counted, as when the log was emptied", examples=[0]
    )
    late_quotes: int = Field(default=0, ge=0, description="Quotes that came too late for any bar", examples=[0])


class ServerStats(Message):
    """Answers `get_server_stats`. Clients and deliveries are counted over all workers of this gateway."""

    timestamp: TimeText
    active_clients: int = Field(description="Streaming clients of this process", examples=[42])
    max_clients: int = Field(description="The number of streaming clients it accepts", examples=[1000])
    total_subscriptions: int = Field(description="Pairs followed, summed over all clients", examples=[156])
    average_subs_per_client: float = Field(description="Pairs followed by one client on average", examples=[3.71])
    tracked_pairs: int = Field(description="The number of pairs with prices", examples=[20])
    cache: dict[str, dict[str, str | int | bool]] = Field(description="The state of Redis, as `/api/v1/cache/stats` has it")
    recorder: RecorderLag | None = Field(description="As the recorder last reported; null before its first report")
    workers: int = Field(description="Processes that serve this port together")
    clients_by_transport: dict[str, int] = Field(description="Clients by `websocket`, `polling`, `sse` and `plain`")
    lagging_clients: int = Field(description="Clients that do not keep up with what is sent, as of the last second")
    events_delivered: int = Field(description="Events sent to clients, counted once for each client")
    prices_conflated: int = Field(description="Prices replaced by newer ones before a client took them")
    clients_cut_off: dict[str, int] = Field(description="Clients disconnected by the gateway since it started, by reason")
    gaps: int = Field(description="Gaps in the log met by the worker that answers")
    conflated: Conflation | None = Field(
        default=None, description="Prices left out for the client that asks; null where none were"
    )

    examples: ClassVar[Examples] = {
        "busy": {
            "timestamp": TIME,
            "active_clients": 42,
            "max_clients": 1000,
            "total_subscriptions": 156,
            "average_subs_per_client": 3.71,
            "tracked_pairs": 20,
            "cache": {
                "redis": {"host": "localhost", "port": 6379, "db": 0, "connected": True},
                "memory": {"used_memory": "2.50MB", "maxmemory": "0"},
                "stats": {"total_commands_processed": 1230, "instantaneous_ops_per_sec": 5},
                "keys": {
                    "price_keys": 20,
                    "metric_keys": 20,
                    "correlation_keys": 1,
                    "best_pairs_keys": 1,
                    "total_keys": 44,
                },
            },
            "recorder": {
                "behind_events": 12,
                "behind_ms": 240,
                "lost_events": 0,
                "losses_of_unknown_size": 0,
                "late_quotes": 0,
                "refused_events": 0,
            },
            "workers": 2,
            "clients_by_transport": {"websocket": 28, "polling": 2, "sse": 10, "plain": 2},
            "lagging_clients": 1,
            "events_delivered": 51_240,
            "prices_conflated": 310,
            "clients_cut_off": {"lagging for too long": 1, "ping timeout": 2},
            "gaps": 0,
            "conflated": {"count": 42, "since": TIME, "last": LATER},
        }
    }


class Pong(Message):
    """Answers `ping`."""

    timestamp: TimeText
    cursor: Cursor

    examples: ClassVar[Examples] = {"pong": {"timestamp": TIME, "cursor": ID}}


class Problem(Message):
    """What every error event carries: `subscription_error`, `unsubscription_error`, `price_error`, `server_error`."""

    error: str = Field(description="What went wrong", examples=["Invalid instrument: INVALID_USD"])
    message: str = Field(
        description="What it means for the client", examples=["Not a currency pair, or not one that this gateway tracks"]
    )


class StreamOpened(Message):
    """The first event of an event stream, and of a plain websocket."""

    recovered: bool | None = Field(description="Whether everything after the given cursor follows; null without one")
    pairs: list[PairName] = Field(description="The pairs of the stream")
    cursor: Cursor
    format: FormatName
    sources: Sources
    timestamp: TimeText

    examples: ClassVar[Examples] = {
        "first": {
            "recovered": None,
            "pairs": PAIRS,
            "cursor": ID,
            "format": "full",
            "sources": ["simulated"],
            "timestamp": TIME,
        },
        "resumed": {
            "recovered": True,
            "pairs": PAIRS,
            "cursor": ID,
            "format": "compact",
            "sources": ["simulated"],
            "timestamp": LATER,
        },
    }


class StreamClosing(Message):
    """The last event of a plain websocket that the gateway closes because it stops."""

    message: str = Field(description="Why it closes", examples=["The gateway is stopping"])
    retry_ms: int = Field(
        ge=0, description="Milliseconds to wait before reconnecting; random, to spread the clients", examples=[2310]
    )
    timestamp: TimeText

    examples: ClassVar[Examples] = {"stopping": {"message": "The gateway is stopping", "retry_ms": 2310, "timestamp": TIME}}


class StreamHeartbeat(Message):
    """Shows that an event stream or a plain websocket is alive, and at which cursor it stands."""

    cursor: Cursor
    timestamp: TimeText

    examples: ClassVar[Examples] = {"heartbeat": {"cursor": LATER_ID, "timestamp": LATER}}
