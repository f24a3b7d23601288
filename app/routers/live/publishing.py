"""Bodies of events published over REST, and the right to publish."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Depends
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.errors import InvalidRequest
from app.http.bodies import InvalidBody
from app.http.tokens import token_needed
from app.market.pair import TrackedPairs
from app.realtime.contract.catalogue import EventType
from app.realtime.contract.event import Draft
from app.realtime.contract.publication import (
    PublishCorrelationAlert,
    PublishDataReady,
    PublishPrice,
    PublishVolatilityAlert,
    publication,
)

MOST_AT_ONCE = 1000
"""Events that one body may hold."""

_SCHEMAS = "#/components/schemas/{model}"
_MODELS: Mapping[EventType, type[BaseModel]] = {
    EventType.PRICE_UPDATE: PublishPrice,
    EventType.VOLATILITY_ALERT: PublishVolatilityAlert,
    EventType.CORRELATION_ALERT: PublishCorrelationAlert,
    EventType.DATA_READY: PublishDataReady,
}

CLOSED = "Publishing is not allowed: this gateway has no publish tokens"

_bearer = HTTPBearer(auto_error=False, description="A token that may publish")
token_checked = Depends(token_needed(_bearer, lambda tokens: tokens.publish, closed=CLOSED))


def drafts_in(body: bytes, pairs: TrackedPairs) -> list[Draft]:
    """Parse a body to events. Raises InvalidBody for the first event that is not valid."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise InvalidBody("The body is not JSON") from None
    if not isinstance(content, list):
        return [_draft(content, pairs, None)]
    if not 1 <= len(content) <= MOST_AT_ONCE:
        raise InvalidBody(f"A list of 1 to {MOST_AT_ONCE} events is needed, not of {len(content)}")
    return [_draft(item, pairs, index) for index, item in enumerate(content)]


def _draft(item: object, pairs: TrackedPairs, index: int | None) -> Draft:
    match item:
        case {"type": str(type), "data": data}:
            try:
                return publication(type, data, pairs)
            except InvalidRequest as error:
                raise InvalidBody(str(error), index) from None
    raise InvalidBody("An object with the members type and data is needed", index)


def described_body() -> dict[str, Any]:
    """The body for OpenAPI, which cannot derive it because the endpoint reads the body itself."""
    one = _ref("NewEvent")
    several = {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_AT_ONCE}
    price = {"type": "price_update", "data": {"instrument": "EUR_USD", "price": {"bid": "1.09450", "ask": "1.09470"}}}
    news = {"type": "data_ready", "data": {"data_type": "candles", "count": 20}}
    examples = {
        "one": {"summary": "One event", "value": price},
        "several": {"summary": "Several events, all or none", "value": [price, news]},
    }
    content = {"application/json": {"schema": {"anyOf": [one, several]}, "examples": examples}}
    return {"requestBody": {"required": True, "content": content}}


def described_schemas() -> dict[str, Any]:
    """The schemas of the body, by their names in the OpenAPI document."""
    _, definitions = models_json_schema([(model, "validation") for model in _MODELS.values()], ref_template=_SCHEMAS)
    events = {f"New{_camel(type)}": _described_event(type, model) for type, model in _MODELS.items()}
    mapping = {type.value: _ref(f"New{_camel(type)}")["$ref"] for type in _MODELS}
    new_event = {
        "description": "An event to publish, by its type",
        "oneOf": [{"$ref": reference} for reference in mapping.values()],
        "discriminator": {"propertyName": "type", "mapping": mapping},
    }
    return {**definitions["$defs"], **events, "NewEvent": new_event}


def _described_event(type: EventType, model: type[BaseModel]) -> dict[str, Any]:
    return {
        "description": f"A `{type.value}` to publish",
        "type": "object",
        "required": ["type", "data"],
        "properties": {"type": {"type": "string", "const": type.value}, "data": _ref(model.__name__)},
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _SCHEMAS.format(model=name)}


def _camel(type: EventType) -> str:
    return type.value.title().replace("_", "")
