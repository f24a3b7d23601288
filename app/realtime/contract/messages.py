"""Every message of the contract as a model: events of the log, requests of Socket.IO clients, answers and errors.

OpenAPI and AsyncAPI are generated from these. The hot path does not use them: an event is checked once, by its publisher.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from app.market.clock import RFC3339_DATE, RFC3339_OFFSET, RFC3339_TIME
from app.market.price_level import Direction
from app.market.quote import QuoteKind
from app.realtime.contract.event import EventType

PairName = Annotated[str, Field(description="A currency pair", examples=["EUR_USD"], pattern="^[A-Z]{3}_[A-Z]{3}$")]
SPELLED_PAIR = "[A-Za-z]{3}[_/]?[A-Za-z]{3}"
SpelledPair = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{SPELLED_PAIR}$",
            "description": "A pair in any accepted spelling",
            "examples": ["EUR_USD"],
        }
    ),
]
Cursor = Annotated[str, Field(description="The id of an event, to resume from", examples=["1764000000000-0"])]
PriceText = Annotated[str, Field(description="A price as a decimal string at the pair's precision", examples=["1.09450"])]
TimeText = Annotated[str, Field(description="RFC 3339, UTC", examples=["2026-01-31T09:30:00.123456Z"])]
Kind = Annotated[
    QuoteKind,
    Field(
        description="Left out where the source quotes a bid and an ask as usual; `indicative` where it does not deal at them, "
        "`synthetic` for a cross computed from two other pairs, `daily` for a reference rate without a spread",
    ),
]
Severity = Literal["info", "warning", "critical"]
DataType = Literal["prices", "metrics", "correlations", "candles"]

LARGEST_COUNT = 2**53 - 1
"""The largest whole number that every client reads exactly."""


class Message(BaseModel):
    """A message of the contract; what it does not name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# ---------------------------------------------------------------- events of the log


class Price(Message):
    """Bid, ask and mid of a pair at the time its source gives."""

    bid: PriceText
    ask: PriceText
    mid: PriceText
    time: TimeText


class PriceUpdate(Message):
    """A new price of a pair."""

    id: Cursor
    instrument: PairName
    price: Price = Field(description="The new price")
    source: str = Field(
        description="Where the price comes from; `simulated` prices are invented", examples=["oanda", "simulated"]
    )
    kind: Kind = QuoteKind.QUOTED
    timestamp: TimeText


class VolatilityAlert(Message):
    """The volatility of a pair has passed a threshold."""

    id: Cursor
    instrument: PairName
    volatility: float = Field(description="Annualised, as a decimal: 0.0234 is 2.34 %", examples=[0.0234])
    threshold: float = Field(description="What it has passed, as a decimal likewise", examples=[0.02])
    severity: Severity = Field(description="How serious it is")
    message: str = Field(description="The same in words", examples=["Volatility (0.0234) exceeded threshold (0.02)"])
    timestamp: TimeText


class CorrelationAlert(Message):
    """The correlation of two pairs has changed."""

    id: Cursor
    pair1: PairName
    pair2: PairName
    correlation: float = Field(ge=-1, le=1, description="What it is now, from -1 to 1", examples=[-0.82])
    threshold: float = Field(description="The size of a correlation that an alert is given from", examples=[0.7])
    severity: Severity = Field(description="How serious it is")
    message: str = Field(description="The same in words", examples=["Correlation between EUR_USD and USD_JPY changed to -0.82"])
    timestamp: TimeText


class PriceAlert(Message):
    """A price has reached a level that somebody waits for."""

    id: Cursor
    instrument: PairName
    level_id: str = Field(
        description="The level, as `/api/v1/alerts/levels` names it", examples=["5e0e8a6c4f5b4b0f9d1c2a3b4c5d6e7f"]
    )
    level: PriceText
    direction: Direction
    price: PriceText = Field(description="The mid that reached it")
    severity: Severity = Field(description="How serious it is")
    message: str = Field(
        description="What was asked for when the level was set or, where nothing was, the same in words",
        examples=["EUR_USD rose to 1.09460, above 1.09450"],
    )
    timestamp: TimeText


class SourceChanged(Message):
    """Prices come from another source from here on. Every client gets this, subscribed or not."""

    id: Cursor
    source: str = Field(description="The source from here on", examples=["kraken"])
    previous: str | None = Field(description="The source before it; null where there was none", examples=["oanda"])
    simulated: bool = Field(description="True where the prices of the new source are invented")
    reason: str = Field(description="Why it changed", examples=["oanda is silent"])
    timestamp: TimeText


class FeedStatus(Message):
    """The source of prices has fallen silent, so that prices are stale, or is there again. Every client gets this."""

    id: Cursor
    source: str = Field(description="The source it is about", examples=["oanda"])
    status: Literal["silent", "live"] = Field(
        description="`silent` where prices are stale from here on, `live` where they are fresh again"
    )
    message: str = Field(description="The same in words", examples=["oanda is silent"])
    timestamp: TimeText


class DataReady(Message):
    """New data can be fetched. Every client gets this, subscribed or not."""

    id: Cursor
    data_type: DataType = Field(description="What is new; each can be fetched from the REST path of its kind")
    count: int = Field(ge=0, description="How many records are new", examples=[20])
    message: str = Field(description="The same in words", examples=["prices data updated (20 records)"])
    timestamp: TimeText


class Gap(Message):
    """Events between two cursors were lost on the server's side. It carries no id: it is no place to resume from."""

    after: Cursor
    before: Cursor
    missed: int | None = Field(description="How many, where that is known")
    message: str = Field(description="The same in words", examples=["3 events were lost"])
    timestamp: TimeText


EVENT_MODELS: dict[EventType, type[Message]] = {
    EventType.PRICE_UPDATE: PriceUpdate,
    EventType.VOLATILITY_ALERT: VolatilityAlert,
    EventType.CORRELATION_ALERT: CorrelationAlert,
    EventType.PRICE_ALERT: PriceAlert,
    EventType.DATA_READY: DataReady,
    EventType.SOURCE_CHANGED: SourceChanged,
    EventType.FEED_STATUS: FeedStatus,
    EventType.GAP: Gap,
}

# ---------------------------------------------------------------- requests


class Subscribe(Message):
    """What `subscribe` takes."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    pairs: list[str] | Literal["*"] = Field(
        description="Pairs in any accepted spelling, or `*` for all", examples=[["EUR_USD", "GBP_USD"]]
    )
    since: str | None = Field(None, description="Resume after this cursor", examples=["1764000000000-0"])
    snapshot: bool = Field(True, description="Send the newest price of each pair first")
    max_hz: float | None = Field(
        None, gt=0, le=1000, description="At most so many prices a second of each pair, the newest winning"
    )


class Unsubscribe(Message):
    """What `unsubscribe` takes."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    pairs: list[str] | Literal["*"] = Field(description="Pairs, or `*` for all", examples=[["EUR_USD"]])


class RequestPrice(Message):
    """What `request_price` takes."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    instrument: str = Field(description="A pair in any accepted spelling", examples=["EUR_USD"])


# ---------------------------------------------------------------- answers


class ConnectionEstablished(Message):
    """Sent when a client has connected."""

    message: str = Field(description="A greeting", examples=["Connected to FX Data Pipeline WebSocket Server"])
    timestamp: TimeText
    client_id: str = Field(description="The name of this connection at the gateway", examples=["Zt4kXh0aQ2b7AAAB"])
    tracked_pairs: list[PairName] = Field(description="Every pair there are prices of")
    pair_count: int = Field(description="How many pairs these are", examples=[2])
    max_clients: int = Field(description="How many streaming clients this process takes", examples=[1000])
    active_clients: int = Field(description="How many it has now, this one included", examples=[5])


class SubscriptionConfirmed(Message):
    """Answers `subscribe`. `pairs` are those the client follows after it."""

    pairs: list[PairName] = Field(description="All pairs the client follows from now on")
    pair_count: int = Field(description="How many pairs these are", examples=[2])
    subscribed_to_all: bool = Field(description="True where these are all tracked pairs")
    recovered: bool | None = Field(description="Whether everything after `since` follows; null without `since`")
    cursor: Cursor
    timestamp: TimeText


class UnsubscriptionConfirmed(Message):
    """Answers `unsubscribe`. `pairs` are those the client has left."""

    pairs: list[PairName] = Field(description="The pairs the client has left")
    message: str = Field(description="The same in words", examples=["Unsubscribed from 1 pairs"])
    timestamp: TimeText


class SubscriptionsInfo(Message):
    """Answers `get_subscriptions`."""

    subscribed_pairs: list[PairName] = Field(description="The pairs the client follows")
    pair_count: int = Field(description="How many pairs these are", examples=[2])
    subscribed_to_all: bool = Field(description="True where these are all tracked pairs")
    timestamp: TimeText


class Change(Message):
    """How a price stands in its trading day, which begins at 17:00 in New York. Null where there is no history yet."""

    prev_close: PriceText | None = Field(None, description="The mid at the last close of a trading day, 17:00 in New York")
    change: str | None = Field(None, description="The mid less `prev_close`", examples=["-0.00123"])
    change_pct: float | None = Field(None, description="The change in percent of `prev_close`", examples=[-0.1122])
    change_pips: float | None = Field(None, description="The change in pips", examples=[-12.3])
    day_open: PriceText | None = Field(None, description="The first mid of the trading day")
    day_high: PriceText | None = Field(None, description="The highest mid of the trading day")
    day_low: PriceText | None = Field(None, description="The lowest mid of the trading day")


class PriceResponse(Change):
    """Answers `request_price`."""

    instrument: PairName
    price: Price = Field(description="The newest price")
    source: str = Field(
        description="Where the price comes from; `simulated` prices are invented", examples=["oanda", "simulated"]
    )
    kind: Kind = QuoteKind.QUOTED
    age_ms: int = Field(ge=0, description="Milliseconds since the price's own time", examples=[4087])
    stale: bool = Field(description="True where the market is open and no news has come for too long")
    id: Cursor
    timestamp: TimeText


class ListedPrice(Change, Price):
    """A price in a list of all."""

    source: str = Field(
        description="Where the price comes from; `simulated` prices are invented", examples=["oanda", "simulated"]
    )
    kind: Kind = QuoteKind.QUOTED
    age_ms: int = Field(ge=0, description="Milliseconds since the price's own time", examples=[4087])
    stale: bool = Field(description="True where the market is open and no news has come for too long")


class AllPricesResponse(Message):
    """Answers `request_all_prices`."""

    prices: dict[PairName, ListedPrice] = Field(
        description="The newest price of every pair that has one, by the name of the pair"
    )
    pair_count: int = Field(description="How many pairs these are", examples=[20])
    cursor: Cursor
    timestamp: TimeText


class RecorderLag(Message):
    """How far the recorder is behind the log; what it lags by is in no history yet."""

    behind_events: int = Field(ge=0, description="Events of the log that are not in the database yet", examples=[12])
    behind_ms: int = Field(ge=0, description="Milliseconds of the log that are not in the database yet", examples=[240])
    lost_events: int = Field(ge=0, description="Events that the log no longer held when the recorder came to them", examples=[0])


class ServerStats(Message):
    """Answers `get_server_stats`. Clients and what was sent to them are counted over all workers of this gateway."""

    timestamp: TimeText
    active_clients: int = Field(description="Streaming clients of this process", examples=[42])
    max_clients: int = Field(description="How many it takes", examples=[1000])
    total_subscriptions: int = Field(description="Pairs that clients follow, those of all clients added up", examples=[156])
    average_subs_per_client: float = Field(description="The same for one client on average", examples=[3.71])
    tracked_pairs: int = Field(description="How many pairs there are prices of", examples=[20])
    cache: dict[str, dict[str, str | int | bool]] = Field(description="The state of Redis, as `/api/v1/cache/stats` has it")
    recorder: RecorderLag | None = Field(description="As the recorder last said; null where none has been heard")
    workers: int = Field(description="Processes that serve this port together")
    clients_by_transport: dict[str, int] = Field(description="Clients by `websocket`, `polling` and `sse`")
    lagging_clients: int = Field(description="Clients that cannot take what is sent at its pace, as of the last second")
    events_delivered: int = Field(description="Events handed to clients, each counted for each client")
    prices_conflated: int = Field(description="Prices that newer ones replaced before a client took them")
    clients_cut_off: dict[str, int] = Field(description="Clients cut off since the gateway started, by the reason")
    gaps: int = Field(description="Holes that the worker that answers has met in the log")


class Pong(Message):
    """Answers `ping`."""

    timestamp: TimeText
    cursor: Cursor


class Problem(Message):
    """What every error event carries: `subscription_error`, `unsubscription_error`, `price_error`, `server_error`."""

    error: str = Field(description="What went wrong this time", examples=["Invalid instrument: INVALID_USD"])
    message: str = Field(
        description="What a client can make of it", examples=["Not a currency pair, or not one that this gateway tracks"]
    )


class StreamOpened(Message):
    """The first event of an event stream."""

    recovered: bool | None = Field(description="Whether everything after the given cursor follows; null without one")
    pairs: list[PairName] = Field(description="The pairs of the stream")
    cursor: Cursor
    timestamp: TimeText


class StreamHeartbeat(Message):
    """Says that an event stream lives, and where it stands."""

    cursor: Cursor
    timestamp: TimeText


# ---------------------------------------------------------------- publications by others


_TIME = re.compile(f"{RFC3339_DATE}[Tt ]{RFC3339_TIME}({RFC3339_OFFSET})?", re.ASCII)


def _decimal_text(value: object) -> object:
    """Prices are written as text or as numbers; a number is read by its digits, not by its binary value."""
    return repr(value) if isinstance(value, float) else value


Money = Annotated[
    Decimal,
    BeforeValidator(_decimal_text),
    Field(gt=0, max_digits=18, allow_inf_nan=False),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": r"^\d{1,9}(\.\d{1,9})?$"}],
            "description": "A decimal string or number of at most 18 digits",
            "examples": ["1.09450"],
        }
    ),
]


def _time_text(value: object) -> object:
    """Other programs write times as text; our own hand them over as they are."""
    if not isinstance(value, datetime) and not (isinstance(value, str) and _TIME.fullmatch(value)):
        raise ValueError("RFC 3339 is needed")
    return value


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


Moment = Annotated[
    datetime,
    BeforeValidator(_time_text),
    AfterValidator(_utc),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{_TIME.pattern}$",
            "description": "RFC 3339; without an offset it is taken as UTC",
            "examples": ["2026-01-31T09:30:00Z"],
        }
    ),
]
Words = Annotated[str, StringConstraints(max_length=500)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


def _number(value: object) -> object:
    """JSON has one kind of number, so 20.0 is as whole as 20; a word or a truth is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a whole number is needed")
    return value


Count = Annotated[int, Field(ge=0, json_schema_extra={"maximum": LARGEST_COUNT}), BeforeValidator(_number)]


class PublishedPrice(Message):
    """A price published by another program, nested as in `price_update`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    bid: Money
    ask: Money
    mid: Money | None = None
    time: Moment | None = None

    @model_validator(mode="after")
    def _not_crossed(self) -> "PublishedPrice":
        if self.bid > self.ask:
            raise ValueError("the bid is above the ask")
        return self


class PublishPrice(Message):
    """A `price_update` as others publish it; `time` and `timestamp` are filled in where they are missing."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    instrument: SpelledPair
    price: PublishedPrice
    source: Annotated[str, StringConstraints(min_length=1, max_length=40)] = "external"
    timestamp: Moment | None = None

    @model_validator(mode="before")
    @classmethod
    def _nest(cls, value: object) -> object:
        """Older publishers put bid and ask beside the instrument."""
        if isinstance(value, dict) and "price" not in value and "bid" in value:
            return {**value, "price": {name: value[name] for name in ("bid", "ask", "mid", "time") if name in value}}
        return value


class PublishVolatilityAlert(Message):
    """A `volatility_alert` as others publish it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    instrument: SpelledPair
    volatility: Number = Field(description="Annualised, as a decimal", examples=[0.0234])
    threshold: Number = Field(description="What it has passed", examples=[0.02])
    severity: Severity = "warning"
    message: Words | None = None
    timestamp: Moment | None = None


class PublishCorrelationAlert(Message):
    """A `correlation_alert` as others publish it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    pair1: SpelledPair
    pair2: SpelledPair
    correlation: Annotated[float, Field(strict=True, ge=-1, le=1)]
    threshold: Number = Field(description="The size of a correlation that an alert is given from", examples=[0.7])
    severity: Severity = "info"
    message: Words | None = None
    timestamp: Moment | None = None


class PublishDataReady(Message):
    """A `data_ready` as others publish it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    data_type: DataType
    count: Count = 0
    message: Words | None = None
    timestamp: Moment | None = None
