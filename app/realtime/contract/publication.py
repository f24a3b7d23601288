"""What other programs publish: the models of it, and how it becomes events of the log.

The gateway's own processes do not go through here: they write what they have already checked.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from app.errors import InvalidPair, InvalidRequest
from app.market.alert import Alert
from app.market.alert import Severity as AlertSeverity
from app.market.check import MOST_AHEAD
from app.market.clock import RFC3339_DATE, RFC3339_OFFSET, RFC3339_TIME, utc_now
from app.market.pair import TrackedPairs
from app.market.quote import Quote
from app.realtime.contract.alert import draft_of
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import Draft, data_ready, price_update
from app.realtime.contract.fields import LARGEST_COUNT, DataType, Message, Severity, SpelledPair
from app.validation import PLAIN_LINES, fault_message, plain_lines

_TIME = re.compile(f"{RFC3339_DATE}[Tt ]{RFC3339_TIME}({RFC3339_OFFSET})?", re.ASCII)


def _decimal_text(value: object) -> object:
    """Read a number by its digits, not by its binary value."""
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
    if not (isinstance(value, str) and _TIME.fullmatch(value)):
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
Words = Annotated[
    str, StringConstraints(max_length=500), AfterValidator(plain_lines), Field(json_schema_extra={"pattern": PLAIN_LINES})
]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


def _number(value: object) -> object:
    """Accept 20.0 for 20, as JSON has one kind of number, but neither text nor booleans."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a whole number is needed")
    return value


Count = Annotated[int, Field(ge=0, json_schema_extra={"maximum": LARGEST_COUNT}), BeforeValidator(_number)]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("printable text is needed")
    return text


class Publication(Message):
    """A message that another program publishes. Members that it does not declare are ignored."""

    model_config = ConfigDict(extra="ignore")


class PublishedPrice(Publication):
    """A price published by another program, nested as in `price_update`."""

    bid: Money
    ask: Money
    mid: Money | None = None
    time: Moment | None = None

    @model_validator(mode="after")
    def _not_crossed(self) -> "PublishedPrice":
        if self.bid > self.ask:
            raise ValueError("the bid is above the ask")
        return self


class PublishPrice(Publication):
    """A `price_update` as others publish it; `time` and `timestamp` default to now."""

    instrument: SpelledPair
    price: PublishedPrice
    source: Annotated[str, StringConstraints(min_length=1, max_length=40), AfterValidator(_printable)] = "external"
    timestamp: Moment | None = None

    @model_validator(mode="before")
    @classmethod
    def _nest(cls, value: object) -> object:
        """Nest bid and ask, which older publishers put beside the instrument."""
        if isinstance(value, dict) and "price" not in value and "bid" in value:
            return {**value, "price": {name: value[name] for name in ("bid", "ask", "mid", "time") if name in value}}
        return value


class PublishVolatilityAlert(Publication):
    """A `volatility_alert` as others publish it."""

    instrument: SpelledPair
    volatility: Number = Field(description="Annualised, as a decimal", examples=[0.0234])
    threshold: Number = Field(description="The threshold it passed", examples=[0.02])
    severity: Severity = "warning"
    message: Words | None = None
    timestamp: Moment | None = None


class PublishCorrelationAlert(Publication):
    """A `correlation_alert` as others publish it."""

    pair1: SpelledPair
    pair2: SpelledPair
    correlation: Annotated[float, Field(strict=True, ge=-1, le=1)]
    threshold: Number = Field(description="The absolute correlation at which alerts are raised", examples=[0.7])
    severity: Severity = "info"
    message: Words | None = None
    timestamp: Moment | None = None


class PublishDataReady(Publication):
    """A `data_ready` as others publish it."""

    data_type: DataType
    count: Count = 0
    message: Words | None = None
    timestamp: Moment | None = None


def publication(type: str, data: object, pairs: TrackedPairs) -> Draft:
    """Return the event that a publisher's message of this type becomes. Raises InvalidRequest for a message that is no such."""
    try:
        match type:
            case EventType.PRICE_UPDATE:
                return _price(PublishPrice.model_validate(data), pairs)
            case EventType.VOLATILITY_ALERT:
                return _volatility(PublishVolatilityAlert.model_validate(data), pairs)
            case EventType.CORRELATION_ALERT:
                return _correlation(PublishCorrelationAlert.model_validate(data), pairs)
            case EventType.DATA_READY:
                return _data_ready(PublishDataReady.model_validate(data))
    except ValidationError as error:
        raise InvalidRequest(describe(error)) from None
    raise InvalidRequest(f"Invalid type: {str(type)[:40]}")


def describe(error: ValidationError) -> str:
    """Return the first problem of a payload in words, without the offending value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {fault_message(first)}" if place else fault_message(first)


def _moment(time: datetime | None) -> datetime:
    """Return the time in UTC, by default now. Raises InvalidRequest outside the years 1000 to 2999, which events can hold."""
    moment = utc_now() if time is None else time.astimezone(UTC)
    if moment.year < 1000:
        raise InvalidRequest("a time is before the year 1000")
    if moment.year > 2999:
        raise InvalidRequest("a time is after the year 2999")
    return moment


def _price(body: PublishPrice, pairs: TrackedPairs) -> Draft:
    pair = pairs.find(body.instrument)
    if not pair.round(body.price.bid):
        raise InvalidRequest(f"price.bid: nothing is left of it at the {pair.precision} decimals of {pair}")
    time = _moment(body.price.time)
    if time > utc_now() + MOST_AHEAD:
        raise InvalidRequest("price.time: lies in the future")
    quote = Quote(pair, body.price.bid, body.price.ask, time, body.source)
    return price_update(quote, _moment(body.timestamp))


def _volatility(body: PublishVolatilityAlert, pairs: TrackedPairs) -> Draft:
    return draft_of(
        Alert(
            "volatility_alert",
            (pairs.find(body.instrument).name,),
            body.volatility,
            body.threshold,
            AlertSeverity(body.severity),
            body.message or f"Volatility ({body.volatility:.4g}) exceeded threshold ({body.threshold:.4g})",
            _moment(body.timestamp),
        )
    )


def _correlation(body: PublishCorrelationAlert, pairs: TrackedPairs) -> Draft:
    first, second = pairs.find(body.pair1).name, pairs.find(body.pair2).name
    if first == second:
        raise InvalidPair("pair1 and pair2 are the same pair")
    return draft_of(
        Alert(
            "correlation_alert",
            (first, second),
            body.correlation,
            body.threshold,
            AlertSeverity(body.severity),
            body.message or f"Correlation between {first} and {second} changed to {body.correlation:.2f}",
            _moment(body.timestamp),
        )
    )


def _data_ready(body: PublishDataReady) -> Draft:
    if body.count > LARGEST_COUNT:
        raise InvalidRequest("count: too large")
    return data_ready(body.data_type, body.count, _moment(body.timestamp), body.message)
