"""What other programs publish, checked and made into events of the log."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from app.errors import InvalidPair, InvalidRequest
from app.market.check import MOST_AHEAD
from app.market.clock import rfc3339, utc_now
from app.market.pair import TrackedPairs
from app.market.quote import Quote
from app.realtime.contract.event import Draft, EventType, draft, price_update
from app.realtime.contract.messages import (
    LARGEST_COUNT,
    PublishCorrelationAlert,
    PublishDataReady,
    PublishPrice,
    PublishVolatilityAlert,
)
from app.validation import fault_message


def publication(type: str, data: object, pairs: TrackedPairs) -> Draft:
    """The event that a program's message of this type becomes. Raises InvalidRequest where the message cannot be used."""
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
    """The first thing wrong with a payload, in words, without the value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {fault_message(first)}" if place else fault_message(first)


def _moment(time: datetime | None) -> datetime:
    """The time in UTC, now where none was given. Raises InvalidRequest for one that cannot be written with four digits."""
    try:
        moment = utc_now() if time is None else time.astimezone(UTC)
    except OverflowError:
        raise InvalidRequest("a time is outside the calendar") from None
    if moment.year < 1000:
        raise InvalidRequest("a time is before the year 1000")
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
    return _alert(
        EventType.VOLATILITY_ALERT,
        {"instrument": pairs.find(body.instrument).name, "volatility": body.volatility, "threshold": body.threshold},
        body,
        f"Volatility ({body.volatility:.4g}) exceeded threshold ({body.threshold:.4g})",
    )


def _correlation(body: PublishCorrelationAlert, pairs: TrackedPairs) -> Draft:
    first, second = pairs.find(body.pair1).name, pairs.find(body.pair2).name
    if first == second:
        raise InvalidPair("pair1 and pair2 are the same pair")
    return _alert(
        EventType.CORRELATION_ALERT,
        {"pair1": first, "pair2": second, "correlation": body.correlation, "threshold": body.threshold},
        body,
        f"Correlation between {first} and {second} changed to {body.correlation:.2f}",
    )


def _alert(
    type: EventType, facts: Mapping[str, Any], body: PublishVolatilityAlert | PublishCorrelationAlert, message: str
) -> Draft:
    timestamp = rfc3339(_moment(body.timestamp))
    return draft(type, {**facts, "severity": body.severity, "message": body.message or message, "timestamp": timestamp})


def _data_ready(body: PublishDataReady) -> Draft:
    if body.count > LARGEST_COUNT:
        raise InvalidRequest("count: too large")
    message = body.message or f"{body.data_type} data updated ({body.count} records)"
    timestamp = rfc3339(_moment(body.timestamp))
    return draft(
        EventType.DATA_READY,
        {"data_type": body.data_type, "count": body.count, "message": message, "timestamp": timestamp},
    )
